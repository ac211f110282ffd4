"""proxy-mcp's records.ndjson: one exchange in a line of JSON, whole or damaged.

There are no checksums in it. A line that is still JSON is taken for what it says; in one that is not, every object that
can still be read is taken (lines run into each other when the newline between them is lost).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, BinaryIO, Final

from wiretape.formats.foreign import Body, ForeignExchange, ForeignMessage, Unreadable
from wiretape.formats.lines import Line, Spool, read_lines, spool
from wiretape.formats.values import (
    MAX_TEXT,
    NO_TEXT,
    characters,
    in_line,
    milliseconds,
    number,
    pairs,
    scalar,
    status_code,
    token,
)

RECORDS: Final = "records.ndjson"
_BEGIN: Final = '{"seq":'
_PREVIEW: Final = 4096
"""Characters of a preview, as JavaScript counts them; what is longer ends in three dots of proxy-mcp's own."""


def read_records(file: BinaryIO) -> Iterator[ForeignExchange | Unreadable]:
    """Yield what a records file holds, in its order, a line at a time.

    Raises:
        OSError: it cannot be read.
    """
    with spool() as spooled:
        reader = _Reader(spooled)
        for line in read_lines(file, spooled):
            yield from reader.read(line)


class _Reader:
    """Reads lines, one after the other."""

    def __init__(self, spooled: Spool) -> None:
        self._spool = spooled
        self._decoder = json.JSONDecoder()

    def read(self, line: Line) -> Iterator[ForeignExchange | Unreadable]:
        """Yield everything that can be read in a line, and what cannot."""
        if line.text is None:
            yield Unreadable(offset=line.offset, length=line.length, reason="a line too long to be an exchange")
            return
        text = line.text.decode("utf-8", "surrogateescape")
        at, damaged_from = 0, None
        while at < len(text):
            if text[at] in " \t\r\0,":
                at += 1
                continue
            found, end = self._object(text, at)
            if found is not None:
                if damaged_from is not None:
                    yield _unreadable(line, text, damaged_from, at)
                    damaged_from = None
                yield found
                at = end
                continue
            damaged_from = at if damaged_from is None else damaged_from
            following = text.find(_BEGIN, at + 1)
            at = following if following > 0 else len(text)
        if damaged_from is not None:
            yield _unreadable(line, text, damaged_from, len(text))

    def _object(self, text: str, at: int) -> tuple[ForeignExchange | None, int]:
        try:
            value, end = self._decoder.raw_decode(text, at)
            harmed = ["a part of it is not UTF-8"] if NO_TEXT.search(text, at, end) else []
            return self._exchange(value, harmed), end
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
            return None, at

    def _exchange(self, record: Any, harmed: list[str]) -> ForeignExchange:
        """Take a record apart; whatever is not as it should be raises one of the errors that ``_object`` knows."""
        exchange = record["exchange"]
        request, response = exchange["request"], exchange.get("response")
        status = status_code(response.get("statusCode")) if response else None
        wall, duration = milliseconds(exchange.get("timestamp")), milliseconds(exchange.get("duration"))
        if wall is None or (duration is None and exchange.get("duration") is not None):
            harmed.append("its times are none")
        sent = self._message(request, record.get("requestBodyBase64"), harmed)
        answer = self._message(response, record.get("responseBodyBase64"), harmed) if status is not None else None
        return ForeignExchange(
            number=number(record["seq"]),
            ident=in_line(str(exchange.get("id", "")))[:100],
            wall_ms=None if wall is None else int(wall),
            duration_ms=duration,
            method=token(request["method"]),
            url=in_line(self._plain(request["url"])).strip(" \t"),
            request=sent,
            status=status,
            reason=self._text(response.get("statusMessage") or "") if response else "",
            response=answer,
            harmed="; ".join(dict.fromkeys(harmed)),
        )

    def _text(self, value: Any) -> str:
        """Return a text that can stand in a line of a head: captured content never becomes framing."""
        return in_line(characters(self._plain(value)))

    def _plain(self, value: Any) -> str:
        """Return a text that is short enough to be held, as it is."""
        text = scalar(value)
        if not isinstance(text, str) or len(text) > MAX_TEXT or self._spool.holds(text):
            raise ValueError("no text")
        return text

    def _headers(self, headers: Any, harmed: list[str]) -> Iterator[tuple[str, str]]:
        """Yield the headers; what is none costs itself alone, and is said."""
        for pair in pairs(headers or {}):
            try:
                if pair is None:
                    raise ValueError("no header")
                yield self._text(pair[0]), self._text(pair[1])
            except ValueError:
                harmed.append("some of its headers are none")

    def _message(self, message: dict[str, Any], encoded: Any, harmed: list[str]) -> ForeignMessage:
        headers = tuple(self._headers(message.get("headers"), harmed))
        size = number(message.get("bodySize", 0))
        if isinstance(encoded, str):
            return ForeignMessage(headers=headers, body=self._spool.body(encoded), size=size)
        text = str(message.get("bodyPreview") or "")
        if "\ufffd" in text and len(text.encode("utf-8", "surrogatepass")) != size:
            # proxy-mcp made a text of bytes that were none: what they were cannot be known any more.
            return ForeignMessage(headers=headers, body=Body.of(b""), size=size, garbled=True)
        preview = _preview(text, size)
        coded = any(name.lower() == "content-encoding" for name, _ in headers)
        return ForeignMessage(headers=headers, body=Body.of(preview), size=size, decoded=coded and bool(preview))


def _unreadable(line: Line, text: str, start: int, end: int) -> Unreadable:
    """Name a range of a line in bytes; of one whose bodies are elsewhere, all of it."""
    before, inside = (len(part.encode("utf-8", "surrogateescape")) for part in (text[:start], text[start:end]))
    if line.text is None or len(line.text) != line.length:
        before, inside = 0, line.length
    return Unreadable(offset=line.offset + before, length=inside, reason="no exchange that can be read")


def _preview(text: str, size: int) -> bytes:
    shown = text.removesuffix("...")
    if len(shown.encode("utf-16-le", "surrogatepass")) == 2 * _PREVIEW and shown != text:
        whole = len(text.encode("utf-8", "surrogatepass"))
        text = text if whole == size else shown
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half of a pair, where JavaScript cut it
        return text.encode("utf-8", "ignore")
