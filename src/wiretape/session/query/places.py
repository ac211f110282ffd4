"""Where something stands in an exchange, written one way, with what is around it.

``grep`` and the filters on texts look here, so that both find the same.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple
from urllib.parse import unquote_plus

from wiretape.heads import fields
from wiretape.log.assembly import REQUEST, RESPONSE, ExchangeTape, Side
from wiretape.secrets.veil import Veil
from wiretape.session.messages import RecordedMessage
from wiretape.session.query.account import CUT, RUNNING, UNRECORDED, Unsearched
from wiretape.session.query.needles import Needle
from wiretape.session.query.readable import BodyText, is_grpc
from wiretape.views.limits import ViewError
from wiretape.views.protobuf import grpc_frames
from wiretape.views.sse import server_events

WHOLE: Final = 4 * 1024 * 1024
"""Bytes of a body up to which a place in it is told by its JSON pointer or field; of longer ones by the body alone."""
_OVERLAP: Final = 64 * 1024
"""What two stretches of a longer body share: a hit that is longer and lies across their border is not found."""
_FIELD: Final = 64 * 1024
"""Characters of one value that are shown through the veil whole; more of it is cut around the hit first."""
_TRIED: Final = 12
"""Hits of one body whose places are looked for."""
_DEEP: Final = 1_000
_FORM: Final = "application/x-www-form-urlencoded"
_EVENTS: Final = "text/event-stream"

Messages = Callable[[int, Side], Iterator[RecordedMessage]]
"""Reads the messages that one side of an exchange sent."""


class Found(NamedTuple):
    """A place, the encoding in which it stands there, and what is around it."""

    where: str
    encoding: str
    snippet: str


class Showing:
    """How hits are shown: through a veil, which is given whole values, with some characters around.

    What a veil hides is not searched either, or an answer would say character by character what is hidden; unless the
    text that is looked for is itself what is hidden, whole: then its places are told.
    """

    def __init__(self, needle: Needle, veil: Veil, context: int) -> None:
        self.needle = needle
        self.context = context
        self._veil = veil
        self._may_tell = not needle.regex and veil.text(needle.text) != needle.text

    def header(self, where: str, name: str, value: str) -> Iterator[Found]:
        """Yield the hit in a header."""
        line = f"{name}: {value}"
        hit = self.needle.find(line.encode("utf-8", "replace"))
        if hit is not None:
            yield from self._hit(where, hit.encoding, line, f"{name}: {self._veil.header(name, value)}")

    def text(self, where: str, text: str) -> Iterator[Found]:
        """Yield the hit in another short text."""
        hit = self.needle.find(text.encode("utf-8", "replace"))
        if hit is not None:
            yield from self.at(where, hit.encoding, text)

    def at(self, where: str, encoding: str, value: str, name: str = "") -> Iterator[Found]:
        """Yield a hit that was found in a value, of a named field perhaps."""
        yield from self._hit(where, encoding, value, self._veil.field(name, value) if name else self._veil.text(value))

    def _hit(self, where: str, encoding: str, value: str, shown: str) -> Iterator[Found]:
        data = shown.encode("utf-8", "replace")
        hit = self.needle.find(data)
        if hit is None and shown != value and not self._may_tell:
            return
        start, end = (hit.start, hit.end) if hit is not None else (0, 0)
        yield Found(where, encoding, _around(data, start, end, self.context))


def _around(data: bytes, start: int, end: int, context: int) -> str:
    before = data[max(0, start - 4 * context - 8) : start].decode("utf-8", "replace")
    matched = data[start:end].decode("utf-8", "replace")[: 4 * context]
    after = data[end : end + 4 * context + 8].decode("utf-8", "replace")
    left, right = "…" if len(before) > context else "", "…" if len(after) > context else ""
    return f"{left}{before[-context:]}{matched}{after[:context]}{right}"


class Row(NamedTuple):
    """What the index says of an exchange: its URL, and whether it is still running."""

    url: str
    running: bool


class Scope(NamedTuple):
    """What of an exchange is searched.

    Attributes:
        sides: whose heads, bodies and messages; the URL belongs to the request.
        heads: URL and headers, too.
        content_type: only bodies whose Content-Type has this, and no messages; empty: all.
        most: places of one body or message that are told.
    """

    sides: tuple[Side, ...] = (RESPONSE, REQUEST)
    heads: bool = True
    content_type: str = ""
    most: int = 1


def found_in_exchange(
    showing: Showing, tape: ExchangeTape, row: Row, messages: Messages, account: Unsearched, scope: Scope
) -> Iterator[Found]:
    """Yield the hits in one exchange, each place once, the response's first.

    What could not be read is put on the account, as far as the hits are taken.
    """
    for side in scope.sides:
        head = tape.request_head if side == REQUEST else tape.response_head
        if scope.heads:
            yield from _in_head(showing, side, head, tape.trailers.get(side), row.url)
        body = BodyText(tape, side, account)
        if scope.content_type in (body.content_type or "").lower():
            yield from found_in_body(showing, body, scope.most)
        if tape.messages and not scope.content_type:
            yield from _in_messages(showing, messages(tape.seq, side), account, tape.seq, scope.most)
    if tape.done is None:
        account.skipped(RUNNING if row.running else UNRECORDED, tape.seq)


def _in_head(showing: Showing, side: Side, head: bytes | None, trailers: bytes | None, url: str) -> Iterator[Found]:
    if side == REQUEST:
        yield from showing.text("request.url", url)
    for kind, block in (("header", head), ("trailer", trailers)):
        for name, value in fields(block, skip_first=kind == "header") if block else ():
            yield from showing.header(f"{side}.{kind}.{name}", name, value)


def _in_messages(
    showing: Showing, messages: Iterator[RecordedMessage], account: Unsearched, seq: int, most: int
) -> Iterator[Found]:
    for one in messages:
        yield from _in_data(showing, _Places(one.data, f"message.{one.number}", ""), most)
        if not one.whole:
            account.skipped(CUT, seq)


def found_in_body(showing: Showing, body: BodyText, most: int) -> Iterator[Found]:
    """Yield the first hits in a body, each place once."""
    window, long = bytearray(), False
    for piece in body.pieces():
        window += piece
        if len(window) < WHOLE:
            continue
        long = True
        found = list(_in_stretch(showing, body, bytes(window)))
        yield from found
        if found:
            return  # one place is all that is told of a body of this size
        del window[:-_OVERLAP]
    data = bytes(window)
    if long:
        yield from _in_stretch(showing, body, data)
        return
    yield from _in_data(showing, _Places(data, f"{body.side}.body", (body.content_type or "").lower()), most)


def _in_data(showing: Showing, places: _Places, most: int) -> Iterator[Found]:
    seen: set[str] = set()
    for hit in showing.needle.all(places.data, _TRIED):
        where, value, name = places.of(hit.start)
        if where in seen:
            continue
        seen.add(where)
        yield from showing.at(where, hit.encoding, value, name)
        if len(seen) >= most:
            return


def _in_stretch(showing: Showing, body: BodyText, data: bytes) -> Iterator[Found]:
    hit = showing.needle.find(data)
    if hit is not None:
        around = data[max(0, hit.start - _FIELD // 2) : hit.end + _FIELD // 2].decode("utf-8", "replace")
        yield from showing.at(f"{body.side}.body", hit.encoding, around)


class _Places:
    """The places in one body or message.

    In a stream of events or a body of gRPC they are those of its messages, which are numbered from 1.
    """

    def __init__(self, data: bytes, where: str, content_type: str) -> None:
        self.data = data
        self._where = where
        self._type = content_type
        self._ends: list[int] | None = None

    def of(self, at: int) -> tuple[str, str, str]:
        """Return the place of a byte, the whole value there, and the name of its field."""
        if self._type.startswith(_EVENTS) or is_grpc(self._type):
            return self._in_message(at)
        if self._type.startswith(_FORM):
            begin, end = _between(self.data, at, b"&")
            pair = self.data[begin:end]
            name = unquote_plus(pair.partition(b"=")[0].decode("utf-8", "replace"))[:200]
            return f"{self._where}/{escaped(name)}", pair.decode("utf-8", "replace")[:_FIELD], name
        return _in_text(self.data, at, self._where)

    def _in_message(self, at: int) -> tuple[str, str, str]:
        if self._ends is None:
            self._ends = list(self._all_ends())
        number = bisect_right(self._ends, at)
        if number >= len(self._ends):
            return _in_text(self.data, at, self._where)
        where = f"message.{number + 1}"
        begin, end = _between(self.data, at, b"\n")
        line = self.data[begin:end]
        if not self._type.startswith(_EVENTS) or not line.startswith(b"data:"):
            return _in_text(self.data, at, where)
        text = line[5:].lstrip(b" ")
        return _in_text(text, max(0, at - begin - (len(line) - len(text))), where)

    def _all_ends(self) -> Iterator[int]:
        if self._type.startswith(_EVENTS):
            yield from (event.end for event in server_events(self.data))
            return
        try:
            yield from (frame.end for frame in grpc_frames(self.data) if frame.trailers is None)
        except ViewError:
            return


def _between(data: bytes, at: int, mark: bytes) -> tuple[int, int]:
    end = data.find(mark, at)
    return data.rfind(mark, 0, at) + 1, end if end >= 0 else len(data)


def _in_text(data: bytes, at: int, where: str) -> tuple[str, str, str]:
    if data[:64].lstrip()[:1] in (b"{", b"["):
        found = pointer_at(data, at)
        if found is not None:
            pointer, begin, end, is_key = found
            name = "" if is_key else pointer.rpartition("/")[2]
            value = data[begin:end]
            if len(value) > _FIELD:
                value = data[max(begin, at - _FIELD // 2) : min(end, at + _FIELD // 2)]
            return where + pointer, value.decode("utf-8", "replace"), name
    begin, end = max(0, at - _FIELD // 2), at + _FIELD // 2
    line_begin, line_end = data.rfind(b"\n", begin, at) + 1, data.find(b"\n", at, end)
    text = data[max(begin, line_begin) : line_end if line_end >= 0 else end]
    return where, text.decode("utf-8", "replace"), ""


def escaped(name: str) -> str:
    """Return a name as a part of a JSON pointer (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")


_TOKEN: Final = re.compile(rb'[ \t\r\n]*("(?:[^"\\]+|\\.)*"?|[{}\[\],:]|[^"{}\[\],:\s]+)', re.DOTALL)


def pointer_at(data: bytes, at: int) -> tuple[str, int, int, bool] | None:
    """Return the JSON pointer of what a byte stands in, where that begins and ends, and whether it is a field's name.

    It reads only what stands before, so that a document may be broken behind.
    """
    path: list[str | int] = []
    key, expects_key, position = "", False, 0
    while (token := _TOKEN.match(data, position)) is not None:
        begin, end = token.span(1)
        first = data[begin : begin + 1]
        position = end
        if first in (b"{", b"["):
            if len(path) >= _DEEP:
                return None
            path.append("" if first == b"{" else 0)
            expects_key = first == b"{"
        elif first in (b"}", b"]"):
            if not path:
                return None
            path.pop()
            expects_key = False
        elif first == b",":
            if path and isinstance(path[-1], int):
                path[-1] += 1
            expects_key = bool(path) and isinstance(path[-1], str)
        elif first == b":":
            expects_key = False
        else:
            if expects_key and path:
                key = _string(data[begin:end])
                path[-1] = key
            if begin <= at < end or begin > at:
                pointer = "".join(f"/{escaped(part) if isinstance(part, str) else part}" for part in path)
                return pointer, begin, end, expects_key
        if position > at and first in b"{}[],:":
            pointer = "".join(f"/{escaped(part) if isinstance(part, str) else part}" for part in path)
            return pointer, max(0, at - 200), min(len(data), at + 200), True
    return None


def _string(token: bytes) -> str:
    import json  # noqa: PLC0415 - small, and only where something was found

    try:
        value = json.loads(token)
    except ValueError:
        return token.strip(b'"').decode("utf-8", "replace")
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else str(value)
