"""The operators that need an exchange's headers, addresses or bodies."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from wiretape.filters.exchange import SIDES, Exchange, Fingerprint, Side, Verdict
from wiretape.filters.operators import Bare, PatternOperator, ResponseType
from wiretape.filters.patterns import Pattern
from wiretape.filters.tree import Operator

_JSON_MOST: Final = 16 * 1024 * 1024
"""Bytes of a body that is parsed to look at one field of it."""
_VALUES: Final = 100_000
"""Values that one path with wildcards looks at."""


def _either(verdicts: Iterator[Verdict]) -> Verdict:
    undecided = False
    for verdict in verdicts:
        if verdict:
            return True
        undecided |= verdict is None
    return None if undecided else False


class HeaderOperator(PatternOperator):
    """Looks at fields of heads and trailers, ``name: value`` each."""

    __slots__ = ()
    sides: ClassVar[tuple[Side, ...]] = SIDES

    def matches(self, exchange: Exchange) -> Verdict:
        """Return whether a head has it."""
        return _either(self._in(exchange.header_lines(side)) for side in self.sides)

    def _in(self, lines: str | None) -> Verdict:
        return None if lines is None else self.pattern.in_text(lines, lines=True)


class Header(HeaderOperator):
    """Headers of either."""

    __slots__ = ()
    symbols = ("~h",)
    help = "a header of request or response, as `name: value`"
    example = "~h 'x-request-id: 7f'"


class RequestHeader(HeaderOperator):
    """Headers of the request."""

    __slots__ = ()
    symbols = ("~hq",)
    sides = ("request",)
    help = "a header of the request"
    example = "~hq '^authorization: bearer'"


class ResponseHeader(HeaderOperator):
    """Headers of the response."""

    __slots__ = ()
    symbols = ("~hs",)
    sides = ("response",)
    help = "a header of the response"
    example = "~hs set-cookie"


class RequestType(PatternOperator):
    """The request's Content-Type."""

    __slots__ = ()
    symbols = ("~tq",)
    help = "the request's Content-Type"
    example = "~tq form"

    def matches(self, exchange: Exchange) -> Verdict:
        """Return whether the type is such."""
        lines = exchange.header_lines("request")
        if lines is None:
            return None
        values = (line.partition(":") for line in lines.split("\n"))
        return any(
            name.strip().lower() == "content-type" and self.pattern.in_text(value.strip()) for name, _, value in values
        )


class AnyType(PatternOperator):
    """The Content-Type of either."""

    __slots__ = ()
    symbols = ("~t",)
    help = "the Content-Type of request or response"
    example = "~t json"

    def matches(self, exchange: Exchange) -> Verdict:
        """Return whether a type is such."""
        if ResponseType(self.pattern).matches(exchange):
            return True
        return RequestType(self.pattern).matches(exchange)


class BodyOperator(PatternOperator):
    """Looks at bodies, content coding removed."""

    __slots__ = ()
    sides: ClassVar[tuple[Side, ...]] = SIDES

    def matches(self, exchange: Exchange) -> Verdict:
        """Return whether a body has it; None where it is not found and a part could not be searched."""
        return _either(exchange.body_has(side, self.pattern) for side in self.sides)


class AnyBody(BodyOperator):
    """Bodies of either."""

    __slots__ = ()
    symbols = ("~b",)
    help = "the body of request or response, decoded"
    example = "~b 'card declined'"


class RequestBody(BodyOperator):
    """The request's body."""

    __slots__ = ()
    symbols = ("~bq",)
    sides = ("request",)
    help = "the body of the request, decoded"
    example = "~bq mutation"


class ResponseBody(BodyOperator):
    """The response's body."""

    __slots__ = ()
    symbols = ("~bs",)
    sides = ("response",)
    help = "the body of the response, decoded"
    example = "~bs token"


@dataclass(frozen=True, slots=True)
class Text(Operator):
    """A text anywhere in URL, headers or bodies; the plain parameter ``text`` asks for it."""

    pattern: Pattern

    def matches(self, exchange: Exchange) -> Verdict:
        """Return whether the exchange has the text."""
        return exchange.has_text(self.pattern)


class WebSocket(Bare):
    """Exchanges that became WebSockets."""

    __slots__ = ()
    symbols = ("~websocket",)
    help = "exchanges that became WebSockets"
    example = "~websocket & ~host chat.example.com"

    def matches(self, exchange: Exchange) -> Verdict:
        """Return whether it became one."""
        if exchange.url[:5].lower().startswith(("ws:", "wss:")):
            return True
        if exchange.status != 101:
            return False
        lines = exchange.header_lines("response")
        return None if lines is None else _UPGRADE.in_text(lines, lines=True)


_UPGRADE: Final = Pattern("^upgrade:.*websocket")


class Client(PatternOperator):
    """The client's address."""

    __slots__ = ()
    symbols = ("~src",)
    help = "the client's address and port"
    example = "~src 127.0.0.1"

    def matches(self, exchange: Exchange) -> Verdict:
        """Return whether the client is such."""
        address = exchange.address("client")
        return None if address is None else self.pattern.in_text(address)


class Server(PatternOperator):
    """The server's address."""

    __slots__ = ()
    symbols = ("~dst",)
    help = "the address and port of the server that it was sent to"
    example = "~dst :8443"

    def matches(self, exchange: Exchange) -> Verdict:
        """Return whether the server is such."""
        address = exchange.address("server")
        return None if address is None else self.pattern.in_text(address)


class FingerprintOperator(PatternOperator):
    """A fingerprint of the TLS handshake."""

    __slots__ = ()
    kind: ClassVar[Fingerprint]

    def matches(self, exchange: Exchange) -> Verdict:
        """Return whether the handshake has such a fingerprint; an exchange without TLS has none."""
        found = exchange.fingerprint(self.kind)
        return found is not None and self.pattern.in_text(found)


class Ja3(FingerprintOperator):
    """The client's JA3."""

    __slots__ = ()
    kind = "ja3"
    symbols = ("~ja3",)
    help = "JA3 of the client's TLS, the MD5"
    example = "~ja3 773906b0efdefa24a7f2b8eb6985bf37"


class Ja4(FingerprintOperator):
    """The client's JA4."""

    __slots__ = ()
    kind = "ja4"
    symbols = ("~ja4",)
    help = "JA4 of the client's TLS"
    example = "~ja4 ^t13d1516h2_"


class Ja3s(FingerprintOperator):
    """The server's JA3S."""

    __slots__ = ()
    kind = "ja3s"
    symbols = ("~ja3s",)
    help = "JA3S of the server's TLS, the MD5"
    example = "~ja3s f4febc55ea12b31ae17cfb7e614afda8"


@dataclass(frozen=True, slots=True)
class Json(Operator):
    """A field of a JSON body."""

    path: tuple[str, ...]
    value: str | None
    symbols = ("~json",)
    takes = "POINTER[=VALUE]"
    help = "a field of a JSON body of request or response: JSON Pointer, `*` for any name or index"
    example = "~json /data/state=confirmed"

    @classmethod
    def read(cls, value: str) -> Operator:
        """Take a JSON Pointer (RFC 6901) and the value that is to stand there; without one any value counts."""
        pointer, equals, wanted = value.partition("=")
        if not pointer.startswith("/"):
            raise ValueError("a JSON Pointer begins with a slash, such as /data/state=confirmed")
        steps = [step.replace("~1", "/").replace("~0", "~") for step in pointer[1:].split("/")]
        return cls(tuple(steps), wanted if equals else None)

    def matches(self, exchange: Exchange) -> Verdict:
        """Return whether a body has such a field."""
        return _either(self._in(exchange, side) for side in SIDES)

    def _in(self, exchange: Exchange, side: Side) -> Verdict:
        data = exchange.whole_body(side, _JSON_MOST)
        if data is None:
            return None
        if data.lstrip()[:1] not in {b"{", b"["}:
            return False
        try:
            document = json.loads(data)
        except (ValueError, RecursionError):
            return False
        return any(self._is(found) for found in _below(document, self.path))

    def _is(self, found: Any) -> bool:
        if self.value is None:
            return True
        if isinstance(found, str):
            return found == self.value
        try:
            return bool(json.loads(self.value) == found) and isinstance(found, bool) == (
                self.value in {"true", "false"}
            )
        except (ValueError, RecursionError):
            return False


def _below(document: Any, path: Sequence[str]) -> Iterator[Any]:
    """Yield the values at a path, ``_VALUES`` at most."""
    found = [document]
    for step in path:
        following: list[Any] = []
        for value in found:
            if isinstance(value, dict):
                following.extend(value.values() if step == "*" else [value[step]] if step in value else [])
            elif isinstance(value, list):
                if step == "*":
                    following.extend(value)
                elif step.isascii() and step.isdigit() and len(step) < 10 and int(step) < len(value):
                    following.append(value[int(step)])
        found = following[:_VALUES]
    yield from found
