"""A message as fields: each value that it carries, by its place, whatever form the body has."""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, unquote

import msgspec

from wiretape.heads import field_values
from wiretape.model import Message
from wiretape.views.operations import split_url

MOST_FIELDS: Final = 50_000
"""Values of one body that are told apart."""
_MAX_DEPTH: Final = 200
_MAX_PARTS: Final = 200
_BOUNDARY: Final = re.compile(r"""boundary=(?:"([^"]{1,200})"|([^\s;"]{1,200}))""", re.IGNORECASE)
_PART_NAME: Final = re.compile(rb"""[;\s]name=(?:"([^"\r\n]{0,200})"|([^\s;"]{1,200}))""")
_decode = msgspec.json.Decoder(strict=False).decode


class Fields(NamedTuple):
    """The values of a message by place: ``header.NAME``, ``query.NAME``, ``cookie.NAME``, ``/POINTER`` of the body.

    ``cut`` says that the body has more than was looked at.
    """

    values: dict[str, Any]
    cut: bool = False


def request_fields(message: Message) -> Fields:
    """Return the fields of a request: its path's parts as ``path.N``, query, headers, cookies one by one, body."""
    values = head_fields(message)
    return Fields(values, _body(values, message))


def head_fields(message: Message) -> dict[str, Any]:
    """Return the fields of a message that are not of its body."""
    values: dict[str, Any] = {}
    if message.url is None:
        _headers(values, message, cookies="set-cookie")
        return values
    path, query = split_url(message.url)
    for number, part in enumerate(path.split("/")[1:], 1):
        values[f"path.{number}"] = unquote(part)
    for name, value in parse_qsl(query, keep_blank_values=True, max_num_fields=None)[:1000]:
        _put(values, f"query.{name}", value)
    _headers(values, message, cookies="cookie")
    return values


def response_fields(message: Message) -> Fields:
    """Return the fields of a response: headers, cookies that it sets one by one, body."""
    values = head_fields(message)
    return Fields(values, _body(values, message))


def body_fields(message: Message) -> Fields:
    """Return the fields of a message's body alone."""
    values: dict[str, Any] = {}
    return Fields(values, _body(values, message))


def _put(values: dict[str, Any], place: str, value: Any) -> None:
    """Put a value at its place, or beside those that are there under the same name."""
    name, number = place, 2
    while name in values and number <= _MAX_PARTS:
        name, number = f"{place}.{number}", number + 1
    values[name] = value


def _headers(values: dict[str, Any], message: Message, *, cookies: str) -> None:
    for name, value in [*message.headers, *message.trailers]:
        if name.lower() == cookies:
            for cookie, content in cookie_parts(value, first_only=cookies == "set-cookie"):
                _put(values, f"cookie.{cookie}", content)
        else:
            _put(values, f"header.{name}", value)


def cookie_parts(value: str, *, first_only: bool = False) -> Iterator[tuple[str, str]]:
    """Yield the cookies of a Cookie field, or the one of a Set-Cookie field."""
    for part in value.split(";")[:1] if first_only else value.split(";")[:_MAX_PARTS]:
        name, mark, content = part.strip().partition("=")
        if mark or name:
            yield (name, content)


def body_bytes(message: Message) -> bytes:
    """Return the body as bytes, decoded as far as the message has it."""
    if message.body is not None:
        return message.body.encode("utf-8", "surrogatepass")
    if message.body_base64 is not None:
        try:
            return base64.b64decode(message.body_base64)
        except binascii.Error:
            return b""
    return b""


def media_type(message: Message) -> str:
    """Return the media type of the body in lower case, without parameters."""
    return next(iter(field_values(message.headers, "content-type")), "").partition(";")[0].strip().lower()


# -- bodies --------------------------------------------------------------------------------------------------------


def _body(values: dict[str, Any], message: Message) -> bool:
    kind = media_type(message)
    text = message.body
    if text is not None:
        if kind == "application/x-www-form-urlencoded":
            for name, value in parse_qsl(text, keep_blank_values=True)[:MOST_FIELDS]:
                _put(values, f"/{escaped(name)}", value)
            return message.body_truncated
        if kind == "text/event-stream":
            return _events(values, text) or message.body_truncated
        if "json" in kind or text[:64].lstrip()[:1] in {"{", "["}:
            found = json_leaves(text)
            if found is not None:
                values.update({place or "body": value for place, value in found.values.items()})
                return found.cut or message.body_truncated
    data = body_bytes(message)
    if kind.startswith("multipart/"):
        return _multipart(values, message, data) or message.body_truncated
    if data:
        values["body"] = text if text is not None else data
    return message.body_truncated


def escaped(name: str) -> str:
    """Return a name as a part of a JSON pointer (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")


def json_leaves(text: str | bytes, prefix: str = "") -> Fields | None:
    """Return every value of a JSON text by its pointer; empty objects and lists are values too; None if it is none."""
    try:
        value = _decode(text)
    except (msgspec.DecodeError, RecursionError, ValueError):
        return None
    values: dict[str, Any] = {}
    cut = False
    stack: list[tuple[str, Any, int]] = [(prefix, value, 0)]
    while stack:
        place, one, depth = stack.pop()
        if len(values) >= MOST_FIELDS or depth > _MAX_DEPTH:
            cut = True
            continue
        if isinstance(one, dict) and one:
            stack.extend((f"{place}/{escaped(name)}", inner, depth + 1) for name, inner in reversed(one.items()))
        elif isinstance(one, list) and one:
            stack.extend((f"{place}/{at}", one[at], depth + 1) for at in range(len(one) - 1, -1, -1))
        elif isinstance(one, float) and not math.isfinite(one):
            values[place] = str(one)
        else:
            values[place] = one
    return Fields(values, cut)


def _events(values: dict[str, Any], text: str) -> bool:
    number = 0
    for line in text.splitlines():
        name, mark, content = line.partition(":")
        if name != "data" or not mark:
            continue
        found = json_leaves(content, f"/{number}")
        if found is not None:
            values.update(found.values)
        else:
            values[f"/{number}"] = content.removeprefix(" ")
        number += 1
        if len(values) >= MOST_FIELDS:
            return True
    return False


def _multipart(values: dict[str, Any], message: Message, data: bytes) -> bool:
    declared = _BOUNDARY.search(next(iter(field_values(message.headers, "content-type")), ""))
    if declared is None:
        values["body"] = data
        return False
    boundary = b"--" + (declared[1] or declared[2]).encode("utf-8", "replace")
    parts = data.split(boundary)[1:]
    for number, part in enumerate(parts[:_MAX_PARTS]):
        head, mark, content = part.partition(b"\r\n\r\n")
        if not mark:
            continue
        named = _PART_NAME.search(head)
        name = (named[1] or named[2] or b"").decode("utf-8", "replace") if named is not None else str(number)
        content = content.removesuffix(b"\r\n")
        found = json_leaves(content, f"/{escaped(name)}") if content[:1] in {b"{", b"["} else None
        if found is not None:
            values.update(found.values)
            continue
        try:
            _put(values, f"/{escaped(name)}", content.decode())
        except UnicodeDecodeError:
            _put(values, f"/{escaped(name)}", content)
    return len(parts) > _MAX_PARTS


def place_of(part: str, place: str) -> str:
    """Return how answers and arguments write a place: ``request.header.NAME``, ``response.body/POINTER``."""
    if place.startswith("/"):
        return f"{part}.body{place}"
    return f"{part}.url" if place.startswith("path.") else f"{part}.{place}"
