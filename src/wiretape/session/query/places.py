"""Where something stands in an exchange, written one way, with what is around it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple
from urllib.parse import unquote_plus

from wiretape.secrets.veil import Veil
from wiretape.session.query.needles import Needle
from wiretape.session.query.readable import BodyText

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
    seen: set[str] = set()
    for hit in showing.needle.all(data, _TRIED):
        where, value, name = _place_of(data, hit.start, body)
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


def _place_of(data: bytes, at: int, body: BodyText) -> tuple[str, str, str]:
    """Return the place of a byte of a body, the whole value there, and the name of its field."""
    where = f"{body.side}.body"
    if (body.content_type or "").lower().startswith(_FORM):
        begin = data.rfind(b"&", 0, at) + 1
        end = data.find(b"&", at)
        pair = data[begin : end if end >= 0 else len(data)]
        name = unquote_plus(pair.partition(b"=")[0].decode("utf-8", "replace"))[:200]
        return f"{where}/{escaped(name)}", pair.decode("utf-8", "replace")[:_FIELD], name
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
