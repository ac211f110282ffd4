"""Server-sent events: https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from wiretape.views.json_text import read_json
from wiretape.views.limits import MAX_NODES, ViewError, check_size

_MAX_EVENTS: Final = MAX_NODES // 10
_LINE: Final = re.compile(rb"\r\n|\n|\r")


class ServerEvent(NamedTuple):
    """One event: the bytes of the body ``[start, end)`` that it takes, its type, its id, and its data.

    ``complete`` is false for a last one whose empty line never came: a browser does not dispatch it.
    """

    start: int
    end: int
    event: str
    ident: str
    data: str
    complete: bool = True


class EventReader:
    """Reads a stream of events, cut into pieces anywhere; an event is given as soon as its empty line has come."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._base = 0  # where in the stream the buffer begins
        self._searched = 0  # how far it has no end of a line
        self._start = 0
        self._event = self._ident = ""
        self._data: list[str] = []
        self._any_field = False
        self._begun = False
        self._skip_feed = False  # a line ended with CR at the end of a piece: LF belongs to it

    @property
    def held(self) -> int:
        """Bytes, about, of an event whose end has not come."""
        return len(self._buffer) + sum(map(len, self._data))

    def feed(self, piece: bytes) -> Iterator[ServerEvent]:
        """Take bytes and yield the events that they end."""
        buffer = self._buffer
        buffer += piece
        if not self._begun and not self._begin():
            return
        at = 0
        if self._skip_feed and buffer:
            at = int(buffer[:1] == b"\n")
            self._skip_feed = False
        if not self._data and not self._any_field and at and self._start == self._base:
            self._start += at
        while found := _LINE.search(buffer, max(at, self._searched)):
            line, at = bytes(buffer[at : found.start()]), found.end()
            self._skip_feed = at == len(buffer) and found[0] == b"\r"
            self._searched = at
            if line:
                self._field(line)
                continue
            end = self._base + at
            if self._data:
                yield self._dispatched(end, True)
            self._start, self._event, self._data, self._any_field = end, "", [], False
        self._searched = len(buffer) - at
        del buffer[:at]
        self._base += at

    def _begin(self) -> bool:
        """Leave out the byte order mark; return whether it is known if there is one."""
        mark = b"\xef\xbb\xbf"
        if len(self._buffer) < len(mark) and mark.startswith(self._buffer):
            return False
        self._begun = True
        if self._buffer.startswith(mark):
            del self._buffer[: len(mark)]
            self._base = self._start = len(mark)
        return True

    def end(self) -> Iterator[ServerEvent]:
        """Yield the event that the stream ends in: a browser does not dispatch it."""
        if self._buffer:
            self._field(bytes(self._buffer))
        if self._any_field and self._data:
            yield self._dispatched(self._base + len(self._buffer), False)

    def _dispatched(self, end: int, complete: bool) -> ServerEvent:
        data = "\n".join(self._data)
        return ServerEvent(self._start, end, self._event or "message", self._ident, data, complete)

    def _field(self, line: bytes) -> None:
        if line[:1] == b":":
            return
        name, _, value = line.partition(b":")
        text = value.removeprefix(b" ").decode("utf-8", "replace")
        self._any_field = True
        if name == b"data":
            self._data.append(text)
        elif name == b"event":
            self._event = text
        elif name == b"id" and "\0" not in text:
            self._ident = text


def server_events(body: bytes) -> Iterator[ServerEvent]:
    """Yield the events of a stream, in order; comments and fields that mean nothing are left out."""
    reader = EventReader()
    yield from reader.feed(body)
    yield from reader.end()


def event_value(data: str) -> Any:
    """Return an event's data as a value of JSON where it is an object or a list, else the text."""
    if data[:1] in {"{", "["}:
        try:
            return read_json(data)
        except ViewError:
            return data
    return data


def read_events(body: bytes) -> list[dict[str, Any]]:
    """Return the events as values: ``event`` unless it is ``message``, ``id``, and ``data``, parsed where it is JSON.

    Raises:
        ViewError: it is too long, or has no event.
    """
    check_size(body, "This stream of events")
    found: list[dict[str, Any]] = []
    for one in server_events(body):
        if len(found) >= _MAX_EVENTS:
            raise ViewError(f"There are more than {_MAX_EVENTS:,} events in this body", hint="view text shows a range")
        value: dict[str, Any] = {}
        if one.event != "message":
            value["event"] = one.event
        if one.ident:
            value["id"] = one.ident
        value["data"] = event_value(one.data)
        if not one.complete:
            value["complete"] = False
        found.append(value)
    if not found:
        raise ViewError("There is no server-sent event in this body", hint="view text shows it as it is")
    return found
