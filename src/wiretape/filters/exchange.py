"""What a filter asks of an exchange. Nothing is read before it is asked for."""

from __future__ import annotations

from typing import Literal, Protocol

from wiretape.filters.patterns import Pattern

Side = Literal["request", "response"]
SIDES: tuple[Side, Side] = ("request", "response")

Fingerprint = Literal["ja3", "ja4", "ja3s"]

Verdict = bool | None
"""Whether an exchange is meant; None where what is recorded does not decide it."""


class Exchange(Protocol):
    """One exchange, as filters see it. ``host`` and ``url`` are those of the request that the client sent."""

    @property
    def seq(self) -> int: ...
    @property
    def timestamp(self) -> int:
        """When it began, in milliseconds since the epoch."""
        ...

    @property
    def method(self) -> str: ...
    @property
    def host(self) -> str:
        """The host in lower case, without a port."""
        ...

    @property
    def url(self) -> str: ...
    @property
    def status(self) -> int | None:
        """The response's status, None where there is no response."""
        ...

    @property
    def state(self) -> str:
        """One of ``model.State``."""
        ...

    @property
    def damaged(self) -> bool: ...
    @property
    def failure(self) -> str | None:
        """What went wrong, where something did."""
        ...

    @property
    def milliseconds(self) -> float | None:
        """How long it took, None while it runs and where its end is not recorded."""
        ...

    @property
    def source(self) -> str:
        """The way the client came: ``explicit``, ``connect``, ``transparent``, ``import`` ..."""
        ...

    @property
    def rules(self) -> tuple[str, ...]:
        """The ids of the rules that acted on it."""
        ...

    @property
    def changed(self) -> bool:
        """Whether a rule changed the request or the response."""
        ...

    @property
    def response_type(self) -> str | None:
        """The response's Content-Type."""
        ...

    def size(self, side: Side) -> int:
        """Return the bytes of a body on the wire."""
        ...

    def header_lines(self, side: Side) -> str | None:
        """Return the fields of a head and of its trailers, ``name: value`` each on a line of its own.

        Empty where there is no such message; None where it is lost.
        """
        ...

    def body_has(self, side: Side, pattern: Pattern) -> Verdict:
        """Return whether a decoded body has a pattern; None where it does not as far as it could be searched."""
        ...

    def whole_body(self, side: Side, most: int) -> bytes | None:
        """Return all of a body, content coding removed; None where it is larger than ``most`` or not there whole."""
        ...

    def has_text(self, pattern: Pattern) -> Verdict:
        """Return whether URL, heads or bodies have a literal text."""
        ...

    def address(self, end: Literal["client", "server"]) -> str | None:
        """Return ``host:port`` of the client, or of the server it was sent to; empty where there was none."""
        ...

    def fingerprint(self, kind: Fingerprint) -> str | None:
        """Return a fingerprint of its TLS: JA3 and JA4 of the client, JA3S of the server; None where there is none."""
        ...

    def says_error(self) -> Verdict:
        """Return whether a successful response is an error all the same: GraphQL errors, a gRPC status ..."""
        ...
