"""The secrets of one exchange, each with its place."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, urlsplit

import msgspec

from wiretape.model import ExchangeDetail, Message
from wiretape.secrets.find import Found, addresses, in_field, in_header, in_text
from wiretape.secrets.patterns import EMAIL

_FIELDS: Final = 10_000
"""Fields of a form or query, and values of a JSON body, that are looked at by name."""
_TEXTUAL: Final = ("multipart/", "text/", "json", "xml", "x-www-form-urlencoded", "graphql", "javascript")


class Sighting(NamedTuple):
    """A secret at a place: ``request.header.NAME``, ``response.body/POINTER`` and the like."""

    kind: str
    value: str
    where: str


def sightings(exchange: ExchangeDetail, *, personal: bool = False) -> Iterator[Sighting]:
    """Yield the secrets of an exchange; ``personal`` adds e-mail addresses, those in the claims of JWTs, too."""
    for side, message in (("request", exchange.request), ("response", exchange.response)):
        if message is None:
            continue
        if message.url:
            yield from _in_url(message.url, side, personal)
        for name, value in (*message.headers, *message.trailers):
            yield from _in_header(side, name, value, personal)
        yield from _in_body(message, side, personal)


def in_message(text: str, where: str, *, personal: bool = False) -> Iterator[Sighting]:
    """Yield the secrets in the text of a message, which stands at ``where``; ``personal`` as of ``sightings``."""
    yield from _in_text(text, "", where, personal)


def not_searched(message: Message | None) -> str | None:
    """Return why a body cannot be searched for secrets, None where it is."""
    if message is None or not message.body_size:
        return None
    if message.body_base64 is not None and not _is_textual(message):
        return content_type(message).partition(";")[0] or "no text"
    if message.body_truncated:
        return "not recorded whole"
    return None


def content_type(message: Message) -> str:
    """Return a message's media type with its parameters, empty where it has none."""
    return next((value for name, value in message.headers if name.lower() == "content-type"), "")


def _is_textual(message: Message) -> bool:
    kind = content_type(message).lower()
    return any(word in kind for word in _TEXTUAL)


def _of(text: str, found: list[Found], where: str, personal: bool) -> Iterator[Sighting]:
    for kind, start, end in found:
        value = text[start:end]
        yield Sighting(kind, value, where)
        if personal and kind == "jwt":
            yield from _in_claims(value, where)
    if personal:
        for kind, start, end in addresses(text):
            yield Sighting(kind, text[start:end], where)


def _in_claims(token: str, where: str) -> Iterator[Sighting]:
    payload = token.split(".")[1]
    try:
        claims = base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)).decode()
    except (binascii.Error, ValueError):
        return
    for _, start, end in addresses(claims):
        yield Sighting(EMAIL, claims[start:end], f"{where} (JWT payload)")


def _in_url(url: str, side: str, personal: bool) -> Iterator[Sighting]:
    seen: set[str] = set()
    try:
        query = urlsplit(url).query
        fields = parse_qsl(query, keep_blank_values=True, max_num_fields=_FIELDS) if query else []
    except ValueError:
        fields = []
    for name, value in fields:
        for one in _of(value, in_field(name, value), f"{side}.query.{name}", personal):
            seen.add(one.value)
            yield one
    for one in _of(url, in_text(url), f"{side}.url", personal):
        if one.value not in seen:
            yield one


def _in_header(side: str, name: str, value: str, personal: bool) -> Iterator[Sighting]:
    lower = name.lower()
    found = in_header(name, value)
    if lower not in {"cookie", "set-cookie"}:
        yield from _of(value, found, f"{side}.header.{name}", personal)
        return
    for kind, start, end in found:
        before = value[:start].rpartition(";")[2].strip().partition("=")[0]
        yield from _of(value[start:end], [Found(kind, 0, end - start)], f"{side}.cookie.{before}", personal)


def _in_body(message: Message, side: str, personal: bool) -> Iterator[Sighting]:
    yield from _in_text(body_text(message), content_type(message).lower(), f"{side}.body", personal)


def _in_text(text: str, kind: str, where: str, personal: bool) -> Iterator[Sighting]:
    found = in_text(text) if text else []
    if not found and not (personal and "@" in text):
        return
    seen: set[str] = set()
    for name, value, pointer in _fields(text, kind):
        for one in _of(value, in_field(name, value), f"{where}{pointer}", personal):
            seen.add(one.value)
            yield one
    for one in _of(text, found, where, personal):
        if one.value not in seen:
            yield one


def body_text(message: Message) -> str:
    """Return a body as a text in which secrets can be found; bytes that are none stand in it as so many characters."""
    if message.body is not None:
        return message.body
    if message.body_base64 is not None and _is_textual(message):
        return base64.b64decode(message.body_base64).decode("latin-1")
    return ""


def _fields(text: str, kind: str) -> Iterator[tuple[str, str, str]]:
    """Yield the texts of a form or of JSON with the names and pointers that they have."""
    if "x-www-form-urlencoded" in kind:
        try:
            fields = parse_qsl(text, keep_blank_values=True, max_num_fields=_FIELDS)
        except ValueError:
            return
        yield from ((name, value, f"/{_escaped(name)}") for name, value in fields)
    elif "json" in kind or text.lstrip()[:1] in {"{", "["}:
        try:
            value = msgspec.json.decode(text.encode("utf-8", "surrogatepass"))
        except (msgspec.MsgspecError, RecursionError, ValueError):
            return
        yield from _leaves(value)


def _leaves(value: Any) -> Iterator[tuple[str, str, str]]:
    """Yield the strings of JSON in its order, each with its name and pointer, without recursion."""
    left: list[tuple[str, Any, str]] = [("", value, "")]
    looked = 0
    while left and looked < _FIELDS * 10:
        name, one, pointer = left.pop()
        looked += 1
        if isinstance(one, str):
            yield name, one, pointer
        elif isinstance(one, dict):
            left.extend((key, item, f"{pointer}/{_escaped(key)}") for key, item in reversed(one.items()))
        elif isinstance(one, list):
            left.extend((name, one[at], f"{pointer}/{at}") for at in range(len(one) - 1, -1, -1))


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")  # RFC 6901
