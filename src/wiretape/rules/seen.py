"""An exchange as matchers see it: live, as far as it has come, or recorded.

Implements ``filters.exchange.Exchange``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from wiretape.filters.exchange import Fingerprint, Side, Verdict
from wiretape.filters.patterns import Pattern
from wiretape.heads import content_type, field_values, fields
from wiretape.rules.url import host_of, path_of

Coming = Literal["request body", "response", "response body"]
"""What of an exchange may still come; a matcher that asked for it is asked again."""


@dataclass(frozen=True, slots=True)
class SeenBody:
    """A decoded body.

    Attributes:
        data: UTF-8 where its charset is known; None where it is not there.
        reason: why it is not there, in words.
        coming: it may be there later.
    """

    data: bytes | None = b""
    reason: str = ""
    coming: bool = False


NO_BODY = SeenBody()
"""That of a message that has none."""


@dataclass(eq=False)
class Seen:
    """One exchange.

    Attributes:
        method: the method.
        url: absolute, as ``url.plain_url`` has it.
        request_head, response_head: raw heads; the latter None where there is no response.
        body_of: gives the decoded body of a side.
        response_status: the response's status; None where there is no response.
        response_coming: there is none yet.
        client, server: addresses, ``host:port``; the latter empty where none was reached.
        hostname, path_and_query: where they are others than the URL's.
        lacks: what was asked for and may still come.
        reasons: why something could not be decided.
    """

    method: str
    url: str
    request_head: bytes
    body_of: Callable[[Side], SeenBody]
    response_head: bytes | None = None
    response_status: int | None = None
    response_coming: bool = False
    client: str = ""
    server: str = ""
    source: str = "explicit"
    seq: int = 0
    timestamp: int = 0
    state: str = "inFlight"
    damaged: bool = False
    failure: str | None = None
    milliseconds: float | None = None
    rules: tuple[str, ...] = ()
    changed: bool = False
    hostname: str | None = None
    path_and_query: str | None = None
    lacks: set[Coming] = field(default_factory=set)
    reasons: list[str] = field(default_factory=list)

    @cached_property
    def host(self) -> str:
        """The host in lower case, without brackets and port."""
        return host_of(self.url) if self.hostname is None else self.hostname.lower()

    @cached_property
    def path(self) -> str:
        """Path and query."""
        return path_of(self.url) if self.path_and_query is None else self.path_and_query

    @cached_property
    def request_fields(self) -> list[tuple[str, str]]:
        """The request's fields."""
        return fields(self.request_head)

    def request_values(self, name: str) -> list[str]:
        """Return the values of a field of the request."""
        return field_values(self.request_fields, name.lower())

    @property
    def status(self) -> int | None:
        """The response's status; None where there is no response."""
        self._asked("response", self.response_coming)
        return self.response_status

    @property
    def response_type(self) -> str | None:
        """The response's Content-Type."""
        if self.response_head is None:
            self._asked("response", self.response_coming)
            return None
        return content_type(self.response_head)

    def size(self, side: Side) -> int:
        """Return the bytes of a body, as far as they are there."""
        body = self._body(side)
        return 0 if body.data is None else len(body.data)

    def header_lines(self, side: Side) -> str | None:
        """Return the fields of a head, a line each."""
        head = self.request_head if side == "request" else self.response_head
        if head is None:
            if self._asked("response", self.response_coming):
                return None
            return ""
        found = self.request_fields if side == "request" else fields(head)
        return "".join(f"{name}: {value}\n" for name, value in found)

    def body_has(self, side: Side, pattern: Pattern) -> Verdict:
        """Return whether a decoded body has a pattern."""
        body = self._body(side)
        return None if body.data is None else pattern.in_bytes(body.data)

    def whole_body(self, side: Side, most: int) -> bytes | None:
        """Return all of a body; None where it is larger or not there."""
        data = self._body(side).data
        return None if data is None or len(data) > most else data

    def has_text(self, pattern: Pattern) -> Verdict:
        """Return whether URL, heads or bodies have a literal text."""
        if pattern.in_text(self.url):
            return True
        undecided = False
        for side in ("request", "response"):
            lines = self.header_lines(side)
            verdict: Verdict = None if lines is None else pattern.in_text(lines, lines=True)
            verdict = verdict or self.body_has(side, pattern)
            if verdict:
                return True
            undecided |= verdict is None
        return None if undecided else False

    def address(self, end: Literal["client", "server"]) -> str | None:
        """Return an address."""
        return self.client if end == "client" else self.server

    def fingerprint(self, kind: Fingerprint) -> str | None:  # noqa: ARG002 - rules that ask for one are refused
        """Return that there is none."""
        return None

    def says_error(self) -> Verdict:
        """Return that it is not known: whoever answers that has the whole response."""
        return None

    def _body(self, side: Side) -> SeenBody:
        if side == "response" and self.response_head is None:
            coming = self._asked("response", self.response_coming)
            return SeenBody(None, "there is no response yet", coming=True) if coming else NO_BODY
        body = self.body_of(side)
        if body.data is None:
            self._asked("request body" if side == "request" else "response body", body.coming)
            if body.reason and body.reason not in self.reasons:
                self.reasons.append(body.reason)
        return body

    def request_body(self) -> SeenBody:
        """Return the request's body."""
        return self._body("request")

    def _asked(self, what: Coming, coming: bool) -> bool:
        if coming:
            self.lacks.add(what)
        return coming
