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
from wiretape.secrets.veil import Veil
from wiretape.views.operations import split_url

MOST_FIELDS: Final = 50_000
"""Values of one body that are told apart."""
_MAX_DEPTH: Final = 200
_MAX_PARTS: Final = 200
_BOUNDARY: Final = re.compile(r"""boundary=(?:"([^"]{1,200})"|([^\s;"]{1,200}))""", re.IGNORECASE)
_STEP: Final = re.compile(r"[./]")
_PART_NAME: Final = re.compile(rb"""[;\s]name=(?:"([^"\r\n]{0,200})"|([^\s;"]{1,200}))""")
_encode = msgspec.json.Encoder().encode
_NONE: Final = object()
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


def both_fields(a: Message, b: Message) -> tuple[Fields, Fields]:
    """Return the fields of two requests or two responses, without what is the same in both JSON bodies.

    Bodies of a run and of its repetition are large and mostly the same: what is equal is not taken apart.
    """
    fields = Fields(head_fields(a)), Fields(head_fields(b))
    if (a.body, a.body_base64) == (b.body, b.body_base64) and media_type(a) == media_type(b):
        cut = a.body_truncated or b.body_truncated
        return fields[0]._replace(cut=cut), fields[1]._replace(cut=cut)
    if a.body is not None and b.body is not None and "json" in media_type(a) and "json" in media_type(b):
        found = _json_of_both(a.body, b.body)
        if found is not None:
            fields[0].values.update(found[0].values)
            fields[1].values.update(found[1].values)
            return (
                fields[0]._replace(cut=found[0].cut or a.body_truncated),
                fields[1]._replace(cut=found[1].cut or b.body_truncated),
            )
    bodies = body_fields(a), body_fields(b)
    for one, body in zip(fields, bodies, strict=True):
        one.values.update(body.values)
    return fields[0]._replace(cut=bodies[0].cut), fields[1]._replace(cut=bodies[1].cut)


def _json_of_both(a: str, b: str) -> tuple[Fields, Fields] | None:
    """Return the leaves of two JSON texts that are not the same in both; None where one is none."""
    try:
        trees = _decode(a), _decode(b)
    except (msgspec.DecodeError, RecursionError, ValueError):
        return None
    sides: tuple[dict[str, Any], dict[str, Any]] = ({}, {})
    cut = False
    stack: list[tuple[str, Any, Any, int]] = [("", *trees, 0)]
    while stack and not cut:
        place, one, other, depth = stack.pop()
        pairs = _inner(one, other)
        if pairs is None or depth > _MAX_DEPTH:
            for values, value in zip(sides, (one, other), strict=True):
                if value is not _NONE:
                    cut = _leaves(values, place, value) or cut
            continue
        for name, left, right in reversed(pairs):
            # Encoded, not compared: in Python 1 is True.
            if left is _NONE or right is _NONE or _encode(left) != _encode(right):
                stack.append((f"{place}/{escaped(name)}", left, right, depth + 1))
        cut = max(map(len, sides)) >= MOST_FIELDS
    return Fields({place or "body": value for place, value in sides[0].items()}, cut), Fields(
        {place or "body": value for place, value in sides[1].items()}, cut
    )


def _inner(a: Any, b: Any) -> list[tuple[str, Any, Any]] | None:
    """Return what two objects or two lists have in the same places; None of anything else, and of empty ones."""
    if isinstance(a, dict) and isinstance(b, dict) and a and b:
        return [(name, a.get(name, _NONE), b.get(name, _NONE)) for name in {**a, **b}]
    if isinstance(a, list) and isinstance(b, list) and a and b:
        most = max(len(a), len(b))
        return [(str(at), a[at] if at < len(a) else _NONE, b[at] if at < len(b) else _NONE) for at in range(most)]
    return None


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
    cut = _leaves(values, prefix, value)
    return Fields(values, cut)


def _leaves(values: dict[str, Any], prefix: str, value: Any) -> bool:
    """Put every leaf of a parsed value at its place; return whether there are more than are told apart."""
    stack: list[tuple[str, Any, int]] = [(prefix, value, 0)]
    while stack:
        place, one, depth = stack.pop()
        if len(values) >= MOST_FIELDS or depth > _MAX_DEPTH:
            return True
        if isinstance(one, dict) and one:
            stack.extend((f"{place}/{escaped(name)}", inner, depth + 1) for name, inner in reversed(one.items()))
        elif isinstance(one, list) and one:
            stack.extend((f"{place}/{at}", one[at], depth + 1) for at in range(len(one) - 1, -1, -1))
        elif isinstance(one, float) and not math.isfinite(one):
            values[place] = str(one)
        else:
            values[place] = one
    return False


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


def veiled_at(place: str, value: str, veil: Veil) -> str:
    """Return the text that stands in a place as it may be shown: the place's name may say that it is a secret."""
    part, dot, rest = place.partition(".")
    place = rest if dot and part in {"request", "response"} else place
    kind, dot, name = place.partition(".")
    if dot and kind == "cookie":
        return veil.header("cookie", f"{name}={value}").partition("=")[2]
    if dot and kind in {"header", "trailer"}:
        return veil.header(name, value)
    steps = [step for step in _STEP.split(place) if step and not step.isdigit()]
    return veil.field(steps[-1], value) if steps else veil.text(value)
