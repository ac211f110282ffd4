"""What reading a segment gives: frames that check, and the ranges that do not."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from wiretape.errors import DamagedError
from wiretape.log.format import (
    HEADER_SIZE,
    RECORDS,
    BodyChunk,
    Done,
    Flag,
    FrameType,
    Opened,
    Record,
    ResponseBegun,
)

_DECODERS: Final = {int(kind): msgspec.msgpack.Decoder(record) for kind, record in RECORDS.items()}
_DECODE: Final = {kind: decoder.decode for kind, decoder in _DECODERS.items()}
OF_AN_EXCHANGE: Final = frozenset(
    {
        FrameType.OPENED,
        FrameType.REQUEST_BODY,
        FrameType.RESPONSE_HEAD,
        FrameType.RESPONSE_BODY,
        FrameType.TRAILERS,
        FrameType.DONE,
        FrameType.MESSAGE,
        FrameType.SENT,
    }
)
"""Kinds whose seq is an exchange's."""
IMPOSSIBLE_FROM: Final = 2**53
"""No writer numbers so many exchanges or bytes of a body, and JSON's numbers are exact only up to here."""


_NUMBERED: Final = frozenset(map(int, OF_AN_EXCHANGE))
_DONE: Final = int(FrameType.DONE)
_WITH_HEAD: Final = frozenset({int(FrameType.OPENED), int(FrameType.RESPONSE_HEAD), _DONE})
"""Kinds whose data begin with a head."""
_PIECES: Final = frozenset({int(FrameType.REQUEST_BODY), int(FrameType.RESPONSE_BODY)})


class Frame(msgspec.Struct, frozen=True, gc=False):
    """One frame as read, its checksums verified.

    ``segment`` is the file's name, ``offset`` where the frame begins in it; the payload's first ``head_length``
    bytes are the record, the rest is data. Unknown kinds are given as they are: skip them.
    """

    kind: int
    flags: int
    seq: int
    segment: str
    offset: int
    head_length: int
    payload: bytes

    @property
    def size(self) -> int:
        """Bytes that the frame takes in the segment, header included."""
        return HEADER_SIZE + len(self.payload)

    @property
    def end(self) -> int:
        """The offset behind the frame's last byte."""
        return self.offset + HEADER_SIZE + len(self.payload)

    @property
    def head(self) -> bytes:
        """The record, encoded."""
        return self.payload[: self.head_length]

    @property
    def data(self) -> memoryview:
        """The raw bytes behind the record, not copied."""
        return memoryview(self.payload)[self.head_length :]

    def record(self) -> Record:
        """Decode the head.

        Raises:
            DamagedError: it cannot be decoded, or frames of this kind have no record.
        """
        decoder = _DECODERS.get(self.kind)
        if decoder is None:
            raise DamagedError(f"{self.segment} at {self.offset}: frames of kind {self.kind} have no known record")
        try:
            return decoder.decode(self.payload[: self.head_length])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise DamagedError(f"{self.segment} at {self.offset}: the record cannot be decoded: {error}") from None


def sound_record(frame: Frame) -> Record:
    """Return a frame's record if it does not contradict the frame; else a program with a fault wrote it, or nobody.

    Raises:
        DamagedError: it does, or cannot be decoded, or frames of this kind have none.
    """
    record = frame.record()
    if isinstance(record, BodyChunk):
        if not 0 <= record.position < IMPOSSIBLE_FROM:
            raise DamagedError(f"{frame.segment} at {frame.offset}: a body position of {record.position} is impossible")
        return record
    if isinstance(record, Opened | ResponseBegun | Done):
        with_head = not isinstance(record, Done) or frame.flags & Flag.HAS_RESPONSE
        if with_head and not 0 <= record.head_size <= len(frame.payload) - frame.head_length:
            raise DamagedError(
                f"{frame.segment} at {frame.offset}: a head of {record.head_size} bytes does not fit into its frame"
            )
    return record


def decode_all(items: Iterable[Frame | Damage]) -> list[Item]:
    """Decode the records of frames, many at a time; the rules are those of ``sound_record``.

    The loop decides the speed of following a log, so it is written out.
    """
    decoded: list[Item] = []
    append, decoders = decoded.append, _DECODE
    for item in items:
        if item.__class__ is not Frame:
            append((item, None))
            continue
        kind = item.kind
        decode = decoders.get(kind)
        if decode is None:
            append((item, None))
            continue
        payload, head_length = item.payload, item.head_length
        try:
            record: Any = decode(payload[:head_length])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            append((item, _problem(item)))
            continue
        if kind in _WITH_HEAD:
            sound = 0 <= record.head_size <= len(payload) - head_length or (kind == _DONE and not item.flags & 1)
        elif kind in _PIECES:
            sound = 0 <= record.position < IMPOSSIBLE_FROM
        else:
            sound = True
        if sound and (0 < item.seq < IMPOSSIBLE_FROM or kind not in _NUMBERED):
            append((item, record))
        else:
            append((item, _problem(item)))
    return decoded


def _problem(frame: Frame) -> DamagedError:
    """Return what is wrong with a frame."""
    try:
        sound_record(frame)
    except DamagedError as error:
        return error
    return DamagedError(f"{frame.segment} at {frame.offset}: no writer gives the number {frame.seq}")


class Damage(msgspec.Struct, frozen=True):
    """A range of a segment that does not check.

    ``length`` reaches to the next frame that checks, or to the end of what was read. ``seqs_hint`` are the exchanges it
    certainly touches: known where the frame's header is sound or follows from its checksum, empty where not. ``kind``
    is that frame's kind, 0 where unknown. ``is_tail`` holds for the end that a killed writer or a power cut leaves: an
    unfinished write, not damage to what was written.
    """

    segment: str
    offset: int
    length: int
    reason: str
    seqs_hint: tuple[int, ...] = ()
    kind: int = 0
    is_tail: bool = False

    @property
    def end(self) -> int:
        """The offset behind the range."""
        return self.offset + self.length


Item = tuple[Frame | Damage, Record | DamagedError | None]
"""A frame with its record; with the error where a frame that checks has one that means nothing, and with None where
frames of its kind have none. Damage comes with None."""
