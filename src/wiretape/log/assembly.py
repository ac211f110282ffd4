"""One exchange read from a log by its frames: every checksum verified, what is missing said.

Bodies are not held: their frames are known by where they stand and read one by one, so a body of any size costs some
bytes for each of its pieces.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from wiretape.errors import DamagedError
from wiretape.log.files import REAL, Files
from wiretape.log.format import BodyChunk, Done, Flag, FrameType, Opened, Record, ResponseBegun
from wiretape.log.items import Frame
from wiretape.log.scan import read_frame, segment_info
from wiretape.log.store import healed_names, segment_path

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

    def __init__(self, log_dir: Path, files: Files = REAL) -> None:
        self._dir = log_dir
        self._files = files
        self._salts: dict[str, int | None] = {}
        self._healed = healed_names(log_dir, files)

    def frame(self, place: Place) -> Frame:
        """Read one frame.

        Raises:
            DamagedError: it does not check. NotFoundError, StorageError: the segment is gone or unreadable.
        """
        path = segment_path(self._dir, place.segment, self._healed)
        salt = self._salts.get(place.segment)
        if salt is None:
            salt = self._salts[place.segment] = segment_info(path, self._files).salt
        if salt is None:
            raise DamagedError(f"{place.segment} has no sound frame", hint="run `wiretape verify` on the session")
        return read_frame(path, place.offset, salt, self._files)


class Part(msgspec.Struct, frozen=True):
    """A piece of a body: bytes, or (``data`` None) a range that damage took. ``end`` is where it ends in the body."""

    start: int
    end: int
    data: bytes | None


LEFT_OUT: Final = "It is in more pieces than can be followed; the rest is in the log and is not given."
MAX_PIECES: Final = 700_000
"""Frames of one body that are followed, 24 bytes of memory for each. Pieces of 256 KiB make 180 GB; a stream of small
events, each a piece, is longer than that after 700,000 of them."""


class Pieces:
    """Where the frames of one body stand, in 24 bytes each; given in the order of their positions."""

    def __init__(self, kind: int) -> None:
        self._kind = kind
        self._segments: list[str] = []
        self._numbers = array("Q")
        self._sorted = True
        self.end = 0
        self.seen = 0

    def add(self, position: int, length: int, frame: Frame) -> bool:
        """Note one frame, and how much of the body is there; what comes twice counts once.

        Returns:
            Whether there was room for it.
        """
        if length and not self.put(position, frame.segment, frame.offset):
            return False
        self.count(position, length)
        return True

    def put(self, position: int, segment: str, offset: int) -> bool:
        """Note where a frame stands; gives whether there was room for it."""
        if len(self._numbers) >= 3 * MAX_PIECES:
            return False
        if not self._segments or self._segments[-1] != segment:
            self._segments.append(segment)
        if self._numbers and position < self._numbers[-3]:
            self._sorted = False
        self._numbers.extend((position, len(self._segments) - 1, offset))
        return True

    def count(self, position: int, length: int) -> None:
        """Count bytes of the body that are there: ``seen`` of those before ``end``."""
        self.seen += max(0, position + length - max(position, self.end))
        self.end = max(self.end, position + length)

    def __len__(self) -> int:
        return len(self._numbers) // 3

    def __iter__(self) -> Iterator[Place]:
        numbers = self._numbers
        order: Iterable[int] = range(0, len(numbers), 3)
        if not self._sorted:  # frames that were written again stand behind later ones
            order = sorted(order, key=numbers.__getitem__)
        for at in order:
            yield Place(self._segments[numbers[at + 1]], numbers[at + 2], self._kind)


class ExchangeTape:
    """The frames of one exchange. Bodies are read piece by piece, as they are asked for.

    Attributes:
        opened, done: the first and last frame with their records, None where missing or damaged.
        begun: the frame with the final response's head, where it has one of its own.
        interim: interim answers (1xx), each its record and its raw head.
        messages: how many messages of an upgraded connection there are.
        trailers: raw trailer sections by side.
        notes: what could not be read, one sentence each.
    """

    def __init__(
        self,
        log: LogFrames,
        seq: int,
        frames: Iterable[Place | Frame],
        bodies: Mapping[Side, Pieces] | None = None,
    ) -> None:
        """Take the exchange's frames, in the order of the log; of copies the first that can be read counts.

        Args:
            log: where bodies, and frames of which only the place is given, are read from.
            seq: the exchange.
            frames: all of them; those of the bodies by their places, in the order of their positions.
            bodies: the bodies' frames where they are not among ``frames``.
        """
        self._log = log
        self.seq = seq
        self.notes: list[str] = []
        self.opened: tuple[Frame, Opened] | None = None
        self.done: tuple[Frame, Done] | None = None
        self.begun: tuple[Frame, ResponseBegun] | None = None
        self.interim: list[tuple[ResponseBegun, bytes]] = []
        self.messages = 0
        self.trailers: dict[Side, bytes] = {}
        listed: dict[Side, list[Place]] = {REQUEST: [], RESPONSE: []}
        self._bodies: Mapping[Side, list[Place] | Pieces] = listed if bodies is None else bodies
        for frame in frames:
            if isinstance(frame, Place) and frame.kind == FrameType.REQUEST_BODY:
                listed[REQUEST].append(frame)
            elif isinstance(frame, Place) and frame.kind == FrameType.RESPONSE_BODY:
                listed[RESPONSE].append(frame)
            elif frame.kind == FrameType.MESSAGE:
                self.messages += 1
            else:
                self._take(frame)

    def _take(self, place: Place | Frame) -> None:
        read = self._read(place)
        if read is None:
            return
        frame, record = read
        if isinstance(record, Opened):
            self.opened = self.opened or (frame, record)
        elif isinstance(record, Done):
            self.done = self.done or (frame, record)
        elif isinstance(record, ResponseBegun):
            if not frame.flags & Flag.INTERIM:
                self.begun = self.begun or (frame, record)
            elif all(record != other for other, _ in self.interim):
                self.interim.append((record, bytes(frame.data[: record.head_size])))
        elif frame.kind == FrameType.TRAILERS:
            self.trailers.setdefault(RESPONSE if frame.flags & Flag.RESPONSE else REQUEST, bytes(frame.data))

    def _read(self, place: Place | Frame) -> tuple[Frame, Record] | None:
        try:
            frame = place if isinstance(place, Frame) else self._log.frame(place)
            record = frame.record()
            _check(frame, record)
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

    def size(self, side: Side) -> int | None:
        """Give how long the body was on the wire; None when that is not known."""
        if self.done is None:
            return None
        return self.done[1].request_size if side == REQUEST else self.done[1].response_size

    def has_body(self, side: Side) -> bool:
        """Tell whether any byte of the body was recorded."""
        return len(self._bodies[side]) > 0 or bool(self._inline(side))

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


def _check(frame: Frame, record: Record) -> None:
    """Refuse a record that contradicts its frame: written by a program with a fault, or by nobody.

    Raises:
        DamagedError: it does.
    """
    where = f"{frame.segment} at {frame.offset}"
    if isinstance(record, BodyChunk) and record.position < 0:
        raise DamagedError(f"{where}: a body position of {record.position} is impossible")
    if isinstance(record, Opened | ResponseBegun | Done):
        with_head = not isinstance(record, Done) or frame.flags & Flag.HAS_RESPONSE
        if with_head and not 0 <= record.head_size <= len(frame.data):
            raise DamagedError(f"{where}: a head of {record.head_size} bytes does not fit into its frame")
