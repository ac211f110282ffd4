"""Points in a recording, as people and models name them: a time in one of five forms, a seq, a mark."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from wiretape.errors import UsageError
from wiretape.filters.numbers import Range
from wiretape.filters.operators import Seq, SeqByStream, Time
from wiretape.filters.tree import Node
from wiretape.session.index.database import Index

SEQS_BELOW: Final = 10**11
"""A number below it is a seq; from there on it is milliseconds since the epoch (1973-03-03)."""
_MAX_LABEL: Final = 128
_MARKS: Final = "SELECT label, wall_ns, stream, streams, seq FROM marks ORDER BY wall_ns, label LIMIT 100000"
_UNITS: Final = {"ms": 1, "s": 1000, "m": 60_000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}
_AGO: Final = re.compile(r"-?(\d{1,12}(?:\.\d{1,6})?)(ms|s|m|min|h|d)", re.ASCII)
_NUMBER: Final = re.compile(r"\d{1,18}", re.ASCII)
_CLOCK: Final = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)(?::([0-5]\d)(?:\.(\d{1,6}))?)?", re.ASCII)
_WAYS: Final = "give an ISO time, a time of day, ms since the epoch, -5m, a seq or a mark's label"


class Mark(NamedTuple):
    """A labelled point in a recording.

    Attributes:
        label: what it is called.
        timestamp: ms since the epoch.
        after: of each stream the last number that was given before it; None where a stream did not say.
    """

    label: str
    timestamp: int
    after: tuple[int | None, ...]

    @property
    def after_seq(self) -> int:
        """The highest number that was given before it."""
        return max((seq for seq in self.after if seq is not None), default=0)


def bound(text: str, name: str, now: int, marks: Callable[[], Sequence[Mark]]) -> Node:
    """Return the condition that ``since`` or ``until`` is; times and numbers are in it, what is since a mark follows.

    Args:
        text: the moment.
        name: ``since`` or ``until``, for the condition and for errors.
        now: ms since the epoch.
        marks: gives the session's marks, the oldest first; of equal labels the newest counts.

    Raises:
        UsageError: it is no moment, and no mark is called so.
    """
    since = name == "since"
    text = text.strip()
    if _NUMBER.fullmatch(text):
        number = int(text)
        what = Seq if number < SEQS_BELOW else Time
        inside = Range(low=number) if since else Range(high=number)
        return Seq((inside,)) if what is Seq else Time(inside)
    at = _time(text, now)
    if at is not None:
        return Time(Range(low=at) if since else Range(high=at))
    found = marks()
    for mark in reversed(found):
        if mark.label == text:
            return _around(mark, since=since)
    labels = ", ".join(dict.fromkeys(mark.label for mark in reversed(found)))
    known = f"its marks are {labels[:300]}" if labels else "it has no marks"
    raise UsageError(f"{name}: {text!r} is not a time, and the session has no mark of that name; {known}", hint=_WAYS)


def _around(mark: Mark, *, since: bool) -> Node:
    if None in mark.after:  # of a recorder that was being replaced at that moment
        return Time(Range(low=mark.timestamp) if since else Range(high=mark.timestamp))
    after = tuple(seq for seq in mark.after if seq is not None)
    if len(after) == 1:
        return Seq((Range(low=after[0] + 1) if since else Range(high=after[0]),))
    return SeqByStream(after, since)


def read_marks(index: Index) -> list[Mark]:
    """Return the marks of a session, the oldest first; each recorder has written its own record of one."""
    found: dict[tuple[int, str], dict[int, int]] = {}
    streams: dict[tuple[int, str], int] = {}
    for label, wall_ns, stream, count, seq in index.rows(_MARKS):
        found.setdefault((wall_ns, label), {})[stream] = seq
        streams[wall_ns, label] = max(count, 1)
    return [
        Mark(label, wall_ns // 1_000_000, tuple(last.get(stream) for stream in range(streams[wall_ns, label])))
        for (wall_ns, label), last in found.items()
    ]


def check_label(text: str) -> str:
    """Return a mark's label back if it may be one.

    Raises:
        UsageError: it is empty, too long, not printable, or reads as a number or a time.
    """
    label = text.strip()
    if not label or len(label) > _MAX_LABEL or not label.isprintable():
        raise UsageError(f"A mark's label has 1 to {_MAX_LABEL} printable characters", hint="use a few words")
    if _NUMBER.fullmatch(label) or label[:1] == "-" or _time(label, 0) is not None:
        raise UsageError(
            f"{label!r} reads as a number or a time, so it cannot be a mark's label", hint="use words: click-checkout"
        )
    return label


def _time(text: str, now: int) -> int | None:
    """Return a time in ms since the epoch, None for what is no time."""
    match = _AGO.fullmatch(text)
    if match:
        return now - int(float(match[1]) * _UNITS[match[2]])
    match = _CLOCK.fullmatch(text)
    if match:
        return _today(match, now)
    if not re.match(r"\d{4}-", text):
        return None
    try:
        found = datetime.fromisoformat(text.replace(" ", "T", 1))
        return int((found if found.tzinfo else found.astimezone()).timestamp() * 1000)
    except (ValueError, OverflowError, OSError):
        return None


def _today(match: re.Match[str], now: int) -> int:
    """Return the last time that a clock here showed this."""
    today = datetime.fromtimestamp(now / 1000, UTC).astimezone()
    micros = int((match[4] or "").ljust(6, "0"))
    found = today.replace(hour=int(match[1]), minute=int(match[2]), second=int(match[3] or 0), microsecond=micros)
    if found > today:
        found -= timedelta(days=1)
    return int(found.timestamp() * 1000)
