"""What speaks for a cause besides the body of an answer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urljoin

from wiretape.heads import field_values
from wiretape.model import ExchangeDetail, Message
from wiretape.session.session import Session
from wiretape.views.jwt import claims_of

_LOOP: Final = 4
"""Redirects of one URL within two hundred exchanges that are called a loop."""
_TOKEN: Final = re.compile(r"Bearer +(eyJ[A-Za-z0-9_-]+\.eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*)", re.IGNORECASE)


def signs(session: Session, detail: ExchangeDetail) -> Iterator[str]:
    """Yield sentences about what speaks for a cause: TLS, Retry-After, an expired token, CORS, redirects that loop."""
    request, response = detail.request, detail.response
    if detail.tls is not None:
        for side, seen in detail.tls.items():
            if isinstance(seen, dict) and "error" in seen:
                yield f"TLS to the {side} failed: {seen['error']['message'] or seen['error']['code']}"
    if response is None:
        return
    status = response.status_code or 0
    for value in field_values(response.headers, "retry-after")[:1]:
        yield f"Retry-After: {value[:100]}"
    if request is None:
        return
    if status in {401, 403}:
        yield from _expired(detail, request)
    yield from _cors(request, response)
    if 300 <= status < 400 and status != 304:
        yield from _loop(session, detail, request, response)


def _expired(detail: ExchangeDetail, request: Message) -> Iterator[str]:
    for value in field_values(request.headers, "authorization"):
        found = _TOKEN.match(value)
        claims = claims_of(found[1]) if found is not None else None
        if claims is None:
            continue
        for name, word in (("exp", "expired at"), ("nbf", "was not valid before")):
            at = claims.get(name)
            if not isinstance(at, (int, float)) or isinstance(at, bool) or not 0 < at < 1e11:
                continue
            seconds = detail.timestamp / 1000 - at
            if (seconds > 0) == (name == "exp"):
                moment = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
                yield f"The bearer token {word} {moment}, {abs(seconds):.0f} s away."
    if not field_values(request.headers, "authorization") and not field_values(request.headers, "cookie"):
        yield "The request has neither Authorization nor Cookie."


def _cors(request: Message, response: Message) -> Iterator[str]:
    """Compare what a browser asked for with what it was allowed (https://fetch.spec.whatwg.org/#http-cors-protocol)."""
    origin = next(iter(field_values(request.headers, "origin")), "")
    preflight = request.method == "OPTIONS" and bool(field_values(request.headers, "access-control-request-method"))
    mode = next(iter(field_values(request.headers, "sec-fetch-mode")), "cors" if preflight else "")
    if not origin or mode != "cors":
        return
    allowed = next(iter(field_values(response.headers, "access-control-allow-origin")), "")
    if not allowed:
        yield f"CORS: Origin {origin[:200]} was sent, and there is no Access-Control-Allow-Origin."
    elif allowed not in {"*", origin}:
        yield f"CORS: Origin is {origin[:200]}, allowed is {allowed[:200]}."
    if not preflight:
        return
    asked = next(iter(field_values(request.headers, "access-control-request-method")), "").strip().upper()
    methods = _words(response, "access-control-allow-methods")
    if asked not in {"GET", "HEAD", "POST"} and not {"*", asked.lower()} & methods:
        yield f"CORS: {asked[:20]} is not among the methods allowed."
    wanted = _words(request, "access-control-request-headers") - _words(response, "access-control-allow-headers")
    if wanted and "*" not in _words(response, "access-control-allow-headers"):
        yield f"CORS: not allowed are the headers {', '.join(sorted(wanted))[:200]}."


def _words(message: Message, name: str) -> set[str]:
    return {
        word.strip().lower()
        for value in field_values(message.headers, name)
        for word in value.split(",")
        if word.strip()
    }


def _loop(session: Session, detail: ExchangeDetail, request: Message, response: Message) -> Iterator[str]:
    location = next(iter(field_values(response.headers, "location")), "")
    url = request.url or ""
    if not location:
        yield f"{response.status_code} without a Location"
        return
    target = urljoin(url, location).split("#", 1)[0]
    times = session.index.one(
        "SELECT count(*) FROM exchanges WHERE seq BETWEEN ? AND ? AND url = ? AND status BETWEEN 300 AND 399",
        (detail.seq - 100, detail.seq + 100, url),
    )
    count = times[0] if times is not None else 0
    if target == url:
        yield "It redirects to itself."
    elif count >= _LOOP:
        yield f"Redirect loop: this URL was answered with a redirect {count} times around here."
