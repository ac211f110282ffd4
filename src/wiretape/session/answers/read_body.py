"""``read_body``: one body of one exchange, or the part of it that is asked for: shape, path, hits of a text, range."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Final, Literal

import msgspec

from wiretape.errors import UsageError
from wiretape.filters.patterns import said_by_re2
from wiretape.model import Lean, Table
from wiretape.secrets.veil import UNVEILED, Veil
from wiretape.session.answers.whole_body import WholeBody, read_whole
from wiretape.session.session import Session
from wiretape.views.binary import hex_rows
from wiretape.views.choose import TREES, View, choose, refined, see
from wiretape.views.json_text import read_json, write_json
from wiretape.views.limits import ViewError
from wiretape.views.path import MAX_MATCHES, Match, NoMatchError, escaped, find
from wiretape.views.shape import shape_of, try_path

Side = Literal["request", "response"]
LENGTH: Final = 4_000
"""Characters of a body in an answer where nothing else is asked for: a thousand tokens."""
_CONTEXT: Final = 40
_HITS: Final = 20
_REGEX: Final = re.compile(r"/(.+)/", re.DOTALL)
_LOOKS_LIKE_REGEX: Final = re.compile(r"\\[dwsb.]|\.\*|\.\+|\[[^\]]+\][*+?]|\(\?|\|")
_LITERAL: Final = "grep takes text literally; /.../ around it makes it a regular expression."
_MAX_LEAVES: Final = 1_000_000


class PathMatch(Lean, frozen=True):
    """One place that a path leads to. Where its value is too long for the answer, there is its ``shape``."""

    path: str
    value: Any = msgspec.UNSET
    shape: str | None = None
    bytes: int | None = None


class BodyPart(Lean, frozen=True):
    """What was asked for of one body.

    ``type`` is its content type, ``bytes`` its length without content encoding (``bodyBytes`` beside matches). One of
    ``shape``, ``matches``, ``hits``, ``value`` and ``text`` holds the answer. ``of`` counts all matches or hits. Of one
    that was written to a ``file`` there is the ``sha256``. ``left`` is how much follows what is shown, ``next`` how to
    get it. ``complete`` is false where a part of the body was not recorded, lost or cannot be read: ``missing`` says
    which.
    """

    seq: int
    side: str
    complete: bool
    type: str | None = None
    view: str | None = None
    bytes: int | None = None
    path: str | None = None
    shape: str | None = None
    first: Any = None
    matches: list[PathMatch] = msgspec.field(default_factory=list)
    hits: Table | None = None
    of: int | None = None
    value: Any = msgspec.UNSET
    text: str | None = None
    offset: int = 0
    left: int = 0
    body_bytes: int | None = None
    try_: str | None = msgspec.field(default=None, name="try")
    next: str | None = None
    missing: str | None = None
    note: str | None = None
    file: str | None = None
    sha256: str | None = None


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What to give of a body.

    Attributes:
        path: of a value with parts: what is at this path.
        grep: what contains this text, any case; ``/.../`` is a regular expression.
        shape: keys and types instead of values.
        view: how to see it; None chooses.
        offset: where to begin, in characters of text or bytes of hex; None where no range is meant.
        length: characters to give at most.
    """

    path: str | None = None
    grep: str | None = None
    shape: bool = False
    view: View | None = None
    offset: int | None = None
    length: int = LENGTH


def read_body(session: Session, seq: int, side: Side, wanted: Wanted, *, veil: Veil = UNVEILED) -> BodyPart:
    """Return what is asked for of one body.

    Raises:
        NotFoundError: no such exchange, or it has no such side. UsageError: what is asked for means nothing here, or
            nothing is at the path. WiretapeError: nothing of the body was recorded.
    """
    _check(wanted)
    body = read_whole(session, seq, side)
    asked = Asked(body, wanted, veil)
    if wanted.path is not None:
        return asked.at_path()
    if wanted.grep is not None:
        return asked.hits()
    if wanted.shape:
        return asked.shape()
    return asked.range() if wanted.offset is not None else asked.whole()


def _check(wanted: Wanted) -> None:
    given = [name for name in ("path", "grep", "shape") if getattr(wanted, name)]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} exclude each other", hint="ask for one of them at a time")
    if wanted.view in {"text", "hex"} and given and given != ["grep"]:
        raise UsageError(f"view {wanted.view} has no parts for {given[0]}", hint="leave view out")
    if wanted.offset is not None and given:
        raise UsageError(f"offset is of text and does not go with {given[0]}", hint="leave offset out")


class Asked:
    """One body and what is asked of it."""

    def __init__(self, body: WholeBody, wanted: Wanted, veil: Veil) -> None:
        self._body = body
        self._wanted = wanted
        self._veil = veil
        self._view: View = wanted.view or choose(body.type, body.data)

    # -- the ways to ask ------------------------------------------------------------------------------------------

    def at_path(self) -> BodyPart:
        path = self._wanted.path or ""
        value = self._tree("a path")
        found: list[PathMatch] = []
        room, count = self._wanted.length, 0
        for match in islice(self._matches(value, path), MAX_MATCHES):
            count += 1
            if room <= 0:
                continue
            shown = _shown(self._veiled(match), self._wanted.length if not found else room)
            room -= len(write_json(shown))
            found.append(shown)
        left = count - len(found)
        return self._answer(
            path=path, matches=found, of=count, left=left, body_bytes=len(self._body.data),
            next="a narrower path, or a greater length" if left or any(one.shape for one in found) else None,
        )  # fmt: skip

    def _matches(self, value: Any, path: str) -> Iterator[Match]:
        try:
            yield from find(value, path)
        except NoMatchError:
            if self._veil is UNVEILED:
                raise
            # What the error says there is must be as it may be shown.
            yield from find(veiled(value, self._veil), path)

    def _veiled(self, match: Match) -> Match:
        """Return a match as it may be shown; what it holds are whole values."""
        if self._veil is UNVEILED:
            return match
        return Match(self._veil.text(match.pointer), veiled(match.value, self._veil, _name_in(match.pointer)))

    def shape(self) -> BodyPart:
        value = self._tree("a shape")
        view = self._view if self._view != "json" else None
        return self._answer(
            type=self._body.type,
            view=view,
            bytes=len(self._body.data),
            shape=self._veil.text(shape_of(value)),
            try_=_hint(value, self._veil),
        )

    def hits(self) -> BodyPart:
        matches = _matcher(self._wanted.grep or "")
        rows: list[list[Any]] = []
        count = 0
        where = "path"
        if self._view in TREES and (self._wanted.view is not None or self._view != "html"):
            for pointer, leaf in self._grepped():
                if next(matches(leaf), None) is None:
                    continue
                shown = leaf if self._veil is UNVEILED else self._veil.field(_name_in(pointer), leaf)
                if (hit := next(matches(shown), None)) is not None:
                    count += 1
                    if len(rows) < _HITS:
                        rows.append([self._veil.text(pointer), _around(shown, *hit)])
        if not count and (text := self._text()) is not None:
            where = "at"
            for start, end in matches(text):
                count += 1
                if len(rows) < _HITS:
                    rows.append([start, _around(text, start, end)])
        literal = not _REGEX.fullmatch(self._wanted.grep or "")
        note = _LITERAL if literal and not count and _LOOKS_LIKE_REGEX.search(self._wanted.grep or "") else None
        table = Table(columns=[where, "text"], rows=rows)
        return self._answer(hits=table, of=count, left=count - len(rows), body_bytes=len(self._body.data), note=note)

    def _grepped(self) -> Iterator[tuple[str, str]]:
        try:
            return _leaves(self._tree("grep"))
        except ViewError:
            if self._wanted.view is not None:
                raise
            return iter(())

    def range(self) -> BodyPart:
        offset, length = self._wanted.offset or 0, self._wanted.length
        text = None if self._view in {"hex", "image"} else self._text()
        if text is None:
            if self._veil is not UNVEILED and self._wanted.view not in {None, "hex"}:
                raise ViewError("This body is bytes, not text", hint="view hex shows it as it is")
            return self._hex(offset, length)
        if offset > len(text):
            raise UsageError(f"offset {offset} is behind the end: the text has {len(text)} characters", hint="")
        return self._cut(text, offset, length)

    def whole(self) -> BodyPart:
        """Return the body as far as it fits; of a value that does not, its shape and the first element."""
        if not self._body.data:
            return self._answer(type=self._body.type, bytes=0)
        if self._view == "hex":
            return self._hex(0, self._wanted.length)
        try:
            value = self._seen()
        except ViewError:
            if self._wanted.view is not None:
                raise
            text = self._text()
            return self._hex(0, self._wanted.length) if text is None else self._cut(text, 0, self._wanted.length)
        if isinstance(value, str):
            return self._cut(self._veil.text(value), 0, self._wanted.length)
        told = {"type": self._body.type, "bytes": len(self._body.data)}
        view = None if self._view == "json" else self._view
        if len(write_json(value)) <= self._wanted.length:
            return self._answer(**told, view=view, value=veiled(value, self._veil))
        return self._answer(
            **told,
            view=view,
            shape=self._veil.text(shape_of(value)),
            first=veiled(first_of(value, self._wanted.length), self._veil),
            try_=_hint(value, self._veil),
        )

    # -- seeing ---------------------------------------------------------------------------------------------------

    def _seen(self) -> Any:
        text = self._body.text
        value = see(self._view, self._body.data, self._body.type, text)
        if self._wanted.view is None:
            self._view, value = refined(self._view, value)
        return value

    def _tree(self, what: str) -> Any:
        if self._view not in TREES:
            # What no header calls JSON may be some all the same.
            self._view = "json"
        value = self._seen()
        if isinstance(value, str) and self._view not in TREES:
            raise ViewError(f"This body has no parts, so {what} means nothing here", hint="grep or offset find text")
        return value

    def _text(self) -> str | None:
        text = self._body.text
        return None if text is None else self._veil.text(text)

    def _cut(self, text: str, offset: int, length: int) -> BodyPart:
        shown = text[offset : offset + length]
        left = len(text) - offset - len(shown)
        return self._answer(
            type=self._body.type, bytes=len(self._body.data), text=shown, offset=offset, left=left,
            next=f"offset={offset + len(shown)}" if left else None,
        )  # fmt: skip

    def _hex(self, offset: int, length: int) -> BodyPart:
        data = self._body.data
        if self._veil is not UNVEILED:
            # What is text in it may be a secret, which no row of 16 bytes shows whole.
            data = self._veil.text(data.decode("latin-1")).encode("latin-1", "replace")
        count = max(16, length // 79 * 16)
        part = data[offset : offset + count]
        rows = hex_rows(part, offset)
        left = max(0, len(data) - offset - len(part))
        return self._answer(
            type=self._body.type, view="hex", bytes=len(self._body.data), text=rows, offset=offset, left=left,
            next=f"offset={offset + len(part)}" if left else None,
        )  # fmt: skip

    def _answer(self, **fields: Any) -> BodyPart:
        body = self._body
        return BodyPart(seq=body.seq, side=body.side, complete=body.missing is None, missing=body.missing, **fields)


def _shown(match: Match, room: int) -> PathMatch:
    text = write_json(match.value)
    if len(text) <= room:
        return PathMatch(path=match.pointer, value=match.value)
    if isinstance(match.value, str):
        return PathMatch(path=match.pointer, value=match.value[:room] + "…", bytes=len(text))
    return PathMatch(path=match.pointer, shape=shape_of(match.value, characters=min(room, 420)), bytes=len(text))


def _name_in(pointer: str) -> str:
    """Return the name of the field that a pointer leads to: its last part that is no number."""
    return next((part for part in reversed(pointer.split("/")) if part and not part.isdigit()), "")


def _hint(value: Any, veil: Veil) -> str | None:
    found = shown_path(value, veil)
    return None if found is None else f"path={found}"


def shown_path(value: Any, veil: Veil) -> str | None:
    """Return a path that would give a part of a value, None where there is none that may be shown."""
    found = try_path(value)
    return found if found is None or veil.text(found) == found else None


def first_of(value: Any, room: int) -> Any:
    """Return the first element of the longest array near the top of a value, None where it does not fit."""
    lists = value.values() if isinstance(value, dict) else [value]
    longest = max((one for one in lists if isinstance(one, list)), key=len, default=[])
    first = longest[0] if longest else None
    return first if first is not None and len(write_json(first)) <= room // 2 else None


def veiled(value: Any, veil: Veil, name: str = "") -> Any:
    """Return a value with every text in it as it may be shown."""
    if veil is UNVEILED:
        return value
    if isinstance(value, str):
        return veil.field(name, value) if name else veil.text(value)
    if isinstance(value, dict):
        # A part of a form has its name beside its value.
        of = value.get("name") if isinstance(value.get("name"), str) else None
        return {
            veil.text(str(key)): veiled(one, veil, of if of and key == "value" else str(key))
            for key, one in value.items()
        }
    return [veiled(one, veil, name) for one in value] if isinstance(value, list) else value


def veiled_text(text: str, veil: Veil) -> str:
    """Return a text as it may be shown; where it is JSON, its fields are looked at by their names, too."""
    if veil is UNVEILED:
        return text
    if text[:1] in {"{", "["}:
        try:
            value = read_json(text)
        except ViewError:
            return veil.text(text)
        shown = veiled(value, veil)
        if shown != value:
            return write_json(shown)
    return veil.text(text)


# -- grep -----------------------------------------------------------------------------------------------------------


def _matcher(grep: str) -> Callable[[str], Iterator[tuple[int, int]]]:
    """Return a function that yields where in a text the hits begin and end."""
    import re2  # noqa: PLC0415 - linear in the text, whatever the expression

    if not grep:
        raise UsageError("grep wants a text", hint="give some characters, or /a regular expression/")
    expression = _REGEX.fullmatch(grep)
    try:
        compiled = re2.compile(f"(?is){expression[1]}" if expression else f"(?i){re2.escape(grep)}")
    except re2.error as error:
        raise UsageError(
            f"grep {grep[:80]} is not a regular expression: {said_by_re2(error)[:200]}",
            hint="leave the slashes out for plain text",
        ) from None

    def hits(text: str) -> Iterator[tuple[int, int]]:
        # Not search from where the last hit ended: it takes the whole text to UTF-8 anew for each.
        return (found.span() for found in compiled.finditer(text) if found.end() > found.start())

    return hits


def _around(text: str, start: int, end: int) -> str:
    before, after = max(0, start - _CONTEXT), min(len(text), end + _CONTEXT, start + 4 * _CONTEXT)
    return f"{'…' if before else ''}{text[before:after]}{'…' if after < len(text) else ''}"


def _leaves(value: Any) -> Iterator[tuple[str, str]]:
    """Yield each single value with its pointer, in order."""
    waiting: list[tuple[str, Any]] = [("", value)]
    for _ in range(_MAX_LEAVES):
        if not waiting:
            return
        at, one = waiting.pop()
        if isinstance(one, dict):
            waiting += [(f"{at}/{escaped(str(key))}", inner) for key, inner in reversed(one.items())]
        elif isinstance(one, list):
            waiting += [(f"{at}/{place}", one[place]) for place in range(len(one) - 1, -1, -1)]
        else:
            yield at, one if isinstance(one, str) else write_json(one)
