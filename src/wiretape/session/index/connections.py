"""The projection ``connections``: where the TLS handshakes of each connection stand."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, Final

from wiretape.log.format import TlsSeen
from wiretape.log.report import LogReport
from wiretape.model import Gap
from wiretape.session.index.projection import Item, Segment

_MAX_WORD: Final = 1_000
_MAX_INTEGER: Final = 2**63
_PUT: Final = "INSERT OR REPLACE INTO handshakes VALUES (?, ?, ?, ?, ?, ?, ?)"


class Connections:
    """The projection."""

    name = "connections"
    version = 1
    tables = ("handshakes",)
    schema = """
        CREATE TABLE handshakes (
            run INTEGER, connection INTEGER, side TEXT, segment INTEGER, offset INTEGER, host TEXT, failed INTEGER,
            PRIMARY KEY (segment, offset)
        ) WITHOUT ROWID;
        CREATE INDEX handshakes_of ON handshakes (run, connection);
    """

    def open(self, db: sqlite3.Connection) -> _Sink:
        """Begin a transaction's work."""
        return _Sink(db)

    def end(self, db: sqlite3.Connection, report: LogReport) -> None:
        """Need nothing of it."""


class _Sink:
    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._rows: list[tuple[Any, ...]] = []

    def begin(self, segment: Segment, missing: Sequence[Gap], step: int) -> None:
        """Need nothing of it."""

    def take(self, segment: Segment, items: Sequence[Item]) -> None:
        """Take the handshakes among what was read."""
        for frame, record in items:
            if record.__class__ is TlsSeen and abs(record.connection) < _MAX_INTEGER:
                side, host, failed = record.side[:_MAX_WORD], record.host[:_MAX_WORD], bool(record.error_code)
                self._rows.append((segment.run, record.connection, side, segment.id, frame.offset, host, failed))

    def reached(self, segment: Segment, position: int) -> None:
        """Need nothing of it."""

    def write(self) -> None:
        """Put everything into the database."""
        self._db.executemany(_PUT, self._rows)
        self._rows.clear()
