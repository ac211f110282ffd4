"""The projection ``marks``: labelled points in a recording, one row a recorder."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Final

from wiretape.log.format import FrameType, Marked
from wiretape.log.items import Frame
from wiretape.log.report import LogReport
from wiretape.session.index.projection import Item, Memory, Segment
from wiretape.session.index.row_sink import Row, RowSink

_MAX_LABEL: Final = 1_000
_MAX_INTEGER: Final = 2**62
_MAX_STREAMS: Final = 1_000
_PUT: Final = "INSERT OR REPLACE INTO marks VALUES (?, ?, ?, ?, ?)"


class Marks:
    """The projection."""

    name = "marks"
    version = 1
    tables = ("marks",)
    schema = """
        CREATE TABLE marks (
            label TEXT NOT NULL,
            wall_ns INTEGER NOT NULL,    -- the same in all streams
            stream INTEGER NOT NULL,     -- whose recorder wrote it
            streams INTEGER NOT NULL,    -- of how many
            seq INTEGER NOT NULL,        -- the last number that it had given
            PRIMARY KEY (wall_ns, label, stream)
        ) WITHOUT ROWID;
    """

    def open(self, db: sqlite3.Connection, _memory: Memory) -> RowSink:
        """Begin a transaction's work."""
        return RowSink(db, _PUT, FrameType.MARKED, _rows_of)

    def end(self, db: sqlite3.Connection, report: LogReport) -> None:
        """Need nothing of it."""


def _rows_of(segment: Segment, items: Sequence[Item]) -> Iterator[Row]:
    for frame, record in items:
        if (
            isinstance(record, Marked)
            and isinstance(frame, Frame)
            and max(abs(record.wall_ns), frame.seq) < _MAX_INTEGER
        ):
            head = segment.placed.head
            streams = head.streams if head is not None and 0 < head.streams <= _MAX_STREAMS else 1
            yield (record.label[:_MAX_LABEL], record.wall_ns, segment.stream, streams, frame.seq)
