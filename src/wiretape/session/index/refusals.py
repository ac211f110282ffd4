"""The projection ``refusals``: who was turned away before there was an exchange, and with which request."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Final

from wiretape.heads import as_str
from wiretape.log.format import Event, FrameType
from wiretape.log.report import LogReport
from wiretape.session.index.projection import Item, Memory, Segment
from wiretape.session.index.row_sink import Row, RowSink

_KIND: Final = "refused"
_MAX_TEXT: Final = 500
_MAX_INTEGER: Final = 2**63 - 1
# An event may be written twice (after a failed sync): equal ones of one stream are one.
_PUT: Final = "INSERT OR IGNORE INTO refusals VALUES (?, ?, ?, ?, ?, ?)"


class Refusals:
    """The projection."""

    name = "refusals"
    version = 1
    tables = ("refusals",)
    schema = """
        CREATE TABLE refusals (
            wall_ns INTEGER, stream INTEGER, client TEXT, code TEXT, error TEXT, request TEXT,
            PRIMARY KEY (wall_ns, stream, client, code, error, request)
        ) WITHOUT ROWID;
    """

    def open(self, db: sqlite3.Connection, _memory: Memory) -> RowSink:
        """Begin a transaction's work."""
        return RowSink(db, _PUT, FrameType.EVENT, _rows_of)

    def end(self, db: sqlite3.Connection, report: LogReport) -> None:
        """Need nothing of it."""


def _rows_of(segment: Segment, items: Sequence[Item]) -> Iterator[Row]:
    for _, record in items:
        if isinstance(record, Event) and record.kind == _KIND:
            detail = record.detail
            texts = (_text(detail.get("client")), _text(detail.get("code")), _text(detail.get("error")))
            at = max(0, min(_MAX_INTEGER, record.wall_ns))
            yield (at, segment.stream, *texts, _first_line(detail.get("head")))


def _text(value: object) -> str:
    return value[:_MAX_TEXT].encode("utf-8", "replace").decode() if isinstance(value, str) else ""


def _first_line(head: object) -> str:
    """Return the request line of what had come; it is not more than that in any answer."""
    raw = head.encode("utf-8", "replace") if isinstance(head, str) else head if isinstance(head, bytes) else b""
    return as_str(raw.split(b"\n", 1)[0].rstrip(b"\r"))[:_MAX_TEXT]
