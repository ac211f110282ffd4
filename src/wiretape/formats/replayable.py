"""Recorded requests as somebody can send them again: without what belongs to one connection, secrets as variables."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from wiretape.model import ExchangeDetail, Message
from wiretape.secrets.find import Found, in_header, in_text
from wiretape.secrets.sightings import sightings

DROPPED: Final = frozenset(
    {
        "host", "content-length", "connection", "accept-encoding", "proxy-connection", "keep-alive",
        "transfer-encoding", "te", "upgrade", "expect", "proxy-authorization", "trailer",
    }
)  # fmt: skip
"""Headers that a client makes for itself, or that are of one connection (RFC 9110 section 7.6.1)."""

_NAMES: Final = {
    "jwt": "TOKEN", "bearer": "TOKEN", "token": "TOKEN", "authorization": "TOKEN", "csrf": "CSRF", "basic": "LOGIN",
    "cookie": "COOKIE", "session": "SESSION",
}  # fmt: skip
_NO_NAME: Final = re.compile(r"[^A-Z0-9]+")


@dataclass(frozen=True, slots=True)
class Variable:
    """A secret in a request: its name in a script, its value, and where the recording has it from."""

    name: str
    value: str
    origin: str


Text = tuple["str | Variable", ...]
"""A text with variables in it."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request that can be sent again. ``body`` is text with variables, or bytes; None where there is none."""

    seq: int
    method: str
    url: Text
    headers: tuple[tuple[str, Text], ...]
    body: Text | bytes | None
    coded: bool
    """The client takes compressed answers."""
    note: str = ""


class Variables:
    """Names for the secrets of a script, each with its origin.

    It is given the exchanges in their order: what an answer gave is where a later request has it from.
    """

    def __init__(self) -> None:
        self.by_value: dict[str, Variable] = {}
        self._names: set[str] = set()
        self._origins: dict[str, str] = {}

    def learn(self, exchange: ExchangeDetail) -> None:
        """Remember what secrets an answer gives."""
        if exchange.response is None:
            return
        for _, value, where in sightings(exchange):
            if where.startswith("response."):
                place = f"seq {exchange.seq} {where}"
                self._origins.setdefault(value, place)
                self._origins.setdefault(unquote(value), f"{place}, percent-decoded")

    def request(self, exchange: ExchangeDetail) -> Request | None:
        """Return the exchange's request with variables in it; None where damage took its head."""
        message = exchange.request
        if message is None or message.method is None:
            return None
        headers = []
        coded = False
        for name, value in message.headers:
            lower = name.lower()
            coded |= lower == "accept-encoding"
            if lower not in DROPPED:
                headers.append((name, self._header(exchange.seq, name, value)))
        url = message.url or ""
        body = self._body(exchange.seq, message)
        note = message.body_note or "" if message.body_truncated or body is None else ""
        return Request(
            seq=exchange.seq,
            method=message.method,
            url=self._replaced(exchange.seq, "url", url, in_text(url)),
            headers=tuple(headers),
            body=body,
            coded=coded,
            note=note,
        )

    def _header(self, seq: int, name: str, value: str) -> Text:
        if name.lower() == "cookie":
            found = in_header(name, value)
            if not found:
                return (value,)
            origins = [self._origins.get(value[one.start : one.end]) for one in found]
            origin = "; ".join(dict.fromkeys(one for one in origins if one)) or f"seq {seq} request.header.Cookie"
            return (self._variable(seq, "COOKIES", value, origin),)
        return self._replaced(seq, f"header.{name}", value, in_header(name, value))

    def _body(self, seq: int, message: Message) -> Text | bytes | None:
        if message.body is not None:
            if "\0" in message.body:
                return message.body.encode("utf-8", "surrogatepass")
            return self._replaced(seq, "body", message.body, in_text(message.body))
        return base64.b64decode(message.body_base64) if message.body_base64 is not None else None

    def _replaced(self, seq: int, where: str, text: str, found: Sequence[Found]) -> Text:
        parts: list[str | Variable] = []
        at = 0
        for kind, start, end in found:
            value = text[start:end]
            name = _NAMES.get(kind) or _NO_NAME.sub("_", kind.upper())
            origin = self._origins.get(value) or f"seq {seq} request.{where}"
            parts += [text[at:start], self._variable(seq, name, value, origin)]
            at = end
        parts.append(text[at:])
        return tuple(part for part in parts if part != "")

    def _variable(self, seq: int, name: str, value: str, origin: str) -> Variable:
        del seq
        known = self.by_value.get(value)
        if known is None:
            number = 1
            free = name
            while free in self._names:
                number += 1
                free = f"{name}_{number}"
            self._names.add(free)
            known = self.by_value[value] = Variable(free, value, origin)
        return known


def plain(text: Text) -> str:
    """Return a text with the values of its variables."""
    return "".join(part if isinstance(part, str) else part.value for part in text)


def header(request: Request, name: str) -> str:
    """Return a header's value, empty where there is none."""
    return next((plain(value) for field, value in request.headers if field.lower() == name), "")
