"""What is asked for as one tree: plain parameters, which are literal, and the expression beside them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

from wiretape.errors import UsageError
from wiretape.filters.content import Text
from wiretape.filters.numbers import Range
from wiretape.filters.operators import STATES, Code, Domain, Host, InState, Method, Seq, Source, Time, Url
from wiretape.filters.parse import parse
from wiretape.filters.patterns import Pattern
from wiretape.filters.tree import Node, all_of
from wiretape.model import Filter
from wiretape.session.query.moments import Mark, bound

_MAX_TEXT: Final = 8192
_STATUS: Final = re.compile(r"([1-9][0-9]{2})|([1-9])xx", re.ASCII | re.IGNORECASE).fullmatch


def tree_of(wanted: Filter, now: int, marks: Callable[[], Sequence[Mark]]) -> Node | None:
    """Return the tree of a filter, None where it takes everything.

    Args:
        wanted: all its conditions hold together.
        now: ms since the epoch, for ``-5m``.
        marks: gives the session's marks, if they are asked for.

    Raises:
        UsageError: a value means nothing.
    """
    _check_text(wanted)
    parts = _plain(wanted)
    if wanted.expression is not None:
        parts.append(parse(wanted.expression))
    if wanted.since is not None:
        parts.append(bound(wanted.since, "since", now, marks))
    if wanted.until is not None:
        parts.append(bound(wanted.until, "until", now, marks))
    if wanted.text is not None:  # last: it costs most
        parts.append(Text(Pattern(wanted.text, "contains")))
    return all_of(*parts) if parts else None


def _plain(wanted: Filter) -> list[Node]:
    parts: list[Node] = []
    if wanted.method is not None:
        parts.append(Method(Pattern(wanted.method, "equals")))
    if wanted.host is not None:
        parts.append(Host(wanted.host.lower().strip("[]")))
    if wanted.host_contains is not None:
        parts.append(Domain(Pattern(wanted.host_contains, "contains")))
    if wanted.url_contains is not None:
        parts.append(Url(Pattern(wanted.url_contains, "contains")))
    if wanted.status is not None:
        parts.append(Code((_status(wanted.status),)))
    if wanted.state is not None:
        parts.append(InState(_state(wanted.state)))
    if wanted.from_ts is not None or wanted.to_ts is not None:
        parts.append(Time(Range(_int64(wanted.from_ts, "from_ts"), _int64(wanted.to_ts, "to_ts"))))
    if wanted.from_seq is not None:
        parts.append(Seq((Range(low=_int64(wanted.from_seq, "from_seq")),)))
    if wanted.seqs is not None:
        parts.append(Seq(tuple(Range(seq, seq) for seq in wanted.seqs)))
    if wanted.sources is not None:
        parts.append(Source(tuple(wanted.sources)))
    return parts


def _check_text(wanted: Filter) -> None:
    for name in ("method", "host", "host_contains", "url_contains", "text", "since", "until"):
        value = getattr(wanted, name)
        if value is None:
            continue
        if not value or len(value) > _MAX_TEXT:
            raise UsageError(f"{name} has 1 to {_MAX_TEXT} characters, not {len(value)}", hint="leave it out for any")
        if any("\ud800" <= char <= "\udfff" for char in value):
            raise UsageError(f"{name} is not valid text", hint="give it as UTF-8")


def _status(text: str) -> Range:
    match = _STATUS(text)
    if match is None:
        raise UsageError(f"{text[:40]!r} is not a status", hint="give a code such as 404, or a class such as 4xx")
    low = int(match[1]) if match[1] else int(match[2]) * 100
    return Range(low, low if match[1] else low + 99)


def _state(text: str) -> str:
    for state in STATES:
        if text.lower() == state.lower():
            return state
    raise UsageError(f"{text[:40]!r} is not a state of an exchange", hint=f"give one of {', '.join(STATES)}")


def _int64(value: int | None, name: str) -> int | None:
    if value is not None and not -(2**63) <= value < 2**63:
        raise UsageError(f"{name} is not a time in milliseconds: {value}", hint="give milliseconds since the epoch")
    return value
