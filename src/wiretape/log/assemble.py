"""Frames of an exchange put together again: heads as bytes, bodies as references into the log.

Bodies are not held: an ``Exchange`` knows where each piece lies and ``read_body`` fetches them one by one, so a body
of any size costs some bytes for each of its chunks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

import msgspec

from wiretape.errors import DamagedError
from wiretape.log.format import (
    BodyChunk,
    Done,
    EndState,
    Flag,
    FrameType,
    Opened,
    ResponseBegun,
)
from wiretape.log.items import OF_AN_EXCHANGE, Damage, Frame
from wiretape.model import State

_STATES: Final[dict[int, State]] = {
    EndState.COMPLETE: "complete",
    EndState.ABORTED: "aborted",
    EndState.FAILED: "failed",
}


class BodyPiece(msgspec.Struct, frozen=True, gc=False):
    """Bytes ``position`` to ``position + length`` of a body: in the frame at ``offset`` of ``segment``, ``skip`` bytes
    into its payload."""

    position: int
    length: int
    segment: str
    offset: int
    skip: int


class Body(msgspec.Struct, frozen=True):
    """One body, its pieces in order and without overlap.

    ``size`` is its length on the wire, ``meant`` how much of it was to be recorded (less than ``size`` in the preview
    profile); both None while the exchange is not done. ``recorded`` is what the pieces hold, ``gaps`` the ranges
    ``[from, to)`` that should be there and are not.
    """

    pieces: tuple[BodyPiece, ...] = ()
    size: int | None = None
    meant: int | None = None
    recorded: int = 0
    gaps: tuple[tuple[int, int], ...] = ()


class ResponsePart(msgspec.Struct, frozen=True):
    """A response's head: its record and its bytes. Interim answers (1xx) have one each."""

    record: ResponseBegun
    head: bytes


class Exchange(msgspec.Struct, frozen=True, kw_only=True):
    """One exchange as the log has it. What damage took is None or empty, and ``notes`` say so in sentences."""

    seq: int
    state: State
    opened: Opened | None
    request_head: bytes
    request: Body
    interim: tuple[ResponsePart, ...]
    begun: ResponseBegun | None
    response_head: bytes
    response: Body
    request_trailers: bytes
    response_trailers: bytes
    done: Done | None
    messages: int
    notes: tuple[str, ...]


@dataclass(slots=True)
class _Building:
    """An exchange whose frames are still coming."""

    seq: int
    opened: Opened | None = None
    request_head: bytes = b""
    request: list[BodyPiece] = field(default_factory=list)
    interim: list[ResponsePart] = field(default_factory=list)
    begun: ResponseBegun | None = None
    response_head: bytes = b""
    response: list[BodyPiece] = field(default_factory=list)
    request_trailers: bytes = b""
    response_trailers: bytes = b""
    done: Done | None = None
    messages: int = 0
    notes: list[str] = field(default_factory=list)

    def take(self, frame: Frame) -> None:
        """Add one frame.

        Raises:
            DamagedError: its record cannot be decoded or contradicts its data.
        """
        kind = frame.kind
        if kind == FrameType.TRAILERS:
            self._take_trailers(frame)
            return
        if kind == FrameType.MESSAGE:
            self.messages += 1
            return
        record = frame.record()
        if isinstance(record, BodyChunk):
            pieces = self.request if kind == FrameType.REQUEST_BODY else self.response
            _add_piece(pieces, frame, record.position, 0)
        elif isinstance(record, Opened):
            self._take_opened(frame, record)
        elif isinstance(record, ResponseBegun):
            self._take_response(frame, record)
        elif isinstance(record, Done):
            self._take_done(frame, record)

    def _take_opened(self, frame: Frame, record: Opened) -> None:
        if self.opened is not None:
            self.notes.append(f"{frame.segment} opens this exchange again at {frame.offset}; the first one counts")
            return
        self.request_head = _head_of(frame, record.head_size)
        self.opened = record
        _add_piece(self.request, frame, 0, record.head_size)

    def _take_response(self, frame: Frame, record: ResponseBegun) -> None:
        head = _head_of(frame, record.head_size)
        if frame.flags & Flag.INTERIM:
            self.interim.append(ResponsePart(record, head))
        elif self.begun is None:
            self.begun, self.response_head = record, head
            _add_piece(self.response, frame, 0, record.head_size)

    def _take_trailers(self, frame: Frame) -> None:
        if frame.flags & Flag.RESPONSE:
            self.response_trailers = bytes(frame.data)
        else:
            self.request_trailers = bytes(frame.data)

    def _take_done(self, frame: Frame, record: Done) -> None:
        if frame.flags & Flag.HAS_RESPONSE:
            self.response_head = _head_of(frame, record.head_size)
            _add_piece(self.response, frame, 0, record.head_size)
        self.done = record

    def take_damage(self, damage: Damage) -> None:
        """Note that a frame of this exchange is damaged."""
        what = FrameType(damage.kind).name if damage.kind in _KINDS else f"kind {damage.kind}"
        self.notes.append(
            f"its {what} frame is damaged: {damage.segment}, {damage.length} bytes at {damage.offset} ({damage.reason})"
        )

    def finish(self, unfinished: State) -> Exchange:
        """Make the value; ``unfinished`` is its state when nothing says how it ended."""
        done = self.done
        notes = list(self.notes)
        if self.opened is None:
            notes.append("the frame with the request is not there")
        return Exchange(
            seq=self.seq,
            state=_STATES.get(done.state, "failed") if done is not None else unfinished,
            opened=self.opened,
            request_head=self.request_head,
            request=_body(self.request, (done.request_size, done.request_recorded) if done else (None, None)),
            interim=tuple(self.interim),
            begun=self.begun,
            response_head=self.response_head,
            response=_body(self.response, (done.response_size, done.response_recorded) if done else (None, None)),
            request_trailers=self.request_trailers,
            response_trailers=self.response_trailers,
            done=done,
            messages=self.messages,
            notes=tuple(notes),
        )


_KINDS: Final = frozenset(int(kind) for kind in FrameType)


class Assembler:
    """Puts exchanges together from the frames of a log, however they interleave; holds those that are not done."""

    def __init__(self) -> None:
        self._open: dict[int, _Building] = {}

    def add(self, item: Frame | Damage) -> Exchange | None:
        """Take the next item of a log; gives the exchange that it completes, if it does.

        Frames that are of no exchange are ignored; a record that cannot be used becomes a note of its exchange.
        """
        if isinstance(item, Damage):
            for seq in item.seqs_hint:
                self._building(seq).take_damage(item)
            return None
        if item.kind not in OF_AN_EXCHANGE:
            return None
        building = self._building(item.seq)
        try:
            building.take(item)
        except DamagedError as error:
            building.notes.append(error.message)
        if building.done is None:
            return None
        del self._open[item.seq]
        return building.finish("interrupted")

    def finish(self, unfinished: State = "interrupted") -> Iterator[Exchange]:
        """Give the exchanges that are not done, by ``seq``, and forget them."""
        left, self._open = self._open, {}
        for seq in sorted(left):
            yield left[seq].finish(unfinished)

    def _building(self, seq: int) -> _Building:
        building = self._open.get(seq)
        if building is None:
            building = self._open[seq] = _Building(seq)
        return building


def assemble(seq: int, items: Iterable[Frame | Damage], unfinished: State = "interrupted") -> Exchange:
    """Put one exchange together.

    Args:
        seq: which exchange.
        items: its frames in the order of the log; items of other exchanges are ignored.
        unfinished: its state when no frame says how it ended.
    """
    building = _Building(seq)
    for item in items:
        if isinstance(item, Damage):
            if seq in item.seqs_hint:
                building.take_damage(item)
        elif item.seq == seq and item.kind in OF_AN_EXCHANGE:
            try:
                building.take(item)
            except DamagedError as error:
                building.notes.append(error.message)
    return building.finish(unfinished)


def read_body(body: Body, fetch: Callable[[str, int], Frame]) -> Iterator[memoryview]:
    """Read a body's bytes in order, piece by piece; what lies in a gap is left out.

    Args:
        body: as assembled.
        fetch: gives the frame of a segment (by name) at an offset, as ``read_frame`` does.

    Raises:
        DamagedError: a piece was sound when the exchange was assembled and is not any more.
    """
    for piece in body.pieces:
        payload = fetch(piece.segment, piece.offset).payload
        if len(payload) < piece.skip + piece.length:
            raise DamagedError(f"{piece.segment} at {piece.offset} is not the frame it was")
        yield memoryview(payload)[piece.skip : piece.skip + piece.length]


def _head_of(frame: Frame, size: int) -> bytes:
    start = frame.head_length
    if not 0 <= size <= len(frame.payload) - start:
        raise DamagedError(f"{frame.segment} at {frame.offset}: a head of {size} bytes does not fit into its frame")
    return frame.payload[start : start + size]


def _add_piece(pieces: list[BodyPiece], frame: Frame, position: int, skip: int) -> None:
    skip += frame.head_length
    length = len(frame.payload) - skip
    if position < 0:
        raise DamagedError(f"{frame.segment} at {frame.offset}: a body position of {position} is impossible")
    if length > 0:
        pieces.append(BodyPiece(position, length, frame.segment, frame.offset, skip))


def _body(pieces: list[BodyPiece], sizes: tuple[int | None, int | None]) -> Body:
    """Order pieces, trim what two of them both hold, and find what is missing of ``sizes``: on the wire, recorded."""
    size, meant = sizes
    placed: list[BodyPiece] = []
    gaps: list[tuple[int, int]] = []
    covered = recorded = 0
    for piece in sorted(pieces, key=_position):
        overlap = covered - piece.position
        if overlap >= piece.length:
            continue
        if overlap > 0:
            piece = msgspec.structs.replace(
                piece, position=covered, length=piece.length - overlap, skip=piece.skip + overlap
            )
        elif overlap < 0:
            gaps.append((covered, piece.position))
        placed.append(piece)
        recorded += piece.length
        covered = piece.position + piece.length
    if meant is not None and covered < meant:
        gaps.append((covered, meant))
    return Body(tuple(placed), size, meant, recorded, tuple(gaps))


def _position(piece: BodyPiece) -> int:
    return piece.position
