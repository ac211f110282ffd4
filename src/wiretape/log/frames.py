"""One frame to bytes and back. See FORMAT.md; the constants are in format.py."""

from __future__ import annotations

from typing import NamedTuple

from google_crc32c import value as crc32c

from wiretape.errors import LogError
from wiretape.log.format import HEADER, HEADER_CRC, HEADER_SIZE, MAGIC, MAX_HEAD, MAX_PAYLOAD

_pack = HEADER.pack
_pack_crc = HEADER_CRC.pack
_unpack = HEADER.unpack_from
_unpack_crc = HEADER_CRC.unpack_from


class FrameHeader(NamedTuple):
    """A frame's fixed header, as read."""

    magic: bytes
    type: int
    flags: int
    head_length: int
    length: int
    offset: int
    seq: int
    salt: int
    payload_crc: int


def encode_header(
    kind: int, flags: int, offset: int, seq: int, salt: int, head_length: int, length: int, payload_crc: int
) -> bytes:
    """Encode the fixed header of a frame.

    Args:
        kind: the FrameType.
        offset: absolute offset in the segment at which the frame will stand.
        head_length: bytes of the record, at most MAX_HEAD.
        length: bytes of record and data together, at most MAX_PAYLOAD.
        payload_crc: the CRC of both.

    Raises:
        LogError: it does not fit into a frame; nothing that is recorded is as long as that (FORMAT.md, Bounds).
    """
    if head_length > MAX_HEAD or length > MAX_PAYLOAD:
        raise LogError(
            f"a frame of kind {kind} cannot hold a record of {head_length} bytes"
            f" and {length - head_length} bytes of data",
            code="too-long",
        )
    header = _pack(MAGIC, kind, flags, head_length, length, offset, seq, salt, payload_crc)
    return header + _pack_crc(crc32c(header))


def encode_frame(kind: int, flags: int, offset: int, seq: int, salt: int, head: bytes, data: bytes = b"") -> bytes:
    """Encode one frame in one piece; arguments and errors as ``encode_header``."""
    payload = head + data
    return encode_header(kind, flags, offset, seq, salt, len(head), len(payload), crc32c(payload)) + payload


def decode_header(buffer: bytes | memoryview, at: int = 0) -> FrameHeader | None:
    """Decode the header at ``at`` of ``buffer``; None when its checksum does not agree or it is cut short.

    The payload's length must not be trusted before this has returned a header. The version is not judged here.
    """
    if len(buffer) - at < HEADER_SIZE:
        return None
    raw = bytes(buffer[at : at + HEADER.size])
    if _unpack_crc(buffer, at + HEADER.size)[0] != crc32c(raw):
        return None
    return FrameHeader._make(_unpack(raw))
