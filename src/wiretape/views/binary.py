"""Bodies that are no text: msgpack, images, and anything as hexadecimal digits."""

from __future__ import annotations

import base64
import struct
from datetime import datetime
from hashlib import sha256
from typing import Any, Final

import msgspec

from wiretape.views.limits import ViewError, check_depth, check_size, too_deep

_BYTES: Final = 512
_ROW: Final = 16


def read_msgpack(data: bytes) -> Any:
    """Return the value of a msgpack document, with keys as text and bytes as ``{"bytes", "base64"}``.

    Raises:
        ViewError: it is none, nested too deep or too long.
    """
    check_size(data, "This msgpack")
    try:
        value = msgspec.msgpack.decode(data, strict=False)
    except RecursionError:
        raise too_deep("This msgpack") from None
    except (msgspec.MsgspecError, UnicodeDecodeError, TypeError, ValueError) as error:
        raise ViewError(f"This is not msgpack: {error}", hint="view hex shows it as it is") from None
    return _plain(check_depth(value, "This msgpack"))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, bytes):
        return {"bytes": len(value), "base64": base64.b64encode(value[:_BYTES]).decode()}
    if isinstance(value, msgspec.msgpack.Ext):
        return {"extension": value.code, "bytes": len(bytes(value.data))}
    return value.isoformat() if isinstance(value, datetime) else value


def read_image(data: bytes) -> dict[str, Any]:
    """Return an image's ``type``, ``width`` and ``height`` where its head says them, ``bytes`` and ``sha256``."""
    kind, size = _image(data[: 256 * 1024])
    found: dict[str, Any] = {"type": kind or "unknown"}
    if size is not None:
        found["width"], found["height"] = size
    return found | {"bytes": len(data), "sha256": sha256(data).hexdigest()}


def image_type(data: bytes) -> str | None:
    """Return the media type that the first bytes of an image show."""
    return _image(data[:512])[0]


def _image(data: bytes) -> tuple[str | None, tuple[int, int] | None]:
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png", struct.unpack(">II", data[16:24]) if len(data) >= 24 else None
    if data[:6] in {b"GIF87a", b"GIF89a"}:
        return "image/gif", struct.unpack("<HH", data[6:10]) if len(data) >= 10 else None
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp", _webp(data)
    if data[:3] == b"\xff\xd8\xff":
        return "image/jpeg", _jpeg(data)
    if data[:2] == b"BM" and len(data) >= 26:
        return "image/bmp", struct.unpack("<ii", data[18:26])
    if data[:4] == b"\0\0\x01\0" and len(data) >= 8:
        return "image/x-icon", (data[6] or 256, data[7] or 256)
    if data[4:12] in {b"ftypavif", b"ftypavis"}:
        return "image/avif", _avif(data)
    return None, None


def _webp(data: bytes) -> tuple[int, int] | None:
    """https://developers.google.com/speed/webp/docs/riff_container; RFC 6386 section 9.1 for VP8."""
    kind = data[12:16]
    if len(data) < 30:
        return None
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        width, height = struct.unpack("<HH", data[26:30])
        return width & 0x3FFF, height & 0x3FFF
    return None


def _jpeg(data: bytes) -> tuple[int, int] | None:
    """ITU-T T.81 section B.2: markers with a length, up to a start of frame."""
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in {0xC4, 0xC8, 0xCC}:
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            return width, height
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big") if marker != 0xFF else 1
    return None


def _avif(data: bytes) -> tuple[int, int] | None:
    at = data.find(b"ispe")  # ISO/IEC 23008-12 section 6.5.3: version and flags, then width and height
    return struct.unpack(">II", data[at + 8 : at + 16]) if 0 < at <= len(data) - 16 else None


def hex_rows(data: bytes, offset: int = 0) -> str:
    """Return bytes as rows of offset, hexadecimal digits and ASCII, as ``hexdump -C`` writes them."""
    rows = []
    for at in range(0, len(data), _ROW):
        part = data[at : at + _ROW]
        letters = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
        rows.append(f"{offset + at:08x}  {part.hex(' '):<47}  {letters}")
    return "\n".join(rows)
