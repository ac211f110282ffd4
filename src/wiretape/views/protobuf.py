"""Protocol Buffers without their schema, and the frames of gRPC around them.

https://protobuf.dev/programming-guides/encoding/ and
https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md (grpc-web: PROTOCOL-WEB.md).
"""

from __future__ import annotations

import base64
import binascii
import struct
import zlib
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from wiretape.views.json_text import read_json
from wiretape.views.limits import MAX_NODES, ViewError, check_size

_MAX_DEPTH: Final = 32
_BYTES: Final = 512
_FRAME: Final = struct.Struct(">BI")
_TRAILERS: Final = 0x80
_COMPRESSED: Final = 0x01
_MAX_INFLATED: Final = 16 * 1024 * 1024


class _NoMessageError(Exception):
    """These bytes are no message."""


def read_protobuf(data: bytes) -> dict[str, Any]:
    """Return the fields by number: ``{"1": "v_0042", "2": 7, "3": {"1": 5}}``; what comes more than once is a list.

    Raises:
        ViewError: these bytes are no message.
    """
    check_size(data, "This message")
    try:
        return _message(data, 0, [MAX_NODES // 10])
    except _NoMessageError:
        raise ViewError("This is not a Protocol Buffers message", hint="view hex shows it as it is") from None


def _message(data: bytes, depth: int, room: list[int]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, kind = tag >> 3, tag & 7
        room[0] -= 1
        if not 0 < number < 2**29 or room[0] < 0:
            raise _NoMessageError
        value: Any
        if kind == 0:
            value, at = _varint(data, at)
        elif kind in {1, 5}:
            size = 8 if kind == 1 else 4
            if at + size > len(data):
                raise _NoMessageError
            value, at = _fixed(data[at : at + size]), at + size
        elif kind == 2:
            size, at = _varint(data, at)
            if at + size > len(data):
                raise _NoMessageError
            value, at = _block(data[at : at + size], depth, room), at + size
        else:
            raise _NoMessageError  # groups (3, 4) are out of use since 2008
        key = str(number)
        if key not in found:
            found[key] = value
        elif isinstance(found[key], _Repeated):
            found[key].append(value)
        else:
            found[key] = _Repeated((found[key], value))
    return {key: list(value) if isinstance(value, _Repeated) else value for key, value in found.items()}


class _Repeated(list[Any]):
    """A field that comes more than once, told from packed numbers, which are one value."""


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 70 and at < len(data):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise _NoMessageError


def _fixed(raw: bytes) -> float | int:
    """Return eight or four bytes as the number that they more likely are."""
    value = struct.unpack("<d" if len(raw) == 8 else "<f", raw)[0]
    whole = int.from_bytes(raw, "little")
    return round(value, 7) if whole == 0 or 1e-6 < abs(value) < 1e12 else whole


def _block(data: bytes, depth: int, room: list[int]) -> Any:
    """Return a length-delimited field: text where it reads as one, else a message, else bytes."""
    text = _printable(data)
    if text is not None:
        return text
    if depth < _MAX_DEPTH:
        try:
            return _message(data, depth + 1, room)
        except _NoMessageError:
            pass
    shown = base64.b64encode(data[:_BYTES]).decode()
    return {"bytes": len(data), "base64": shown + ("…" if len(data) > _BYTES else "")}


def _printable(data: bytes) -> str | None:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return text if all(char.isprintable() or char in "\n\r\t" for char in text) and not data.startswith(b"\n") else None


# -- gRPC ---------------------------------------------------------------------------------------------------------


class GrpcFrame(NamedTuple):
    """One frame of gRPC: where it ends in the body, its message; ``trailers`` of grpc-web instead of one."""

    end: int
    data: bytes
    trailers: dict[str, str] | None = None
    complete: bool = True


def grpc_frames(data: bytes, *, text: bool = False) -> Iterator[GrpcFrame]:
    """Yield the frames of a body of gRPC or grpc-web. A last one that is cut has ``complete`` false.

    Args:
        data: the body.
        text: it is ``grpc-web-text``: base64 of it all, perhaps in several pieces.

    Raises:
        ViewError: this is no framing of gRPC.
    """
    if text:
        data = _from_base64(data)
    at = 0
    while at + _FRAME.size <= len(data):
        flags, size = _FRAME.unpack_from(data, at)
        if flags & ~(_TRAILERS | _COMPRESSED):
            raise ViewError(f"This is not gRPC framing: a frame at {at} has the flags {flags:#x}", hint="view hex")
        end = at + _FRAME.size + size
        message = data[at + _FRAME.size : end]
        whole = end <= len(data)
        if flags & _TRAILERS:
            yield GrpcFrame(min(end, len(data)), b"", _trailers(message), whole)
        else:
            yield GrpcFrame(min(end, len(data)), _inflated(message) if flags & _COMPRESSED else message, None, whole)
        at = end
    if at < len(data):
        yield GrpcFrame(len(data), data[at:], None, False)


def _from_base64(data: bytes) -> bytes:
    try:
        # Pieces are padded on their own: four characters at a time never cross a piece.
        return b"".join(binascii.a2b_base64(part + b"==") for part in data.replace(b"\r\n", b"").split(b"=") if part)
    except binascii.Error:
        raise ViewError("This is not base64, as grpc-web-text has it", hint="view text shows it as it is") from None


def _inflated(message: bytes) -> bytes:
    inflate = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        return inflate.decompress(message, _MAX_INFLATED)
    except zlib.error:
        return message  # another compression: shown as it is


def _trailers(data: bytes) -> dict[str, str]:
    found = {}
    for line in data.decode("utf-8", "replace").split("\r\n")[:100]:
        name, colon, value = line.partition(":")
        if colon:
            found[name.strip().lower()] = value.strip()
    return found


def read_grpc(data: bytes, content_type: str | None) -> list[Any]:
    """Return the messages of a body of gRPC, decoded without schema; trailers of grpc-web as ``{"trailers": {...}}``.

    Raises:
        ViewError: this is no framing of gRPC.
    """
    check_size(data, "This body of gRPC")
    kind = (content_type or "").lower()
    return [_shown(frame, as_json="+json" in kind) for frame in grpc_frames(data, text="grpc-web-text" in kind)]


def _shown(frame: GrpcFrame, *, as_json: bool) -> Any:
    if frame.trailers is not None:
        return {"trailers": frame.trailers}
    return message_value(frame.data, as_json=as_json) if frame.complete else {"incomplete": len(frame.data)}


def message_value(data: bytes, *, as_json: bool = False) -> Any:
    """Return one message of gRPC as a value; where it is none, how many bytes it has and the first of them."""

    try:
        return read_json(data) if as_json else read_protobuf(data)
    except ViewError:
        return {"bytes": len(data), "base64": base64.b64encode(data[:_BYTES]).decode()}
