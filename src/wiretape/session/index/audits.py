"""The projection ``audit``: the log's audit (log/audit.py), gone on with where the index goes on.

So nothing is read twice, and what the index says of the log is what a check of all of it says.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final

import msgspec
from google_crc32c import value as crc32c

from wiretape.errors import DamagedError
from wiretape.log.audit import Audit
from wiretape.log.inventory import Inventory
from wiretape.log.report import LogReport
from wiretape.model import Gap
from wiretape.session.index.projection import Item, Memory, Segment

_CRC_BYTES: Final = 4
"""SQLite does not check its content, and a number that is off by a bit would be believed."""


class AuditProjection:
    """The projection."""

    name = "audit"
    version = 1
    tables = ("audit",)
    schema = """
        CREATE TABLE audit (
            id INTEGER PRIMARY KEY,
            state BLOB NOT NULL,     -- of the log as far as it was read
            report BLOB,             -- of the log to its end; NULL while that was not reached
            exact INTEGER NOT NULL   -- whether reading the log in its order would report the same
        );
    """

    def open(self, db: sqlite3.Connection, _memory: Memory) -> _Sink:
        """Begin a transaction's work.

        Raises:
            sqlite3.DatabaseError: what the index holds cannot be read.
        """
        return _Sink(db)

    def end(self, db: sqlite3.Connection, report: LogReport) -> None:
        """Keep the report."""
        db.execute("UPDATE audit SET report = ?", (_sealed(msgspec.msgpack.encode(report)),))


class _Sink:
    kind = None

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._audit = read_audit(db)

    def begin(self, segment: Segment, missing: Sequence[Gap], step: int) -> None:
        """Go on in the next segment of a stream."""
        if not self._audit.streams:
            self._audit = Audit(step)
        self._audit.begin(segment.placed, missing)

    def take(self, segment: Segment, items: Sequence[Item]) -> None:
        """Take what was read."""
        self._audit.read(segment.placed.stream, [item for item, _ in items])

    def reached(self, segment: Segment, position: int) -> None:
        """Take how far a segment was read."""
        self._audit.reached(segment.placed.stream, position)

    def write(self) -> None:
        """Put the audit into the database; its report is drawn up at the log's end."""
        row = (_sealed(self._audit.save()), self._audit.exact)
        self._db.execute("INSERT OR REPLACE INTO audit VALUES (1, ?, NULL, ?)", row)


def read_audit(db: sqlite3.Connection) -> Audit:
    """Return the audit of the log as far as it was read.

    Raises:
        sqlite3.DatabaseError: it cannot be read; the index is broken.
    """
    found = db.execute("SELECT state FROM audit").fetchone()
    if found is None:
        return Audit()
    try:
        return Audit.load(_opened(found[0]))
    except DamagedError as error:
        raise sqlite3.DatabaseError(error.message) from error


def is_exact(db: sqlite3.Connection) -> bool:
    """Return whether the audit says what it would say if the log had been read in its order (``Audit.exact``)."""
    found = db.execute("SELECT exact FROM audit").fetchone()
    return found is None or bool(found[0])


def read_report(db: sqlite3.Connection, session_id: str) -> LogReport:
    """Return what the log holds and lacks as far as it was read; to its end, if the index has come there.

    Raises:
        sqlite3.DatabaseError: it cannot be read; the index is broken.
    """
    found = db.execute("SELECT report FROM audit").fetchone()
    if found is None or found[0] is None:
        audit = read_audit(db)
        return audit.report(session_id, Inventory([], [], [], {}), live=audit.streams)
    try:
        return msgspec.msgpack.decode(_opened(found[0]), type=LogReport)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise sqlite3.DatabaseError(f"the report in the index cannot be read: {error}") from error


def _sealed(data: bytes) -> bytes:
    return _crc(data) + data


def _crc(data: bytes) -> bytes:
    return int(crc32c(data)).to_bytes(_CRC_BYTES, "little")


def _opened(data: bytes) -> bytes:
    content = data[_CRC_BYTES:]
    if _crc(content) != data[:_CRC_BYTES]:
        raise sqlite3.DatabaseError("the audit in the index is damaged")
    return content
