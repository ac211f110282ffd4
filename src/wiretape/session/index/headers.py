"""The projection ``headers``: which exchange has which header, by name and value, in both directions.

One row a header would make following half as fast. So a row of ``header_blocks`` holds all values that one name had in
one block of exchanges, as JSON: each distinct value once, with the exchanges that have it. Blocks are what one
transaction read; small ones are joined, so that a session that is followed exchange by exchange has few rows too.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

import msgspec

from wiretape.errors import DamagedError
from wiretape.heads import as_str
from wiretape.log.format import Flag, FrameType
from wiretape.log.items import Frame
from wiretape.log.report import LogReport
from wiretape.model import Gap
from wiretape.session.index.projection import Item, Memory, Segment

REQUEST_HEADER: Final = 0
RESPONSE_HEADER: Final = 1
REQUEST_TRAILER: Final = 2
RESPONSE_TRAILER: Final = 3
HEADERS: Final = (REQUEST_HEADER, RESPONSE_HEADER)
"""What ``side`` may be."""

MAX_FIELDS: Final = 500
"""Fields of one head that are kept; servers take some hundred. ``header_gaps`` names the exchanges that have more."""
MAX_NAME: Final = 100
MAX_VALUE: Final = 16 * 1024
MAX_NAMES: Final = 300
"""Names of one block that get a row of their own; of further ones, which only a forger invents, name and value stand
together in the row without a name."""
_BLOCK_BYTES: Final = 8 * 1024 * 1024
"""Bytes of heads in one block: what is held in memory at once."""
_BLOCK_LINES: Final = 400_000

_SCHEMA: Final = """
CREATE TABLE header_blocks (
    id INTEGER PRIMARY KEY,
    block INTEGER NOT NULL,      -- rows with the same one were made together
    side INTEGER NOT NULL,       -- 0 request, 1 response; 2 and 3 their trailers
    name TEXT NOT NULL,          -- in lower case; '' for names too many to have rows of their own
    first INTEGER NOT NULL,      -- the lowest and the highest seq of the block
    last INTEGER NOT NULL,
    found TEXT NOT NULL          -- JSON: {value: [seq - first, ...]}; {"name: value": ...} in rows without a name
);
CREATE INDEX header_names ON header_blocks (name, side);
CREATE INDEX header_of_block ON header_blocks (block);
CREATE TABLE header_sizes (      -- how large each block is, to join small ones
    block INTEGER PRIMARY KEY, exchanges INTEGER NOT NULL, size INTEGER NOT NULL,
    first INTEGER NOT NULL, last INTEGER NOT NULL
);
CREATE TABLE header_gaps (       -- exchanges whose headers are not all here, or not whole: the log has them
    seq INTEGER PRIMARY KEY
);
"""
_PUT: Final = "INSERT INTO header_blocks (block, side, name, first, last, found) VALUES (?, ?, ?, ?, ?, ?)"
_LAST: Final = "SELECT block, exchanges, size, first, last FROM header_sizes ORDER BY block DESC LIMIT 1"

Found = dict[str, list[int]]
"""The values of one name, each with its exchanges."""
_DECODER: Final = msgspec.json.Decoder(Found)


class Headers:
    """The projection."""

    name = "headers"
    version = 1
    tables = ("header_blocks", "header_sizes", "header_gaps")
    schema = _SCHEMA

    def open(self, db: sqlite3.Connection, _memory: Memory) -> HeaderSink:
        """Begin a transaction's work."""
        return HeaderSink(db)

    def end(self, db: sqlite3.Connection, report: LogReport) -> None:
        """Need nothing of it."""


class HeaderSink:
    """Gathers the lines of heads as they are, each distinct one once; they are taken apart when they are written.

    The loop over lines decides what headers cost: it splits, looks up and appends, and does nothing else.
    """

    kind = None

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._lines: dict[int, defaultdict[bytes, list[int]]] = {side: defaultdict(list) for side in range(4)}
        self._seqs: list[int] = []
        self._size = self._count = 0
        self._gaps: set[int] = set()

    def begin(self, segment: Segment, missing: Sequence[Gap], step: int) -> None:
        """Do nothing: each frame stands for itself."""

    def reached(self, segment: Segment, position: int) -> None:
        """Do nothing: the follower keeps the place."""

    def take(self, segment: Segment, items: Sequence[Item]) -> None:  # noqa: ARG002
        """Take the heads of what was read."""
        opened, done, begun = _OPENED, _DONE, _BEGUN
        requests, responses = self._lines[REQUEST_HEADER], self._lines[RESPONSE_HEADER]
        frame: Any  # damage has no record
        head: Any  # these kinds of frames have heads
        for frame, head in items:
            if head is None or head.__class__ is DamagedError:
                continue
            kind = frame.kind
            if kind == opened:
                known = requests
            elif (kind == done and frame.flags & _HAS_RESPONSE) or (kind == begun and not frame.flags & _NO_HEAD):
                known = responses
            else:
                if kind == _TRAILERS:
                    self._trailers(frame)
                continue
            at = frame.head_length
            size = head.head_size
            lines = frame.payload[at : at + size].split(b"\r\n", MAX_FIELDS + 1)
            if lines[-2:] != _END or b"\n" in lines[0]:
                lines = self._unusual(frame, lines)
            seq = frame.seq
            self._seqs.append(seq)
            for line in lines[1:-2]:
                known[line].append(seq)
            self._size += size
            self._count += len(lines)
            if self._size >= _BLOCK_BYTES or self._count >= _BLOCK_LINES:
                self._flush()

    def _unusual(self, frame: Frame, lines: list[bytes]) -> list[bytes]:
        """Take the head of another making: lines that end with LF alone, no empty line at the end, too many lines."""
        lines = [part for line in lines for part in line.split(b"\n", MAX_FIELDS)]
        if len(lines) > MAX_FIELDS:
            self._gaps.add(frame.seq)
        return [*lines[:MAX_FIELDS], *_END]

    def _trailers(self, frame: Frame) -> None:
        side = RESPONSE_TRAILER if frame.flags & _RESPONSE else REQUEST_TRAILER
        lines = self._unusual(frame, frame.payload[frame.head_length :].split(b"\r\n", MAX_FIELDS))
        self._seqs.append(frame.seq)
        for line in lines:
            self._lines[side][line].append(frame.seq)
        self._size += len(frame.payload)
        self._count += len(lines)

    def write(self) -> None:
        """Put everything into the database."""
        self._flush()

    def _flush(self) -> None:
        if self._gaps:
            self._db.executemany("INSERT OR IGNORE INTO header_gaps VALUES (?)", [(seq,) for seq in self._gaps])
            self._gaps.clear()
        if not self._count:
            return
        block = _Block(self._seqs, self._size)
        for side, lines in self._lines.items():
            block.take(side, lines)
            lines.clear()
        self._seqs.clear()
        self._size = self._count = 0
        self._db.executemany("INSERT OR IGNORE INTO header_gaps VALUES (?)", [(seq,) for seq in block.cut])
        block.join_smaller(self._db)
        block.write(self._db)


class _Block:
    """Headers of some exchanges, about to be written."""

    def __init__(self, seqs: Sequence[int], size: int) -> None:
        self.size = size
        self.cut: set[int] = set()
        self._names: dict[tuple[int, str], Found] = {}
        self._first, self._last = min(seqs), max(seqs)
        self._exchanges = len(set(seqs))

    def take(self, side: int, lines: dict[bytes, list[int]]) -> None:
        """Take lines apart; each distinct one once, whatever the number of exchanges that have it."""
        # What a name is in bytes is looked up; only a name that was not met before, or a line that is odd, costs more.
        known: dict[bytes, Found] = {}
        for line, seqs in lines.items():
            name, _, value = line.partition(b":")
            found = known.get(name)
            if found is None or b"\n" in line or len(value) > MAX_VALUE:
                self._take_slowly(side, line, seqs, known)
                continue
            text = as_str(value.strip())
            if text in found:
                found[text] = found[text] + seqs
            else:
                found[text] = seqs

    def _take_slowly(self, side: int, line: bytes, seqs: list[int], known: dict[bytes, Found]) -> None:
        """Take a line apart that may be anything; note a name that the next line may have in ``known``."""
        if b"\n" in line:
            for part in line.split(b"\n"):
                self._take_slowly(side, part, seqs, known)
            return
        raw, _, value = line.partition(b":")
        if not raw:  # the empty line at the end, and what HTTP/2 has for a start line
            return
        if raw[0] in b" \t" or len(raw) > MAX_NAME or len(value) > MAX_VALUE:
            self.cut.update(seqs)  # goes on the line before, or is cut
        name = as_str(raw[:MAX_NAME]).rstrip(" \t").lower()
        self._put(side, name, as_str(value[:MAX_VALUE].strip()), seqs)
        found = self._names.get((side, name))
        if found is not None and len(raw) <= MAX_NAME and raw[0] not in b" \t":
            known[raw] = found

    def _put(self, side: int, name: str, value: str, seqs: list[int]) -> None:
        found = self._names.get((side, name))
        if found is None:
            if name and len(self._names) >= MAX_NAMES:
                self._put(side, "", f"{name}: {value}", seqs)
                return
            found = self._names[(side, name)] = {}
        if value in found:
            found[value] = found[value] + seqs
        else:
            found[value] = seqs

    def join_smaller(self, db: sqlite3.Connection) -> None:
        """Take in the blocks before that are not larger: each row is written again a logarithm of times at most."""
        while (last := db.execute(_LAST).fetchone()) is not None:
            block, exchanges, size, first, last_seq = last
            if exchanges > self._exchanges or size + self.size > _BLOCK_BYTES:
                return
            rows = db.execute("SELECT side, name, first, found FROM header_blocks WHERE block = ?", (block,))
            for side, name, begin, found in rows:
                for value, seqs in decoded(found).items():
                    self._put(side, name, value, [seq + begin for seq in seqs])
            self._exchanges += exchanges
            self.size += size
            self._first, self._last = min(self._first, first), max(self._last, last_seq)
            db.execute("DELETE FROM header_blocks WHERE block = ?", (block,))
            db.execute("DELETE FROM header_sizes WHERE block = ?", (block,))

    def write(self, db: sqlite3.Connection) -> None:
        """Put it into the database."""
        sizes = (self._exchanges, self.size, self._first, self._last)
        block = db.execute(
            "INSERT INTO header_sizes (exchanges, size, first, last) VALUES (?, ?, ?, ?)", sizes
        ).lastrowid
        encode = msgspec.json.encode
        db.executemany(
            _PUT,
            [
                (block, side, name, self._first, self._last, encode(_distinct(found, self._first)).decode())
                for (side, name), found in self._names.items()
            ],
        )


def _distinct(found: Found, first: int) -> Found:
    """Count seqs from the block's first, and name each once: frames may be written twice, and a head repeat a line."""
    for value, seqs in found.items():
        if len(seqs) == 1:
            found[value] = [seqs[0] - first]
        else:
            found[value] = [seq - first for seq in (seqs if len(set(seqs)) == len(seqs) else dict.fromkeys(seqs))]
    return found


_END: Final = [b"", b""]
_OPENED: Final = int(FrameType.OPENED)
_DONE: Final = int(FrameType.DONE)
_BEGUN: Final = int(FrameType.RESPONSE_HEAD)
_TRAILERS: Final = int(FrameType.TRAILERS)
_HAS_RESPONSE: Final = int(Flag.HAS_RESPONSE)
_NO_HEAD: Final = int(Flag.INTERIM) | int(Flag.UNPARSED)
_RESPONSE: Final = int(Flag.RESPONSE)


def decoded(found: str) -> Found:
    """Read the values of a row.

    Raises:
        sqlite3.DatabaseError: they cannot be read; the index is broken.
    """
    try:
        return _DECODER.decode(found)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise sqlite3.DatabaseError(f"the headers in the index cannot be read: {error}") from error


Matches = Callable[[str, str], bool]
"""Takes a header's name, in lower case, and its value."""


def seqs_with(
    db: sqlite3.Connection,
    matches: Matches,
    *,
    sides: Iterable[int] = HEADERS,
    name: str | None = None,
    through: int | None = None,
    newest_first: bool = True,
) -> Iterator[set[int]]:
    """Yield the exchanges that have a header, a block of them at a time; each distinct value is looked at once a block.

    Exchanges of different blocks come in the order of the log, as a rule; a seq may come in two blocks.

    Args:
        db: the index.
        matches: says whether a header is one.
        sides: where it may stand.
        name: only headers of this name (any case), which reads no others.
        through: only exchanges up to this seq.
        newest_first: begin with the last block.

    Raises:
        sqlite3.DatabaseError: the index is broken.
    """
    parts = [f"side IN ({', '.join(str(int(side)) for side in sides)})"]
    values: list[Any] = []
    if name is not None:
        parts.append("name IN (?, '')")
        values.append(name.lower())
    if through is not None:
        parts.append("first <= ?")
        values.append(through)
    order = "DESC" if newest_first else "ASC"
    sql = f"SELECT name, first, found FROM header_blocks WHERE {' AND '.join(parts)} ORDER BY block {order}"  # noqa: S608 - values are bound
    for row_name, begin, found in db.execute(sql, values):
        seqs: set[int] = set()
        for value, relative in decoded(found).items():
            own_name, own_value = (row_name, value) if row_name else _apart(value)
            if (name is None or own_name == name.lower()) and matches(own_name, own_value):
                seqs.update(begin + seq for seq in relative)
        if through is not None:
            seqs = {seq for seq in seqs if seq <= through}
        if seqs:
            yield seqs


def _apart(text: str) -> tuple[str, str]:
    name, _, value = text.partition(": ")
    return name, value


def not_whole(db: sqlite3.Connection) -> Iterator[int]:
    """Yield the exchanges whose headers are not all in the index: heads that no honest program sends."""
    for (seq,) in db.execute("SELECT seq FROM header_gaps ORDER BY seq"):
        yield seq
