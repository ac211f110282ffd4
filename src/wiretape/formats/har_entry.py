"""One exchange as an entry of HAR 1.2 (http://www.softwareishard.com/blog/har-12-spec/).

Headers are those of the wire, in their order and with their case. Bodies stand in it with their content encoding
removed, as HAR has it: ``bodySize`` is what they took on the wire, ``content.size`` what they are, ``compression`` the
difference. What HAR has no place for has a name with an underscore.
"""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final
from urllib.parse import unquote_plus

from wiretape.formats.har import NO_RESPONSE
from wiretape.model import ExchangeDetail, Message, RuleActed

_MAX_PARAMETERS: Final = 10_000
_LONGEST_TYPE: Final = 1_000
_IMPORTED: Final = "x-imported-"
"""What an import puts before the name of a header that is not true of the body as it is stored."""
_COOKIE_FLAGS: Final = {"httponly": "httpOnly", "secure": "secure"}
_KINDS: Final = (
    ("_document", re.compile(r"text/html|application/xhtml")),
    ("_stylesheet", re.compile(r"text/css")),
    ("_script", re.compile(r"javascript|ecmascript")),
    ("_image", re.compile(r"image/")),
    ("_font", re.compile(r"font|woff")),
    ("_media", re.compile(r"audio/|video/")),
    ("_eventsource", re.compile(r"text/event-stream")),
    ("_fetch", re.compile(r"json|xml|graphql|protobuf|grpc")),
)


def har_entry(
    exchange: ExchangeDetail, *, bodies: bool = True, messages: list[dict[str, Any]] | None = None
) -> dict[str, Any]:
    """Return an exchange as an entry.

    Args:
        exchange: with its bodies.
        bodies: give them; without, their sizes alone.
        messages: those of a WebSocket, as Chrome's ``_webSocketMessages`` has them.
    """
    request, response = exchange.request, exchange.response
    timings, total = _timings(exchange)
    known = _known(response) if response is not None else {}
    entry: dict[str, Any] = {
        "startedDateTime": _time(exchange.timestamp),
        "time": total,
        "request": _request(request, bodies=bodies) if request is not None else _no_request(),
        "response": _response(response, exchange, known, bodies=bodies)
        if response is not None
        else _no_response(exchange),
        "cache": {},
        "timings": timings,
        "_seq": exchange.seq,
        "_state": exchange.state,
        "_resourceType": _resource_type(response, known),
    }
    host = _host_of(exchange.server)
    if host:
        entry["serverIPAddress"] = host
    if isinstance(exchange.connections, dict) and "server" in exchange.connections:
        entry["connection"] = str(exchange.connections["server"]["id"])
    if messages:
        entry["_webSocketMessages"] = messages
    if isinstance(exchange.sent_request, Message):
        entry["_sentRequest"] = _request(exchange.sent_request, bodies=bodies)
    if isinstance(exchange.received_response, Message):
        received = exchange.received_response
        entry["_receivedResponse"] = _response(received, exchange, _known(received), bodies=bodies)
    if exchange.rules:
        entry["_rules"] = [{"id": rule.id, "stage": rule.stage, **_said(rule)} for rule in exchange.rules]
    if exchange.notes:
        entry["comment"] = " ".join(exchange.notes)
    return entry


def _said(rule: RuleActed) -> dict[str, str]:
    said = {"description": rule.description, "note": rule.note}
    return {name: text for name, text in said.items() if isinstance(text, str)}


def _time(milliseconds: int) -> str:
    text = datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def _timings(exchange: ExchangeDetail) -> tuple[dict[str, float], float]:
    """Return the parts and their sum: ``connect`` includes ``ssl`` in HAR, what is of no part is ``blocked``."""
    took = exchange.timings
    connect = None if took.connect is None and took.tls is None else (took.connect or 0) + (took.tls or 0)
    parts = {"dns": took.dns, "connect": connect, "send": took.send, "wait": took.wait, "receive": took.receive}
    known = sum(part or 0 for part in parts.values())
    total = round(max(took.total or 0, known), 3)
    timings: dict[str, float] = {name: -1 if part is None else round(part, 3) for name, part in parts.items()}
    timings["ssl"] = -1 if took.tls is None else took.tls
    for name in ("send", "wait", "receive"):  # these three are never left out
        timings[name] = max(timings[name], 0)
    timings["blocked"] = round(total - known, 3)
    return timings, total


def _headers(message: Message) -> list[dict[str, str]]:
    return [
        {
            "name": name[len(_IMPORTED) :] if name[:1] in "xX" and name.lower().startswith(_IMPORTED) else name,
            "value": value,
        }
        for name, value in message.headers
    ]


def _known(message: Message) -> dict[str, str]:
    """Return the first value of each header by its name in lower case."""
    found: dict[str, str] = {}
    for name, value in message.headers:
        found.setdefault(name.lower(), value)
    return found


def _request(message: Message, *, bodies: bool) -> dict[str, Any]:
    known = _known(message)
    url = message.url or ""
    found: dict[str, Any] = {
        "method": message.method or "",
        "url": url,
        "httpVersion": message.http_version,
        "cookies": _sent_cookies(message) if "cookie" in known else [],
        "headers": _headers(message),
        "queryString": _query(url),
        "headersSize": -1,
        "bodySize": message.body_size,
    }
    if message.body is not None or message.body_base64 is not None or message.body_size:
        found["postData"] = _posted(message, known, bodies=bodies)
    return found


def _posted(message: Message, known: dict[str, str], *, bodies: bool) -> dict[str, Any]:
    kind = known.get("content-type", "")
    found: dict[str, Any] = {"mimeType": kind, "text": ""}
    if bodies and message.body is not None:
        found["text"] = message.body
        if "x-www-form-urlencoded" in kind.lower():
            found["params"] = [{"name": name, "value": value} for name, value in _pairs(message.body)]
    elif bodies and message.body_base64 is not None:
        # HAR has no encoding for what is sent; this is how mitmproxy and our import know it.
        found.update(text=message.body_base64, _encoding="base64")
    return _commented(found, message, bodies=bodies)


def _response(message: Message, exchange: ExchangeDetail, known: dict[str, str], *, bodies: bool) -> dict[str, Any]:
    found: dict[str, Any] = {
        "status": message.status_code or 0,
        "statusText": message.status_message or "",
        "httpVersion": message.http_version,
        "cookies": _set_cookies(message) if "set-cookie" in known else [],
        "headers": _headers(message),
        "content": _content(message, known, bodies=bodies),
        "redirectURL": known.get("location", ""),
        "headersSize": -1,
        "bodySize": message.body_size,
    }
    if exchange.error:
        found["_error"] = _error(exchange)
    return found


def _content(message: Message, known: dict[str, str], *, bodies: bool) -> dict[str, Any]:
    found: dict[str, Any] = {"size": message.body_size, "mimeType": known.get("content-type", "")}
    if message.body is not None:
        size = len(message.body.encode("utf-8", "surrogatepass"))
        if bodies:
            found["text"] = message.body
    elif message.body_base64 is not None:
        size = len(message.body_base64) * 3 // 4 - message.body_base64[-2:].count("=")
        if bodies:
            found.update(text=message.body_base64, encoding="base64")
    else:
        return _commented(found, message, bodies=bodies)
    if any(name.endswith("content-encoding") for name in known) and _is_coded(message):
        found["compression"] = size - message.body_size
        found["size"] = size
    elif not message.body_truncated and (message.body is None or _is_utf8(known)):
        found["size"] = size
    return _commented(found, message, bodies=bodies)


def _is_coded(message: Message) -> bool:
    return any(name.lower().endswith("content-encoding") and value.strip() for name, value in message.headers)


def _is_utf8(known: dict[str, str]) -> bool:
    kind = known.get("content-type", "").lower()
    return "charset" not in kind or "utf-8" in kind


def _commented(found: dict[str, Any], message: Message, *, bodies: bool) -> dict[str, Any]:
    """Say what is not there of a body."""
    if not bodies and message.body_size:
        found["comment"] = "Bodies were left out of this export."
    elif message.body_note or message.body_truncated:
        found["comment"] = message.body_note or f"Only {message.body_recorded} of {message.body_size} bytes are there."
    return found


def _no_request() -> dict[str, Any]:
    return {
        "method": "GET", "url": "", "httpVersion": "", "cookies": [], "headers": [], "queryString": [],
        "headersSize": -1, "bodySize": -1, "comment": "The request is lost to damage.",
    }  # fmt: skip


def _no_response(exchange: ExchangeDetail) -> dict[str, Any]:
    return {
        "status": 0, "statusText": "", "httpVersion": "", "cookies": [], "headers": [],
        "content": {"size": 0, "mimeType": ""}, "redirectURL": "", "headersSize": -1, "bodySize": -1,
        "_error": _error(exchange),
    }  # fmt: skip


def _error(exchange: ExchangeDetail) -> str:
    said = (exchange.error or {}).get("message") or exchange.state
    while said.startswith(NO_RESPONSE):
        said = said[len(NO_RESPONSE) :].removeprefix(": ")
    return said


def _query(url: str) -> list[dict[str, str]]:
    query = url.partition("#")[0].partition("?")[2]
    return [{"name": name, "value": value} for name, value in _pairs(query)] if query else []


def _pairs(text: str) -> list[tuple[str, str]]:
    parts = text.split("&", _MAX_PARAMETERS)[:_MAX_PARAMETERS] if text else []
    pairs = (part.partition("=") for part in parts if part)
    if "%" in text or "+" in text:
        return [(unquote_plus(name), unquote_plus(value)) for name, _, value in pairs]
    return [(name, value) for name, _, value in pairs]


def _sent_cookies(message: Message) -> list[dict[str, Any]]:
    pieces = [part for name, value in message.headers if name.lower() == "cookie" for part in value.split(";")]
    pairs = (piece.strip().partition("=") for piece in pieces if piece.strip())
    return [{"name": name, "value": value} for name, _, value in pairs]


def _set_cookies(message: Message) -> list[dict[str, Any]]:
    return [_set_cookie(value) for name, value in message.headers if name.lower() == "set-cookie"]


def _set_cookie(line: str) -> dict[str, Any]:
    pair, *attributes = line.split(";")
    name, _, value = pair.strip().partition("=")
    found: dict[str, Any] = {"name": name, "value": value}
    for attribute in attributes:
        key, _, content = attribute.strip().partition("=")
        lower = key.lower()
        if lower in _COOKIE_FLAGS:
            found[_COOKIE_FLAGS[lower]] = True
        elif lower in {"path", "domain"}:
            found[lower] = content
        elif lower == "expires" and (moment := _date(content)):
            found["expires"] = moment
        elif lower == "samesite":
            found["sameSite"] = content
    return found


def _date(text: str) -> str | None:
    from email.utils import parsedate_to_datetime  # noqa: PLC0415

    try:
        return parsedate_to_datetime(text).astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except (ValueError, TypeError, OverflowError):
        return None


def _host_of(server: str | None) -> str:
    """Return the address of ``address:port`` without brackets."""
    if not server:
        return ""
    host, colon, port = server.rpartition(":")
    if not colon or not port.isdigit() or (":" in host and not host.startswith("[")):
        return server.strip("[]")
    return host.strip("[]")


def _resource_type(response: Message | None, known: dict[str, str]) -> str:
    if response is None:
        return "other"
    if response.status_code == 101:
        return "websocket"
    return _kind(known.get("content-type", "")[:_LONGEST_TYPE])


@lru_cache(maxsize=256)
def _kind(content_type: str) -> str:
    content_type = content_type.lower()
    return next((name[1:] for name, pattern in _KINDS if pattern.search(content_type)), "other")


def body_bytes(message: Message) -> bytes:
    """Return a body's bytes as an entry has them."""
    if message.body is not None:
        return message.body.encode("utf-8", "surrogatepass")
    return base64.b64decode(message.body_base64) if message.body_base64 is not None else b""
