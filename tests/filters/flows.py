"""Exchanges in memory for the tests of filters: the port's other implementation beside the recorded one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from wiretape.filters.exchange import SIDES, Fingerprint, Side, Verdict
from wiretape.filters.patterns import Pattern


@dataclass(frozen=True, kw_only=True)
class Flow:
    """An exchange in memory; its request is POST http://address:22/path of mitmproxy's tests."""

    seq: int = 7
    timestamp: int = 1_800_000_000_000
    method: str = "GET"
    host: str = "address"
    url: str = "http://address:22/path"
    status: int | None = None
    state: str = "complete"
    damaged: bool = False
    failure: str | None = None
    milliseconds: float | None = 12.5
    source: str = "explicit"
    request_headers: tuple[tuple[str, str], ...] = (("header", "qvalue"), ("content-length", "7"))
    response_headers: tuple[tuple[str, str], ...] = (("header-response", "svalue"), ("content-length", "7"))
    request: bytes = b"content"
    response: bytes = b"message"
    cut: bool = False
    says: Verdict = False
    prints: tuple[str | None, str | None, str | None] = (None, None, None)
    acted: tuple[str, ...] = ()

    @property
    def response_type(self) -> str | None:
        """The response's Content-Type."""
        if self.status is None:
            return None
        return next((value for name, value in self.response_headers if name.lower() == "content-type"), None)

    def size(self, side: Side) -> int:
        """Return a body's size."""
        return len(self.request if side == "request" else self._answer())

    def _answer(self) -> bytes:
        return b"" if self.status is None else self.response

    def header_lines(self, side: Side) -> str | None:
        """Return the fields, a line each."""
        if side == "response" and self.status is None:
            return ""
        fields = self.request_headers if side == "request" else self.response_headers
        return "\n".join(f"{name}: {value}" for name, value in fields)

    def _body(self, side: Side) -> bytes:
        return self.request if side == "request" else self._answer()

    def body_has(self, side: Side, pattern: Pattern) -> Verdict:
        """Return whether a body has a pattern."""
        return True if pattern.in_bytes(self._body(side)) else None if self.cut else False

    def whole_body(self, side: Side, most: int) -> bytes | None:
        """Return the body unless a part is missing."""
        return None if self.cut or len(self._body(side)) > most else self._body(side)

    def has_text(self, pattern: Pattern) -> Verdict:
        """Return whether the text is anywhere."""
        heads = [self.header_lines(side) or "" for side in SIDES]
        return any(pattern.in_text(text) for text in (self.url, *heads)) or any(
            pattern.in_bytes(self._body(side)) for side in SIDES
        )

    @property
    def rules(self) -> tuple[str, ...]:
        """Return the rules that acted."""
        return self.acted

    @property
    def changed(self) -> bool:
        """Return whether one changed something."""
        return bool(self.acted)

    def address(self, end: Literal["client", "server"]) -> str | None:
        """Return the address of an end."""
        return "127.0.0.1:22" if end == "client" else "address:22"

    def fingerprint(self, kind: Fingerprint) -> str | None:
        """Return JA3, JA4 or JA3S."""
        return dict(zip(("ja3", "ja4", "ja3s"), self.prints, strict=True))[kind]

    def says_error(self) -> Verdict:
        """Return what the test says."""
        return self.says


def request(**changes: object) -> Flow:
    """Make a request without a response."""
    return Flow(**changes)  # type: ignore[arg-type]


def response(**changes: object) -> Flow:
    """Make a request with its response."""
    return Flow(**{"status": 200, **changes})  # type: ignore[arg-type]
