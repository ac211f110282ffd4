"""HAR 1.2, as browsers and proxies write it: one object of JSON with a list of entries, an exchange in each.

It is a report about exchanges, not a copy of them: bodies stand in it with their content encoding removed, texts as
characters. Where the sizes in it tell which bytes a text was, those are taken.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, BinaryIO, Final
from urllib.parse import quote_plus

from wiretape.formats.foreign import Body, ForeignExchange, ForeignFrame, ForeignMessage, LeftOut, Timings, Unreadable
from wiretape.formats.har_scan import Entry, Scanner
from wiretape.formats.har_text import Texts, base64_body, text_body
from wiretape.formats.values import (
    MAX_TEXT,
    characters,
    in_line,
    milliseconds,
    number,
    pairs,
    scalar,
    status_code,
    token,
)

BEGINNING: Final = 64 * 1024
"""Bytes in which a file shows that it is a HAR."""
_MARKS: Final = re.compile(rb'"(?:log|entries|startedDateTime)"\s*:')
_MAX_OPCODE: Final = 15
_SHORT: Final = 16 * 1024
"""Characters of a text that is taken as it is where there is nothing in it to be looked at."""
_CODING: Final = len("content-encoding")
_HEADERS: Final = 2_000
_REMEMBERED: Final = 500
"""Headers that are remembered, and characters of one at most: nearly all come again and again."""
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"})
_NO_TRAFFIC: Final = re.compile(
    r"\s*(?:data|blob|about|file|filesystem|javascript|view-source|devtools|chrome|(?:chrome|moz|safari-web)-extension):",
    re.IGNORECASE,
)
_VERSION: Final = re.compile(r"(?:HTTP/|H)(?:(1\.0)|([23])(?:\.0)?)", re.IGNORECASE)
_CHARSET: Final = re.compile(r"charset\s*=\s*[\"']?([A-Za-z0-9_-]{1,40})", re.IGNORECASE)
_MAGIC: Final = {"gzip": b"\x1f\x8b", "x-gzip": b"\x1f\x8b", "zstd": b"\x28\xb5\x2f\xfd"}
_CACHED: Final = LeftOut("bodies of answers without one (304), which a browser took from its cache", 1)
NO_RESPONSE: Final = "the recording it was imported from has no response"


def is_har(beginning: bytes) -> bool:
    """Tell from the first ``BEGINNING`` bytes of a file whether it is a HAR."""
    return _MARKS.search(beginning) is not None and beginning.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in {b"{", b"["}


def read_har(file: BinaryIO) -> Iterator[ForeignExchange | Unreadable | LeftOut]:
    """Yield what a HAR holds, in its order, an entry at a time; nothing that has the length of the file is held.

    Raises:
        OSError: it cannot be read.
    """
    scanner = Scanner(file)
    plain: set[tuple[str, str]] = set()
    position = 0
    for entry in scanner.items():
        if isinstance(entry, Unreadable):
            yield entry
            continue
        position += 1
        try:
            yield from _Reader(entry, scanner.texts, plain).read(position)
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
            yield Unreadable(offset=entry.offset, length=entry.length, reason="no exchange that can be read")


class _Reader:
    """Takes one entry apart. What is not as it should be raises one of the errors that ``read_har`` knows."""

    def __init__(self, entry: Entry, texts: Texts, plain: set[tuple[str, str]]) -> None:
        """Take an entry; ``plain`` are headers that earlier ones had, and that are what they are."""
        self._entry = entry.value
        self._plain_headers = plain
        self._texts = texts
        self._harmed = [] if entry.sound else ["a part of it is not UTF-8"]

    def read(self, position: int) -> Iterator[ForeignExchange | LeftOut]:
        """Yield the exchange and what of it is left out."""
        request = _object(self._entry["request"])
        if _NO_TRAFFIC.match(next(self._texts.pieces(request["url"]))):
            yield LeftOut("entries were no traffic (data:, blob: and the like)", 1, exchange=True)
            return
        response = _object(self._entry.get("response"))
        status = self._status(response)
        wall, duration, timings = self._times()
        sent = self._message(request, *self._sent_body(request))
        answer = self._message(response, *self._answer_body(response, status)) if status is not None else None
        messages, unread = self._messages(wall)
        yield ForeignExchange(
            number=position,
            ident="",
            wall_ms=wall,
            duration_ms=duration,
            method=_method(token(request["method"])),
            url=in_line(self._plain(request["url"])).strip(" \t"),
            request=sent,
            status=status,
            reason=self._text(response.get("statusText")),
            response=answer,
            harmed="; ".join(self._harmed),
            timings=timings,
            server=self._text(self._entry.get("serverIPAddress"))[:100],
            error=self._error(response),
            messages=messages,
        )
        if status == 304 and _object(response.get("content")).get("text"):
            yield _CACHED
        if unread:
            yield LeftOut("messages of WebSockets could not be read", unread)

    def _messages(self, wall: int | None) -> tuple[tuple[ForeignFrame, ...], int]:
        """Return the messages of a WebSocket as Chrome and mitmproxy write them, and how many are none."""
        listed = self._entry.get("_webSocketMessages")
        found: list[ForeignFrame] = []
        if not isinstance(listed, list):
            return (), 0
        for one in listed:
            try:
                found.append(self._frame(_object(one), wall))
            except (ValueError, KeyError, TypeError, OverflowError):
                continue
        return tuple(found), len(listed) - len(found)

    def _frame(self, one: dict[str, Any], wall: int | None) -> ForeignFrame:
        kind, data = one["type"], one["data"]
        opcode = number(one.get("opcode", 1))
        if kind not in {"send", "receive"} or not isinstance(data, str) or opcode > _MAX_OPCODE:
            raise ValueError("no message")
        body = text_body(self._texts, data, "utf-8", frozenset()) if opcode == 1 else base64_body(self._texts, data)
        if body is None:
            raise ValueError("no text")
        at = milliseconds(one.get("time"))
        elapsed = max(at * 1000 - wall, 0.0) if at is not None and wall is not None else 0.0
        return ForeignFrame(from_server=kind == "receive", at_ms=min(elapsed, 1e12), opcode=opcode, body=body)

    def _plain(self, value: Any) -> str:
        """Return a text that is short enough to be held, as it is."""
        text = scalar(value)
        if not isinstance(text, str) or len(text) > MAX_TEXT or self._texts.holds(text):
            raise ValueError("no text")
        return text

    def _text(self, value: Any) -> str:
        """Return a text that can stand in a line of a head: captured content never becomes framing."""
        plain = isinstance(value, str) and value.isascii() and value.isprintable() and len(value) <= _SHORT
        if plain and not self._texts.holds(value):
            return str(value)  # nearly all of them
        return in_line(characters(self._plain(value)))

    def _status(self, response: dict[str, Any]) -> int | None:
        try:
            return status_code(response.get("status"))
        except ValueError:
            self._harmed.append("its status is none")
            return None

    def _error(self, response: dict[str, Any]) -> str:
        for said in (response.get("_error"), self._entry.get("_error"), response.get("statusText")):
            if isinstance(said, str) and said:
                return f"{NO_RESPONSE}: {self._text(said)[:500]}"
        return NO_RESPONSE

    def _times(self) -> tuple[int | None, float | None, Timings]:
        try:
            began = datetime.fromisoformat(str(self._entry.get("startedDateTime")).strip())
            began = began if began.tzinfo else began.replace(tzinfo=UTC)
            wall = milliseconds(began.timestamp() * 1000)
        except (ValueError, OverflowError):
            wall = None
        if wall is None:
            self._harmed.append("its times are none")
        parts = _object(self._entry.get("timings"))
        blocked, dns, connect, tls, send, wait, receive = (
            milliseconds(parts.get(name)) for name in ("blocked", "dns", "connect", "ssl", "send", "wait", "receive")
        )
        total = sum(part or 0 for part in (blocked, dns, connect, send, wait, receive))
        duration = milliseconds(self._entry.get("time"))
        if duration is None:
            duration = milliseconds(total) if parts else None
        # The specification has the handshake in "connect"; mitmproxy has it beside it, as the sum shows.
        if connect and tls and abs(total - (duration or 0)) <= abs(total + tls - (duration or 0)):
            connect = max(connect - tls, 0)
        timings = Timings(dns=dns, connect=connect, tls=tls, send=send, wait=wait, receive=receive)
        return None if wall is None else int(wall), duration, timings

    def _message(self, message: dict[str, Any], body: Body | None, size: int, garbled: bool) -> ForeignMessage:
        headers = self._headers(message.get("headers"))
        version = _VERSION.fullmatch(str(message.get("httpVersion")).strip())
        codings = {
            value.strip().lower()
            for name, value in headers
            if len(name) == _CODING and name.lower() == "content-encoding"
        }
        codings -= {"", "identity"}
        return ForeignMessage(
            headers=headers,
            body=body or Body.of(b""),
            size=size,
            decoded=bool(body and body.size and codings and not self._still_coded(message, body, codings)),
            garbled=garbled,
            version=f"HTTP/{version[1] or version[2]}" if version else "HTTP/1.1",
        )

    def _headers(self, headers: Any) -> tuple[tuple[str, str], ...]:
        found: list[tuple[str, str]] = []
        known, harmed, plain = self._plain_headers, False, True
        try:
            for pair in pairs(_listed(headers)):
                # Nearly all came before. What is no text cannot be looked up, and is told apart below.
                if pair is not None and pair[0].__class__ is pair[1].__class__ is str and pair in known:
                    found.append(pair)
                    continue
                try:
                    found.extend(self._header(pair))
                    plain = plain and found[-1][0][:1] != ":"
                except ValueError:
                    harmed = True
        except (ValueError, TypeError):
            harmed = True
        if harmed:
            self._harmed.append("some of its headers are none")
        return tuple(found if plain else _without_pseudo_fields(found))

    def _header(self, pair: tuple[Any, Any] | None) -> list[tuple[str, str]]:
        """Return one header, as several where a browser has written all of one name as lines of one value."""
        if pair is None:
            raise ValueError("no header")
        name, value = pair
        if not isinstance(name, str) or not isinstance(value, str):
            return [(self._text(name), self._text(value))]
        found = [(self._text(name), self._text(line)) for line in value.split("\n")]
        if found == [pair] and len(value) <= _REMEMBERED and name[:1] != ":":
            if len(self._plain_headers) >= _HEADERS:
                self._plain_headers.clear()
            self._plain_headers.add(pair)
        return found

    def _sent_body(self, request: dict[str, Any]) -> tuple[Body | None, int, bool]:
        posted, size = _object(request.get("postData")), _size(request.get("bodySize"))
        text = posted.get("text")
        if not isinstance(text, str) or not text:
            return self._form(posted.get("params"), size or 0)
        return self._body(text, posted, frozenset() if size is None else frozenset({size}), size or 0)

    def _form(self, params: Any, size: int) -> tuple[Body | None, int, bool]:
        """Make a form of its parameters, which is right if it has the length that the form had."""
        if not isinstance(params, list) or not params:
            return None, size, False
        fields = [(self._plain(_object(one).get("name")), self._plain(_object(one).get("value"))) for one in params]
        for quote in (quote_plus, str):
            form = "&".join(f"{quote(name)}={quote(value)}" for name, value in fields).encode("utf-8", "replace")
            if len(form) == size:
                return Body.of(form), size, False
        return None, size, True

    def _answer_body(self, response: dict[str, Any], status: int | None) -> tuple[Body | None, int, bool]:
        content = _object(response.get("content"))
        wire, size = _size(response.get("bodySize")), _size(content.get("size"))
        text = content.get("text")
        if status == 304:
            return None, 0, False
        if not isinstance(text, str) or not text:
            return None, wire or size or 0, False
        grown = content.get("compression")
        sizes = {
            wire if size is None else size,
            size + int(grown) if size and isinstance(grown, int | float) and abs(grown) < 1e15 else None,
        }
        return self._body(text, content, frozenset(one for one in sizes if one), size or 0)

    def _body(
        self, text: str, described: dict[str, Any], sizes: frozenset[int], size: int
    ) -> tuple[Body | None, int, bool]:
        encoding = described.get("encoding") or described.get("_encoding")
        if isinstance(encoding, str) and encoding.strip().lower() == "base64":
            try:
                return base64_body(self._texts, text), size, False
            except ValueError:
                self._harmed.append("a body is not base64")
                return None, size, False
        kind = str(described.get("mimeType"))[:1000]
        charset = _CHARSET.search(kind)
        # JSON is UTF-8 whether it says so or not.
        named = charset[1].lower() if charset else "utf-8" if "json" in kind else ""
        try:
            body = text_body(self._texts, text, named, sizes)
        except ValueError:
            self._harmed.append("a body is not text")
            return None, size, False
        return body, size, body is None

    def _still_coded(self, message: dict[str, Any], body: Body, codings: set[str]) -> bool:
        """Return whether a body has its content encoding still, which some programs leave on."""
        magic = _MAGIC.get(next(iter(codings)))
        coded = magic is not None and next(body.pieces(), b"").startswith(magic)
        return coded and _size(message.get("bodySize")) in {None, body.size}


def _without_pseudo_fields(headers: list[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Yield headers as HTTP/1 has them: ``:authority`` is the host where there is none (RFC 9113 section 8.3.1)."""
    known = {name.lower() for name, _ in headers}
    for name, value in headers:
        if not name.startswith(":"):
            yield name, value
        elif name == ":authority" and "host" not in known:
            yield "host", value


def _method(name: str) -> str:
    """Return a method as it is registered, where a program has written it otherwise."""
    return name.upper() if name.upper() in _METHODS else name


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _listed(value: Any) -> Any:
    if value is not None and not isinstance(value, dict | list):
        raise ValueError("no list")
    return value or []


def _size(value: Any) -> int | None:
    """Return a size; None where it is not known, which is written as -1."""
    try:
        return number(value)
    except ValueError:
        return None
