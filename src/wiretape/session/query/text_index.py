"""The index of substrings: which exchanges can have a text in their bodies or messages, without reading them.

It is a database of its own beside the session's index, because it is large and slow to make: SQLite's FTS5 with
trigrams, without the text itself and without positions. So it names candidates, which whoever asks looks at. Only the
background makes it, in the order of the exchanges, and of a session that is being recorded only what stands in finished
segments. It can be thrown away.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from wiretape.errors import NotFoundError
from wiretape.log.assembly import REQUEST, RESPONSE, ExchangeTape
from wiretape.private_files import FILE_MODE
from wiretape.session.index.database import Index, beside, check_ours, connect
from wiretape.session.messages import MessageLog
from wiretape.session.query.account import CUT, UNRECORDED, Unsearched
from wiretape.session.query.readable import BodyText

TEXT: Final = "text.sqlite"
VERSION: Final = "2"
MAX_TEXT: Final = 1024 * 1024
"""Decoded bytes of one exchange, with its messages, that go into the index; one with more is always looked at."""
BATCH: Final = 200
"""Exchanges in one transaction."""
BATCH_BYTES: Final = 4 * 1024 * 1024
_GRAM: Final = 3
_MAX_GRAMS: Final = 60
_SCHEMA: Final = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE aside (seq INTEGER PRIMARY KEY);   -- exchanges up to the mark that are not in the index
CREATE TABLE unsearched (seq INTEGER, reason TEXT, PRIMARY KEY (seq, reason)) WITHOUT ROWID;
CREATE VIRTUAL TABLE grams USING fts5 (text, content = '', detail = none, columnsize = 0, tokenize = 'trigram');
"""
_NEXT: Final = (
    "SELECT seq, state FROM exchanges WHERE seq > ? AND seq < ifnull((SELECT min(e.seq) FROM exchanges AS e"
    " WHERE e.opened_in IN (SELECT value FROM json_each(?))), 9223372036854775807) ORDER BY seq LIMIT ?"
)
_LAST_SEGMENTS: Final = "SELECT max(id) FROM segments GROUP BY stream"
_SEGMENTS: Final = "SELECT name, healed FROM segments ORDER BY id LIMIT ?"


class TextIndex:
    """Handle on the index of substrings of one session.

    Args:
        index: the session's index, which has been followed.
        tape: gives the frames of an exchange.
    """

    def __init__(self, index: Index, tape: Callable[[int], ExchangeTape]) -> None:
        self._index = index
        self._tape = tape
        self._messages = MessageLog(index)
        self.path = index.folder / TEXT

    # -- making -------------------------------------------------------------------------------------------------

    def step(self, most_bytes: int, *, live: bool) -> bool:
        """Read on for one transaction; return whether there is nothing more to do.

        Args:
            most_bytes: the file may become so large.
            live: the log is being written: what stands in its last segments waits.

        Raises:
            sqlite3.Error: it cannot be written. NotFoundError, StorageError: the log cannot be read.
        """
        if _size(self.path) >= most_bytes:
            return True
        with contextlib.closing(self._open()) as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                done = self._read_on(db, live=live)
                db.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    db.execute("ROLLBACK")
                raise
        return done

    def _open(self) -> sqlite3.Connection:
        with contextlib.suppress(sqlite3.DatabaseError):
            db = self._connected()
            if self._fits(db):
                return db
            db.close()
        self.remove()  # it is of another log or version, none at all, or a link
        db = self._connected()
        try:
            db.executescript(_SCHEMA)
            values = [("version", VERSION), ("session", self._index.session_id), ("mark", "0"), ("segments", "0 0")]
            db.executemany("INSERT INTO meta VALUES (?, ?)", values)
        except BaseException:
            db.close()
            raise
        return db

    def _connected(self) -> sqlite3.Connection:
        check_ours(self.path)
        with contextlib.suppress(OSError):  # what cannot be made here, SQLite will report
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE))
        return connect(self.path)

    def remove(self) -> None:
        """Throw it away."""
        with contextlib.suppress(OSError):  # a folder, or one that takes no changes
            for path in (*beside(self.path), self.path):
                path.unlink(missing_ok=True)

    def _fits(self, db: sqlite3.Connection) -> bool:
        """Return whether it was made of the log as it is: segments that were healed or moved have other bodies."""
        try:
            meta = dict(db.execute("SELECT key, value FROM meta"))
        except sqlite3.DatabaseError:
            return False
        count, _, crc = meta.get("segments", "0 0").partition(" ")
        return (
            meta.get("version") == VERSION
            and meta.get("session") == self._index.session_id
            and crc == str(self._signature(int(count)))
        )

    def _signature(self, count: int) -> int:
        rows = self._index.rows(_SEGMENTS, (count,))
        return zlib.crc32(msgspec.json.encode(rows)) if len(rows) == count and count else 0

    def _read_on(self, db: sqlite3.Connection, *, live: bool) -> bool:
        mark = _mark(db)
        last = [row[0] for row in self._index.rows(_LAST_SEGMENTS)] if live else []
        rows = self._index.rows(_NEXT, (mark, msgspec.json.encode(last).decode(), BATCH))
        size = 0
        for seq, state in rows:
            if size > BATCH_BYTES:
                break
            mark = seq
            text, account = (None, Unsearched()) if state == "inFlight" else self._text_of(seq)
            if text is None:
                db.execute("INSERT OR IGNORE INTO aside VALUES (?)", (seq,))
                continue
            db.executemany(
                "INSERT OR IGNORE INTO unsearched VALUES (?, ?)", [(seq, reason) for reason in account.counts]
            )
            if text:
                db.execute("INSERT INTO grams (rowid, text) VALUES (?, ?)", (seq, text))
            size += len(text)
        count = self._index.rows("SELECT count(*) FROM segments")[0][0]
        db.execute("UPDATE meta SET value = ? WHERE key = 'mark'", (str(mark),))
        signature = f"{count} {self._signature(count)}"
        db.execute("UPDATE meta SET value = ? WHERE key = 'segments'", (signature,))
        return len(rows) < BATCH and (not rows or mark == rows[-1][0])

    def _text_of(self, seq: int) -> tuple[str | None, Unsearched]:
        """Return the text of an exchange's bodies and messages; None where it is too long to be kept."""
        account, parts, size = Unsearched(), [], 0
        try:
            tape = self._tape(seq)
        except NotFoundError:
            return "", account
        for piece in self._pieces(tape, account):
            size += len(piece)
            if size > MAX_TEXT:
                return None, account
            parts.append(piece)
        if tape.done is None:
            account.skipped(UNRECORDED, seq)
        text = b"".join(parts).decode("utf-8", "replace").replace("\0", " ")
        return text.strip("\n"), account

    def _pieces(self, tape: ExchangeTape, account: Unsearched) -> Iterator[bytes]:
        for side in (REQUEST, RESPONSE):
            yield from BodyText(tape, side, account).pieces()
            yield b"\n"
            for message in self._messages.each(tape.seq, side) if tape.messages else ():
                if not message.whole:
                    account.skipped(CUT, tape.seq)
                yield message.data
                yield b"\n"

    # -- asking -------------------------------------------------------------------------------------------------

    def candidates(self, forms: Sequence[str]) -> Candidates | None:
        """Return what can tell candidates of a search; None where there is no index, or it cannot tell.

        Args:
            forms: texts one of which stands in every body that is meant, upper or lower case apart.
        """
        match = _expression(forms)
        if match is None or not self.path.is_file():
            return None
        with contextlib.suppress(sqlite3.Error):
            check_ours(self.path)
            db = connect(self.path)
            if self._fits(db):
                return Candidates(db, match)
            db.close()
        return None


class Candidates:
    """Which exchanges can have what is looked for in a body; close it.

    Attributes:
        mark: of the exchanges up to this seq it is known; those behind it are to be looked at.
    """

    def __init__(self, db: sqlite3.Connection, match: str) -> None:
        self._db = db
        self._match = match
        self.mark = _mark(db)

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def between(self, first: int, last: int) -> set[int]:
        """Return the candidates with a seq from ``first`` to ``last``.

        Raises:
            sqlite3.DatabaseError: the index is broken.
        """
        found = self._db.execute(
            "SELECT rowid FROM grams WHERE grams MATCH ? AND rowid BETWEEN ? AND ?", (self._match, first, last)
        )
        aside = self._db.execute("SELECT seq FROM aside WHERE seq BETWEEN ? AND ?", (first, last))
        return {seq for (seq,) in found} | {seq for (seq,) in aside}

    def unsearched(self, first: int, last: int) -> Iterator[tuple[int, str]]:
        """Yield the exchanges whose bodies were not searched to their end, with the reason."""
        yield from self._db.execute("SELECT seq, reason FROM unsearched WHERE seq BETWEEN ? AND ?", (first, last))


def _expression(forms: Sequence[str]) -> str | None:
    """Return a search as FTS5's query: all trigrams of one form, or all of another; None where one is too short."""
    if not forms or any(len(form) < _GRAM or "\0" in form for form in forms):
        return None
    return " OR ".join(f"({' AND '.join(map(_quoted, _grams(form)))})" for form in dict.fromkeys(forms))


def _grams(text: str) -> list[str]:
    grams = list(dict.fromkeys(text[at : at + _GRAM] for at in range(len(text) - _GRAM + 1)))
    # Some are enough: what is found is looked at anyway.
    return grams if len(grams) <= _MAX_GRAMS else grams[:: len(grams) // _MAX_GRAMS + 1]


def _quoted(gram: str) -> str:
    return '"' + gram.replace('"', '""') + '"'


def _mark(db: sqlite3.Connection) -> int:
    found = db.execute("SELECT value FROM meta WHERE key = 'mark'").fetchone()
    return int(found[0]) if found is not None else 0


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
