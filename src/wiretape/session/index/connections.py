"""The projection ``connections``: where the TLS handshakes of each connection stand, and their fingerprints."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Final

from wiretape.log.format import PASSED, FrameType, TlsSeen
from wiretape.log.items import Frame
from wiretape.log.report import LogReport
from wiretape.session.fingerprints import fingerprints
from wiretape.session.index.projection import Item, Memory, Segment
from wiretape.session.index.row_sink import Row, RowSink

_MAX_WORD: Final = 1_000
_MAX_INTEGER: Final = 2**63
_PUT: Final = "INSERT OR REPLACE INTO handshakes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


class Connections:
    """The projection."""

    name = "connections"
    version = 2
    tables = ("handshakes",)
    schema = """
        CREATE TABLE handshakes (
            run INTEGER, connection INTEGER, side TEXT, segment INTEGER, offset INTEGER, host TEXT, failed INTEGER,
            passed INTEGER,                  -- whether it was not intercepted
            ja3 TEXT, ja4 TEXT, ja3s TEXT,   -- of a client the first two, of a server the third; NULL where unknown
            PRIMARY KEY (segment, offset)
        ) WITHOUT ROWID;
        CREATE INDEX handshakes_of ON handshakes (run, connection);
        CREATE INDEX handshakes_passed ON handshakes (host) WHERE passed;
    """

    def open(self, db: sqlite3.Connection, _memory: Memory) -> RowSink:
        """Begin a transaction's work."""
        return RowSink(db, _PUT, FrameType.TLS, _rows_of)

    def end(self, db: sqlite3.Connection, report: LogReport) -> None:
        """Need nothing of it."""


def _rows_of(segment: Segment, items: Sequence[Item]) -> Iterator[Row]:
    for frame, record in items:
        if record.__class__ is TlsSeen and abs(record.connection) < _MAX_INTEGER:
            assert isinstance(frame, Frame)
            side, host, failed = record.side[:_MAX_WORD], record.host[:_MAX_WORD], bool(record.error_code)
            found = fingerprints(record, frame.data)
            yield (
                segment.run, record.connection, side, segment.id, frame.offset, host, failed,
                record.verified == PASSED, found.ja3, found.ja4, found.ja3s,
            )  # fmt: skip
