"""What reading a segment gives: frames that check, and the ranges that do not."""

from __future__ import annotations

from typing import Final

import msgspec

from wiretape.errors import DamagedError
from wiretape.log.format import HEADER_SIZE, RECORDS, FrameType, Record

_DECODERS: Final = {int(kind): msgspec.msgpack.Decoder(record) for kind, record in RECORDS.items()}
OF_AN_EXCHANGE: Final = frozenset(
    {
        FrameType.OPENED,
        FrameType.REQUEST_BODY,
        FrameType.RESPONSE_HEAD,
        FrameType.RESPONSE_BODY,
        FrameType.TRAILERS,
        FrameType.DONE,
        FrameType.MESSAGE,
    }
)
"""Kinds whose seq is an exchange's."""


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
