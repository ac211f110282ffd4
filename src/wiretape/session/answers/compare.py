"""What differs between two runs or two exchanges, without what is different every time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal

import msgspec

from wiretape.model import ExchangeDetail, Lean, Message
from wiretape.secrets.veil import Veil
from wiretape.session.answers.covered import missing
from wiretape.session.answers.fields import (
    Fields,
    body_bytes,
    both_fields,
    place_of,
    request_fields,
    veiled_at,
)
from wiretape.session.answers.noise import ABSENT, Difference, Renames, kind_of, starred
from wiretape.session.answers.parts import Item, Part, aligned, problems_of
from wiretape.views.problems import problem_of

Detail = Literal["first", "all", "noise"]
_EVERY: Final = 50
"""Pairs between two reports of progress."""
_SHOWN: Final = 6
"""Differences of one message that are shown; with ``all`` more."""
_SHOWN_OF_ALL: Final = 200
_THEN: Final = 12
_TIMINGS: Final = 3
_MAX_VALUE: Final = 80
_SLOWER: Final = 5
_SLOWER_MS: Final = 25

UPGRADED: Final = "Messages behind an upgrade were not compared"
CUT: Final = "Only the beginning of a body was compared"

Row = list[Any]
Unseen = dict[str, list[str]]
"""What could not be compared, by reason."""


class Change(Lean, frozen=True, kw_only=True):
    """What differs in one exchange; rows are ``[place, in a, in b]``. ``onlyA`` and ``onlyB`` have no partner."""

    a: int | None = None
    b: int | None = None
    only_a: int | None = None
    only_b: int | None = None
    op: str
    status: list[int | str] = msgspec.field(default_factory=list)
    request: list[Row] = msgspec.field(default_factory=list)
    response: list[Row] | dict[str, Any] = msgspec.field(default_factory=list)
    left: int = 0


class Ignored(Lean, frozen=True, kw_only=True):
    """What was not counted as a difference: values by kind, places that differ between runs that are alike."""

    rules: int = 0
    values: int = 0
    learned_from: list[str] = msgspec.field(default_factory=list)
    kinds: dict[str, int] = msgspec.field(default_factory=dict)
    renamed: dict[str, str] = msgspec.field(default_factory=dict)
    listed: list[Row] = msgspec.field(default_factory=list)


class Slower(Lean, frozen=True):
    """An operation that took at least five times as long on one side, in ms."""

    op: str
    a: int
    b: int


Progress = Callable[[int, int], None]


class Comparison(Lean, frozen=True, kw_only=True):
    """What differs between ``a`` and ``b``. ``first`` is where they part; requests come before responses."""

    a: str
    b: str
    verdict: Literal["same", "differs"]
    first: Change | None = None
    then: list[Change] = msgspec.field(default_factory=list)
    left: int = 0
    same: int
    ignored: Ignored | None = None
    timing: list[Slower] = msgspec.field(default_factory=list)
    complete: bool
    missing: str = ""


class _Found(msgspec.Struct):
    """Everything that differs in one pair, noise included."""

    a: Item
    b: Item
    differences: list[Difference]
    error: list[str]
    """What the one answer says that went wrong, where the other says nothing of the kind."""


Rule = tuple[str, str, str]
"""An operation, ``request`` or ``response``, and a place with ``*`` for positions."""


def compare(
    a: Part,
    b: Part,
    *,
    veil: Veil,
    noise_from: Sequence[Part] = (),
    ignore: Sequence[str] = (),
    detail: Detail = "first",
    progress: Progress | None = None,
) -> Comparison:
    """Compare two parts.

    Args:
        a: the one that is right, where one of them is.
        b: the other.
        veil: hides secrets.
        noise_from: further runs like ``a``: where they differ from it, differences mean nothing.
        ignore: places that do not count, such as ``/data/*/stock`` or ``header.X-Build``.
        detail: ``first`` shows the first difference whole, ``all`` all, ``noise`` lists what was ignored too.
        progress: called with (pairs compared, pairs in all).

    Raises:
        NotFoundError, StorageError: as ``Session.follow``.
    """
    lacking = [text for text in (missing(part.session.follow()) for part in (a, b, *noise_from)) if text]
    left, right = a.items(), b.items()
    pairs = aligned(left, right)
    unseen: Unseen = {}
    found = []
    for number, (one, other) in enumerate(pairs):
        if one is not None and other is not None:
            found.append(_differences(a, b, one, other, unseen))
        if progress is not None and number % _EVERY == 0:
            progress(number, len(pairs))
    rules = _learn(a, left, noise_from)
    judge = _Judge(found, rules, ignore, [part.name for part in noise_from])
    changes: list[Change] = []
    by_seq = {one.a.seq: one for one in found}
    shown = _Shown(veil, detail)
    for one, other in pairs:
        if one is not None and other is not None:
            change = shown.change(by_seq[one.seq], judge.true_ones(by_seq[one.seq]), whole=not changes)
            if change is not None:
                changes.append(change)
        elif one is not None:
            changes.append(Change(only_a=one.seq, op=veil.text(one.op)))
        elif other is not None:
            changes.append(Change(only_b=other.seq, op=veil.text(other.op)))
    lacking += [f"{part.name} has {part.more} more exchanges, not compared." for part in (a, b) if part.more]
    lacking += [f"{why}: {', '.join(seqs[:8])}." for why, seqs in unseen.items()]
    most = len(changes) if detail == "all" else _THEN
    return Comparison(
        a=a.name,
        b=b.name,
        verdict="differs" if changes else "same",
        first=changes[0] if changes else None,
        then=changes[1 : most + 1],
        left=max(0, len(changes) - 1 - most),
        same=sum(1 for one, other in pairs if one is not None and other is not None) - shown.changed,
        ignored=judge.ignored(veil, listed=detail == "noise"),
        timing=_timing(pairs, veil),
        complete=not lacking,
        missing=" ".join(dict.fromkeys(lacking)),
    )


# -- what differs ----------------------------------------------------------------------------------------------------


def _differences(a: Part, b: Part, one: Item, other: Item, unseen: Unseen) -> _Found:
    left, right = a.exchange(one.seq), b.exchange(other.seq)
    differences: list[Difference] = []
    for part in ("request", "response"):
        messages: list[Message | None] = [getattr(left, part), getattr(right, part)]
        if messages[0] is None or messages[1] is None:
            if messages != [None, None]:
                differences.append(
                    Difference(part, "", *("there" if message is not None else ABSENT for message in messages))
                )
            continue
        sides = both_fields(messages[0], messages[1])
        for side, (name, detail) in zip(sides, ((a.name, left), (b.name, right)), strict=True):
            _leave_out_unseen(side, detail, f"{name}:{detail.seq}", unseen)
        differences += _of_fields(part, sides[0].values, sides[1].values)
    if one.state != other.state:
        differences.append(Difference("response", "state", one.state, other.state))
    return _Found(one, other, differences, _error(a, b, left, right))


def _leave_out_unseen(side: Fields, detail: ExchangeDetail, name: str, unseen: Unseen) -> None:
    """Note what of a message is not compared; behind an upgrade another protocol follows, in both directions."""
    if detail.response is not None and detail.response.status_code == 101:
        for place in [place for place in side.values if place.startswith("/") or place == "body"]:
            del side.values[place]
        why = UPGRADED
    elif side.cut:
        why = CUT
    else:
        return
    if name not in unseen.setdefault(why, []):
        unseen[why].append(name)


def _of_fields(part: str, a: dict[str, Any], b: dict[str, Any]) -> list[Difference]:
    if a == b and list(a) == list(b):
        return []
    names = {place.lower(): place for place in b if place.startswith("header.")}
    found, seen = [], set()
    for place, value in a.items():
        there = names.get(place.lower(), place) if place.startswith("header.") else place
        seen.add(there)
        other = b.get(there, ABSENT)
        if other is ABSENT or value != other or type(value) is not type(other):
            found.append(Difference(part, place, value, other))
    found += [Difference(part, place, ABSENT, value) for place, value in b.items() if place not in seen]
    return found


def _error(a: Part, b: Part, left: ExchangeDetail, right: ExchangeDetail) -> list[str]:
    """Return what one answer says that went wrong, where the other went well."""
    wrong = [left.seq in problems_of(a.session, [left.seq]), right.seq in problems_of(b.session, [right.seq])]
    if wrong[0] == wrong[1]:
        return []
    return error_lines(left if wrong[0] else right)


def error_lines(detail: ExchangeDetail) -> list[str]:
    """Return what an answer says that went wrong, one line for each error that it names."""
    response = detail.response
    if response is None:
        return [detail.error["message"] or detail.error["code"]] if detail.error else [detail.state]
    headers = [*response.headers, *response.trailers]
    problem = problem_of(response.status_code or 0, headers, body_bytes(response))
    if problem is None:
        return [f"{response.status_code} {response.status_message or ''}".strip()]
    lines = []
    for one in problem.errors[:5]:
        name = " ".join(text for text in (one.pointer, one.code) if text)
        lines.append(f"{name}: {one.detail}" if name and one.detail else name or one.detail)
    return lines or [problem.message() or problem.form]


def _learn(a: Part, left: list[Item], others: Sequence[Part]) -> set[Rule]:
    """Return the places that differ between ``a`` and runs that are like it."""
    rules: set[Rule] = set()
    for part in others:
        for one, other in aligned(left, part.items()):
            if one is None or other is None:
                continue
            found = _differences(a, part, one, other, {})
            rules.update((one.op, each.part, starred(each.place)) for each in found.differences)
    return rules


# -- what means something ----------------------------------------------------------------------------------------------


class _Judge:
    """Tells differences that mean something from those that do not, and keeps account of the latter."""

    def __init__(self, found: list[_Found], rules: set[Rule], ignore: Sequence[str], learned_from: list[str]) -> None:
        self._rules = rules
        self._used: set[Rule] = set()
        self._ignore = {_asked(place) for place in ignore}
        self._renames = Renames(one for each in found for one in each.differences)
        self._kinds: Counter[str] = Counter()
        self._list: list[tuple[str, int, Difference]] = []
        self._learned_from = learned_from

    def true_ones(self, found: _Found) -> list[Difference]:
        """Return the differences that count."""
        return [one for one in found.differences if not self._is_noise(found, one)]

    def _is_noise(self, found: _Found, one: Difference) -> bool:
        place = starred(one.place)
        kind = "ignore" if self._ignore & {place, one.place, f"{one.part}.{place}", f"{one.part}.body{place}"} else ""
        rule = (found.a.op, one.part, place)
        if not kind and rule in self._rules:
            self._used.add(rule)
            kind = kind_of(one.place, one.a, one.b) or "learned"
        kind = kind or kind_of(one.place, one.a, one.b)
        if not kind and self._renames.explain(one.a, one.b):
            kind = "renamed"
        if kind:
            self._kinds[kind] += 1
            self._list.append((kind, found.a.seq, one))
        return bool(kind)

    def ignored(self, veil: Veil, *, listed: bool) -> Ignored | None:
        """Return the account."""
        if not self._list:
            return None
        rows = []
        if listed:
            for kind, seq, one in self._list[:_SHOWN_OF_ALL]:
                rows.append([kind, seq, veil.text(named(one, with_part=True)), *_values(one, veil)])
        return Ignored(
            rules=len(self._rules),
            values=len(self._list),
            learned_from=self._learned_from,
            kinds=dict(self._kinds.most_common()),
            renamed={
                veiled_at(self._renames.places[old], old, veil): veiled_at(self._renames.places[old], new, veil)
                for old, new in list(self._renames.pairs.items())[:20]
            }
            if listed
            else {},
            listed=rows,
        )


def _asked(place: str) -> str:
    """Return a place as the caller means it: a pointer as it is, positions starred."""
    return starred(place)


# -- what is shown ---------------------------------------------------------------------------------------------------


class _Shown:
    """Makes of differences what the answer shows."""

    def __init__(self, veil: Veil, detail: Detail) -> None:
        self._veil = veil
        self._detail = detail
        self.changed = 0

    def change(self, found: _Found, differences: list[Difference], *, whole: bool) -> Change | None:
        """Return what differs in one pair; None where nothing does. ``whole`` shows more of it."""
        a, b = found.a, found.b
        status: list[int | str] = [a.status, b.status] if a.status != b.status else []
        if not differences and not status:
            return None
        self.changed += 1
        sides = {"request": [one for one in differences if one.part == "request"]}
        sides["response"] = [one for one in differences if one.part == "response"]
        most = _SHOWN_OF_ALL if self._detail == "all" else _SHOWN if whole else _SHOWN // 2
        rows = {part: [self._row(one) for one in ones[:most]] for part, ones in sides.items()}
        left = sum(max(0, len(ones) - most) for ones in sides.values())
        response: list[Row] | dict[str, Any] = rows["response"]
        if found.error:
            # One answer is an error: every key of it differs, and what it says is the difference.
            response = {"errors": [self._veil.text(line) for line in found.error]}
            left = max(0, len(sides["request"]) - most)
        return Change(
            a=a.seq,
            b=b.seq,
            op=self._veil.text(a.op),
            status=status,
            request=rows["request"],
            response=response,
            left=left,
        )

    def _row(self, one: Difference) -> Row:
        return [self._veil.text(named(one, with_part=False)), *_values(one, self._veil)]


def request_differences(a: ExchangeDetail, b: ExchangeDetail) -> list[Difference]:
    """Return what differs in the requests of two exchanges and means something."""
    if a.request is None or b.request is None:
        return []
    found = _of_fields("request", request_fields(a.request).values, request_fields(b.request).values)
    renames = Renames(found)
    return [one for one in found if not kind_of(one.place, one.a, one.b) and not renames.explain(one.a, one.b)]


def named(one: Difference, *, with_part: bool = False) -> str:
    """Return the place of a difference as answers show it."""
    if not with_part:
        return "url" if one.place.startswith("path.") else one.place
    return place_of(one.part, one.place)


def _values(one: Difference, veil: Veil) -> list[Any]:
    return [shown_value(one.place, value, veil) for value in (one.a, one.b)]


def shown_value(place: str, value: Any, veil: Veil) -> Any:
    """Return a value as an answer shows it: secrets hidden first, then cut."""
    if value is ABSENT:
        return "(absent)"
    if isinstance(value, bytes):
        return f"({len(value)} bytes)"
    if isinstance(value, (dict, list)):
        return value
    if not isinstance(value, str):
        hidden = veiled_at(place, str(value), veil)
        return value if hidden == str(value) else hidden
    text = veiled_at(place, value, veil)
    return text if len(text) <= _MAX_VALUE else f"{text[:_MAX_VALUE]}… ({len(text)} chars)"


def _timing(pairs: Sequence[tuple[Item | None, Item | None]], veil: Veil) -> list[Slower]:
    found = []
    for one, other in pairs:
        if one is None or other is None or one.ms is None or other.ms is None:
            continue
        low, high = sorted((one.ms, other.ms))
        if high - low >= _SLOWER_MS and high >= _SLOWER * max(low, 0.001):
            found.append((high - low, Slower(veil.text(one.op), round(one.ms), round(other.ms))))
    found.sort(key=lambda each: -each[0])
    return [slower for _, slower in found[:_TIMINGS]]
