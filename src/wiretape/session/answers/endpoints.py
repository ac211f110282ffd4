"""The endpoints of a session, and how they drifted from one session to another."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from wiretape.model import Lean, Table
from wiretape.secrets.veil import Veil
from wiretape.session.answers.covered import called, missing
from wiretape.session.answers.fields import response_fields
from wiretape.session.answers.noise import starred
from wiretape.session.answers.tally import Key, Sum, Tally, read_times, tally
from wiretape.session.index.endpoints import is_error, status_of
from wiretape.session.session import Session

MAX_BODY: Final = 1024 * 1024
_SAMPLED: Final = 200
"""Endpoints whose answers are compared by their form."""
_FIELDS: Final = 12
_SLOWER: Final = 2.0
_SLOWER_NS: Final = 25_000_000


class Endpoints(Lean, frozen=True, kw_only=True):
    """The endpoints of a session: ``statuses`` such as ``200:12 404:1``, times in ms."""

    session: str
    endpoints: Table
    complete: bool
    missing: str = ""


class Drift(Lean, frozen=True, kw_only=True):
    """How the endpoints of ``b`` differ from those of ``a``.

    Rows of ``changed`` are ``[endpoint, what, in a, in b]``; ``fields`` names places of an answer's body that came
    (``+``), went (``-``) or changed their type (``~``), of one successful answer on each side.
    """

    a: str
    b: str
    same: int
    only_a: list[str] = msgspec.field(default_factory=list)
    only_b: list[str] = msgspec.field(default_factory=list)
    changed: list[list[Any]] = msgspec.field(default_factory=list)
    fields: dict[str, list[str]] = msgspec.field(default_factory=dict)
    complete: bool
    missing: str = ""


def endpoints(session: Session, *, veil: Veil) -> Endpoints:
    """Return every endpoint of a session, the most frequent first.

    Raises:
        NotFoundError, StorageError: as ``Session.follow``.
    """
    lacking = missing(session.follow())
    found = tally(session.index)
    read_times(session.index, found, list(found.untimed))
    rows = [
        [veil.text(key[0]), key[1], one.n, _statuses(found, key), _ms(one.quantile(0.5)), _ms(one.quantile(0.95))]
        for key, one in sorted(found.endpoints.items(), key=lambda item: (-item[1].n, item[0]))
    ]
    table = Table(["endpoint", "host", "n", "statuses", "p50ms", "p95ms"], rows)
    return Endpoints(session=called(session), endpoints=table, complete=not lacking, missing=lacking)


def drift(a: Session, b: Session, *, veil: Veil) -> Drift:
    """Return what is new, gone or otherwise in the endpoints of ``b``; hosts count only where both have several.

    Raises:
        NotFoundError, StorageError: as ``Session.follow``.
    """
    lacking = [text for text in (missing(a.follow()), missing(b.follow())) if text]
    tallies = tally(a.index), tally(b.index)
    for session, found in zip((a, b), tallies, strict=True):
        read_times(session.index, found, list(found.untimed))
    several = all(len({host for _, host in one.endpoints}) > 1 for one in tallies)
    sides = [_by_name(one, several=several) for one in tallies]
    both = [name for name in sides[0] if name in sides[1]]
    changed: list[list[Any]] = []
    fields: dict[str, list[str]] = {}
    touched: set[str] = set()
    for number, name in enumerate(both):
        rows = _changes(tallies[0], sides[0][name], tallies[1], sides[1][name])
        changed += [[veil.text(name), *row] for row in rows]
        came = _fields(a, tallies[0], sides[0][name], b, tallies[1], sides[1][name]) if number < _SAMPLED else []
        if came:
            fields[veil.text(name)] = [veil.text(one) for one in came[:_FIELDS]]
            if len(came) > _FIELDS:
                fields[veil.text(name)].append(f"and {len(came) - _FIELDS} more")
        if rows or came:
            touched.add(name)
    if len(both) > _SAMPLED:
        lacking.append(f"The answers of {len(both) - _SAMPLED} endpoints were not compared by their form.")
    return Drift(
        a=called(a),
        b=called(b),
        same=len(both) - len(touched),
        only_a=[veil.text(name) for name in sides[0] if name not in sides[1]],
        only_b=[veil.text(name) for name in sides[1] if name not in sides[0]],
        changed=changed,
        fields=fields,
        complete=not lacking,
        missing=" ".join(lacking),
    )


def _by_name(found: Tally, *, several: bool) -> dict[str, list[Key]]:
    names: dict[str, list[Key]] = {}
    for key in sorted(found.endpoints, key=lambda one: (-found.endpoints[one].n, one)):
        names.setdefault(f"{key[0]} ({key[1]})" if several else key[0], []).append(key)
    return names


def _changes(a: Tally, in_a: list[Key], b: Tally, in_b: list[Key]) -> list[list[Any]]:
    sides = ((a, in_a), (b, in_b))
    statuses = [{status_of(outcome) for key, outcome in one.outcomes if key in keys} for one, keys in sides]
    rows: list[list[Any]] = []
    if statuses[0] != statuses[1]:
        rows.append(["statuses", *(" ".join(map(str, sorted(one))) for one in statuses)])
    medians = [_merged(one.endpoints[key] for key in keys).quantile(0.5) for one, keys in sides]
    if medians[0] is not None and medians[1] is not None:
        low, high = sorted(one for one in medians if one is not None)
        if high - low >= _SLOWER_NS and high >= _SLOWER * low:
            rows.append(["p50ms", *map(_ms, medians)])
    return rows


def _merged(sums: Iterable[Sum]) -> Sum:
    found = Sum()
    for one in sums:
        found.times += one.times
    return found


def _fields(a: Session, in_a: Tally, keys_a: list[Key], b: Session, in_b: Tally, keys_b: list[Key]) -> list[str]:
    """Return the places that differ between one successful answer of each side."""
    forms = [_form(a, in_a, keys_a), _form(b, in_b, keys_b)]
    if forms[0] is None or forms[1] is None:
        return []
    before, after = forms[0], forms[1]
    before, after = _filled(before, after), _filled(after, before)
    found = [f"+ {place}" for place in after if place not in before and not _below_empty(place, forms[0])]
    found += [f"- {place}" for place in before if place not in after and not _below_empty(place, forms[1])]
    found += [
        f"~ {place} {before[place]} -> {after[place]}"
        for place in before
        if place in after and before[place] != after[place] and "null" not in {before[place], after[place]}
    ]
    return found


def _filled(form: dict[str, str], other: dict[str, str]) -> dict[str, str]:
    """Return a form without the places that are empty or null there and have something below them in the other."""
    above = {place[:at] for place in other for at in range(1, len(place)) if place[at] == "/"}
    return {place: kind for place, kind in form.items() if kind not in {"null", "empty"} or place not in above}


def _below_empty(place: str, form: dict[str, str]) -> bool:
    """Return whether a place lies in what is empty or null on the other side: then nothing is known of it."""
    while place:
        place = place.rpartition("/")[0]
        if form.get(place) in {"null", "empty"}:
            return True
    return False


def _form(session: Session, found: Tally, keys: list[Key]) -> dict[str, str] | None:
    """Return the places of a successful answer's JSON with their types, None where there is none."""
    seqs = [one.first_seq for (key, outcome), one in found.outcomes.items() if key in keys and not is_error(outcome)]
    for seq in sorted(seqs)[:2]:
        response = session.exchange(seq, max_body=MAX_BODY).response
        if response is None or response.body is None or response.body_truncated:
            continue
        values = response_fields(response).values
        form = {starred(place): _type(value) for place, value in values.items() if place.startswith("/")}
        if form:
            return form
    return None


def _type(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, (dict, list)):
        return "empty"
    if isinstance(value, bool):
        return "boolean"
    return "number" if isinstance(value, (int, float)) else "string"


def _statuses(found: Tally, key: Key) -> str:
    counts: dict[int, int] = {}
    for (owner, outcome), one in found.outcomes.items():
        if owner == key:
            counts[status_of(outcome)] = counts.get(status_of(outcome), 0) + one.n
    return " ".join(f"{status or '-'}:{n}" for status, n in sorted(counts.items()))


def _ms(ns: float | None) -> int | None:
    return None if ns is None else round(ns / 1e6)
