"""The projection ``messages``: the messages of upgraded and streaming exchanges, and where their bytes stand."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Final

from wiretape.log.format import Flag, FrameType, MessageSeen
from wiretape.log.items import Frame
from wiretape.log.report import LogReport
from wiretape.session.index.projection import Item, Memory, Segment
from wiretape.session.index.row_sink import Row, RowSink

_MAX_INTEGER: Final = 2**63 - 1
_MAX_WORD: Final = 1_000
# A frame may be written twice (after a failed sync): a copy is the same part of the same message.
_PUT: Final = "INSERT OR IGNORE INTO messages VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


class Messages:
    """The projection."""

    name = "messages"
    version = 2
    tables = ("messages",)
    schema = """
        CREATE TABLE messages (          -- a row for each frame of a message; most messages have one
            seq INTEGER, side INTEGER,   -- side: 0 from the client, 1 from the server
            number INTEGER,              -- of the messages of that side, from 1
            position INTEGER,            -- where in the message the frame's bytes begin
            segment INTEGER NOT NULL, offset INTEGER NOT NULL,
            opcode INTEGER NOT NULL,     -- WebSocket's; 0 elsewhere
            event TEXT NOT NULL,         -- type of a server-sent event
            size INTEGER NOT NULL,       -- of the whole message, -1 where unknown
            bytes INTEGER NOT NULL,      -- in this frame
            last INTEGER NOT NULL,       -- whether it ends the message
            elapsed INTEGER NOT NULL,    -- ns since the exchange began
            reserved INTEGER NOT NULL,   -- reserved bits of a WebSocket's frame: 64 where its data are compressed
            fault TEXT NOT NULL,         -- what was wrong with it
            PRIMARY KEY (seq, side, number, position)
        ) WITHOUT ROWID;
    """

    def open(self, db: sqlite3.Connection, _memory: Memory) -> RowSink:
        """Begin a transaction's work."""
        return RowSink(db, _PUT, FrameType.MESSAGE, _rows_of)

    def end(self, db: sqlite3.Connection, report: LogReport) -> None:
        """Need nothing of it."""


def _rows_of(segment: Segment, items: Sequence[Item]) -> Iterator[Row]:
    for frame, record in items:
        if record.__class__ is MessageSeen:
            assert isinstance(frame, Frame)
            assert isinstance(record, MessageSeen)
            yield (
                frame.seq,
                int(bool(frame.flags & Flag.RESPONSE)),
                _clamped(record.number),
                _clamped(record.position),
                segment.id,
                frame.offset,
                _clamped(record.opcode),
                _word(record.event),
                _clamped(record.size),
                len(frame.payload) - frame.head_length,
                int(bool(frame.flags & Flag.LAST)),
                _clamped(record.elapsed_ns),
                _clamped(record.reserved),
                _word(record.fault),
            )


def _word(text: str) -> str:
    return text[:_MAX_WORD].encode("utf-8", "replace").decode()


def _clamped(number: int) -> int:
    return max(-1, min(_MAX_INTEGER, number))
