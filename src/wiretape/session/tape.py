"""One exchange read from the log by the places the index knows: every checksum verified, what is missing said."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from wiretape.errors import DamagedError
from wiretape.log.format import BodyChunk, Done, Flag, FrameType, Opened, Record, ResponseBegun
from wiretape.log.items import Frame
from wiretape.log.reader import read_frame, segment_info

Side = str
REQUEST: Final = "request"
RESPONSE: Final = "response"


class Place(NamedTuple):
    """Where a frame stands."""

    segment: str
    offset: int
    kind: int


class LogFrames:
    """Random access to the frames of a log; remembers each segment's salt."""

    def __init__(self, log_dir: Path) -> None:
        self._dir = log_dir
        self._salts: dict[str, int | None] = {}

    def frame(self, place: Place) -> Frame:
        """Read one frame.

        Raises:
            DamagedError: it does not check. NotFoundError, StorageError: the segment is gone or unreadable.
        """
        path = self._dir / place.segment
        salt = self._salts.get(place.segment)
        if salt is None:
            salt = self._salts[place.segment] = segment_info(path).salt
        if salt is None:
            raise DamagedError(f"{place.segment} has no sound frame", hint="run `wiretape verify` on the session")
        return read_frame(path, place.offset, salt)


class Part(msgspec.Struct, frozen=True):
    """A piece of a body: bytes, or (``data`` None) a range that damage took. ``end`` is where it ends in the body."""

    start: int
    end: int
    data: bytes | None


class ExchangeTape:
    """The frames of one exchange. Bodies are read piece by piece, as they are asked for.

    Attributes:
        opened, done: the first and last frame with their records, None where missing or damaged.
        response_head: the raw final response head, or None.
        trailers: raw trailer sections by side.
        notes: what could not be read, one sentence each.
    """

    def __init__(self, log: LogFrames, seq: int, places: list[Place]) -> None:
        self._log = log
        self.seq = seq
        self.notes: list[str] = []
        self.opened: tuple[Frame, Opened] | None = None
        self.done: tuple[Frame, Done] | None = None
        self.begun: tuple[Frame, ResponseBegun] | None = None
        self.trailers: dict[Side, bytes] = {}
        self._bodies: dict[Side, list[Place]] = {REQUEST: [], RESPONSE: []}
        for place in places:
            if place.kind == FrameType.REQUEST_BODY:
                self._bodies[REQUEST].append(place)
            elif place.kind == FrameType.RESPONSE_BODY:
                self._bodies[RESPONSE].append(place)
            else:
                self._take(place)

    def _take(self, place: Place) -> None:
        read = self._read(place)
        if read is None:
            return
        frame, record = read
        if isinstance(record, Opened):
            self.opened = self.opened or (frame, record)
        elif isinstance(record, Done):
            self.done = self.done or (frame, record)
        elif isinstance(record, ResponseBegun) and not frame.flags & Flag.INTERIM:
            self.begun = self.begun or (frame, record)
        elif frame.kind == FrameType.TRAILERS:
            self.trailers.setdefault(RESPONSE if frame.flags & Flag.RESPONSE else REQUEST, bytes(frame.data))

    def _read(self, place: Place) -> tuple[Frame, Record] | None:
        try:
            frame = self._log.frame(place)
            record = frame.record()
        except DamagedError as error:
            self.notes.append(error.message)
            return None
        if frame.seq != self.seq or frame.kind != place.kind:
            # The index is of another log: it says so rather than showing a stranger's bytes.
            self.notes.append(f"{place.segment} has another frame at {place.offset} than the index says")
            return None
        return frame, record

    @property
    def request_head(self) -> bytes | None:
        """The raw request head."""
        if self.opened is None:
            return None
        frame, record = self.opened
        return bytes(frame.data[: record.head_size])

    @property
    def response_head(self) -> bytes | None:
        """The raw head of the final response."""
        found = self._response_frame()
        return bytes(found[0].data[: found[1]]) if found else None

    def _response_frame(self) -> tuple[Frame, int] | None:
        if self.done is not None and self.done[0].flags & Flag.HAS_RESPONSE:
            return self.done[0], self.done[1].head_size
        if self.begun is not None:
            return self.begun[0], self.begun[1].head_size
        return None

    def recorded(self, side: Side) -> int | None:
        """Give how many bytes of the body the log was given; None when that is not known."""
        if self.done is None:
            return None
        return self.done[1].request_recorded if side == REQUEST else self.done[1].response_recorded

    def body(self, side: Side) -> Iterator[Part]:
        """Give the body as it was on the wire, in order, what is missing as parts without data."""
        at = 0
        inline = self._inline(side)
        if inline:
            at = len(inline)
            yield Part(0, at, inline)
        for place in self._bodies[side]:
            read = self._read(place)
            if read is None:
                continue
            frame, record = read
            assert isinstance(record, BodyChunk)
            data = frame.data
            end = record.position + len(data)
            if end <= at:
                continue  # written twice
            if record.position > at:
                yield Part(at, record.position, None)
                at = record.position
            yield Part(at, end, bytes(data[at - record.position :]))
            at = end
        recorded = self.recorded(side)
        if recorded is not None and recorded > at:
            yield Part(at, recorded, None)

    def _inline(self, side: Side) -> bytes:
        if side == REQUEST:
            return bytes(self.opened[0].data[self.opened[1].head_size :]) if self.opened else b""
        found = self._response_frame()
        return bytes(found[0].data[found[1] :]) if found else b""
