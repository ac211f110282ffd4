"""A session as lines of JSON that every peer can be fed with."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from wiretape.model import ExchangeDetail
from wiretape.session.session import Session


def write_flat(session: Session, path: Path) -> int:
    """Write a line for each exchange of a session; return how many there are."""
    encode, count = msgspec.json.Encoder().encode, 0
    with path.open("wb") as file:
        for exchange in session.iterate():
            file.write(encode(_flat(exchange)) + b"\n")
            count += 1
    return count


def _flat(exchange: ExchangeDetail) -> dict[str, Any]:
    request, response = exchange.request, exchange.response
    assert request is not None
    url = request.url or ""
    parts = urlsplit(url)
    return {
        "seq": exchange.seq,
        "timestamp": exchange.timestamp,
        "method": request.method,
        "scheme": parts.scheme,
        "host": parts.hostname,
        "port": parts.port or (443 if parts.scheme == "https" else 80),
        "path": parts.path + (f"?{parts.query}" if parts.query else ""),
        "url": url,
        "status": response.status_code if response is not None else None,
        "duration": exchange.timings.total,
        "requestHeaders": request.headers,
        "requestBody": request.body or "",
        "responseHeaders": response.headers if response is not None else [],
        "responseBody": (response.body or "") if response is not None else "",
    }
