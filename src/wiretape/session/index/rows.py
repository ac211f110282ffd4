"""Rows of the index's tables while frames are applied to them."""

from __future__ import annotations

from typing import Any

import msgspec


class SegmentRow:
    """One row of ``segments`` while frames of that segment are applied."""

    __slots__ = ("begun", "closed", "ended", "id", "name", "number", "position", "run", "run_key", "stream")

    def __init__(self, row: tuple[Any, ...]) -> None:
        (
            self.id,
            self.name,
            self.stream,
            self.number,
            self.position,
            self.run,
            self.run_key,
            self.begun,
            self.ended,
            self.closed,
        ) = row


class StreamRow:
    """One row of ``streams``."""

    __slots__ = ("first_seq", "next_seq", "present", "step", "stream")

    def __init__(self, stream: int, step: int, first_seq: int, next_seq: int, present: int) -> None:
        self.stream = stream
        self.step = step
        self.first_seq = first_seq
        self.next_seq = next_seq
        self.present = present


class ExchangeRow(msgspec.Struct, gc=False):
    """One row of ``exchanges``; the fields are its columns, in order.

    A msgspec struct because each exchange of a log is one for a moment: made and taken apart again in C.
    """

    seq: int
    run: int
    state: str = "inFlight"
    ts: int = 0
    method: str = ""
    host: str = ""
    url: str = ""
    status: int | None = None
    duration: int | None = None
    request_size: int = 0
    response_size: int = 0
    request_seen: int = 0
    response_seen: int = 0
    content_type: str | None = None
    error: str | None = None
    harmed: int = 0
    special: int = 0
    source: str = ""
    connection: int = 0
    upstream: int = 0
    opened_in: int | None = None
    opened_at: int | None = None
    done_in: int | None = None
    done_at: int | None = None
