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


def server_events(body: bytes) -> Iterator[ServerEvent]:
    """Yield the events of a stream, in order; comments and fields that mean nothing are left out."""
    at = 3 if body.startswith(b"\xef\xbb\xbf") else 0
    start, event, ident = at, "", ""
    data: list[str] = []
    any_field = False
    size = len(body)
    while at < size:
        found = _LINE.search(body, at)
        end = found.start() if found else size
        line, at = body[at:end], found.end() if found else size
        if not line:
            if data:
                yield ServerEvent(start, at, event or "message", ident, "\n".join(data))
            start, event, data, any_field = at, "", [], False
            continue
        if line[:1] == b":":
            continue
        name, _, value = line.partition(b":")
        text = value.removeprefix(b" ").decode("utf-8", "replace")
        any_field = True
        if name == b"data":
            data.append(text)
        elif name == b"event":
            event = text
        elif name == b"id" and "\0" not in text:
            ident = text
    if any_field and data:
        yield ServerEvent(start, size, event or "message", ident, "\n".join(data), False)


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
