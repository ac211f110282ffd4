"""proxy-mcp's records.ndjson: one exchange in a line of JSON, whole or damaged.

There are no checksums in it. A line that is still JSON is taken for what it says; in one that is not, every object that
can still be read is taken (lines run into each other when the newline between them is lost).
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator
from typing import Any, BinaryIO, Final

from wiretape.formats.foreign import ForeignExchange, ForeignMessage, Unreadable

RECORDS: Final = "records.ndjson"
MAX_LINE: Final = 256 * 1024 * 1024
"""Bytes of one line at most; a longer one is damage."""
_BLOCK: Final = 1024 * 1024
_BEGIN: Final = '{"seq":'
_MAX_NUMBER: Final = 2**53


def read_records(file: BinaryIO) -> Iterator[ForeignExchange | Unreadable]:
    """Give what a records file holds, in its order, a line at a time.

    Raises:
        OSError: it cannot be read.
    """
    decoder = json.JSONDecoder()
    for offset, line, whole in _lines(file):
        if not whole:
            yield Unreadable(offset=offset, length=len(line), reason=f"a line of more than {MAX_LINE} bytes")
        elif line.strip(b" \t\r\n\0"):
            yield from _read_line(decoder, offset, line)


def _lines(file: BinaryIO) -> Iterator[tuple[int, bytes, bool]]:
    """Give lines with their offsets; one that is too long is given in pieces that say so."""
    offset, held = 0, b""
    while block := file.read(_BLOCK):
        held += block
        *lines, held = held.split(b"\n")
        for line in lines:
            yield offset, line, True
            offset += len(line) + 1
        if len(held) > MAX_LINE:
            yield offset, held, False
            offset += len(held)
            held = b""
    if held:
        yield offset, held, True


def _read_line(decoder: json.JSONDecoder, offset: int, line: bytes) -> Iterator[ForeignExchange | Unreadable]:
    try:
        text, harmed = line.decode(), False
    except UnicodeDecodeError:
        text, harmed = line.decode("utf-8", "replace"), True
    at, damaged_from = 0, None
    while at < len(text):
        if text[at] in " \t\r\0,":
            at += 1
            continue
        found, end = _object(decoder, text, at, harmed=harmed)
        if found is not None:
            if damaged_from is not None:
                yield _unreadable(offset, text, damaged_from, at)
                damaged_from = None
            yield found
            at = end
            continue
        damaged_from = at if damaged_from is None else damaged_from
        following = text.find(_BEGIN, at + 1)
        at = following if following > 0 else len(text)
    if damaged_from is not None:
        yield _unreadable(offset, text, damaged_from, len(text))


def _unreadable(offset: int, text: str, start: int, end: int) -> Unreadable:
    before, inside = len(text[:start].encode(errors="replace")), len(text[start:end].encode(errors="replace"))
    return Unreadable(offset=offset + before, length=inside, reason="no exchange that can be read")


def _object(decoder: json.JSONDecoder, text: str, at: int, *, harmed: bool) -> tuple[ForeignExchange | None, int]:
    try:
        value, end = decoder.raw_decode(text, at)
        return _exchange(value, harmed=harmed), end
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
        return None, at


def _exchange(record: Any, *, harmed: bool) -> ForeignExchange:
    """Take a record apart; whatever is not as it should be raises one of the errors that ``_object`` knows."""
    exchange = record["exchange"]
    request, response = exchange["request"], exchange.get("response")
    return ForeignExchange(
        number=_number(record["seq"]),
        ident=str(exchange.get("id", ""))[:100],
        wall_ms=_number(exchange["timestamp"]),
        duration_ms=_duration(exchange.get("duration")),
        method=_token(request["method"]),
        url=_text(request["url"]),
        request=_message(request, record.get("requestBodyBase64")),
        status=_status(response["statusCode"]) if response else None,
        reason=_text(response.get("statusMessage") or "") if response else "",
        response=_message(response, record.get("responseBodyBase64")) if response else None,
        harmed=harmed,
    )


def _number(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < _MAX_NUMBER:
        raise ValueError("no number")
    return int(value)


def _duration(value: Any) -> float | None:
    return None if value is None else float(_number(value))


def _status(value: Any) -> int:
    status = _number(value)
    if not 100 <= status <= 999:
        raise ValueError("no status")
    return status


def _token(value: Any) -> str:
    if not isinstance(value, str) or not value.isascii() or not value.isalpha() or len(value) > 32:
        raise ValueError("no method")
    return value


def _text(value: Any) -> str:
    """Give a text that can stand in a line of a head: captured content never becomes framing."""
    if not isinstance(value, str) or len(value) > 65_536:
        raise ValueError("no text")
    return "".join(char if char.isprintable() else " " for char in value)


def _message(message: dict[str, Any], encoded: Any) -> ForeignMessage:
    headers = tuple(
        (_text(name), _text(one))
        for name, value in (message.get("headers") or {}).items()
        for one in (value if isinstance(value, list) else [value])
    )
    size = _number(message.get("bodySize", 0))
    if isinstance(encoded, str):
        try:
            return ForeignMessage(headers=headers, body=base64.b64decode(encoded, validate=True), size=size)
        except binascii.Error as error:
            raise ValueError("no base64") from error
    text = str(message.get("bodyPreview") or "")
    preview = text.encode("utf-8", "replace")
    if "\ufffd" in text:
        # proxy-mcp made a text of bytes that were none: what they were cannot be known any more.
        return ForeignMessage(headers=headers, body=b"", size=size)
    coded = any(name.lower() == "content-encoding" for name, _ in headers)
    return ForeignMessage(headers=headers, body=preview, size=size, decoded=coded and bool(preview))
