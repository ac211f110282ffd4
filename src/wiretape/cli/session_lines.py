"""Sessions as a person reads them: one line each, the id last, and only the columns that say something."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final

from wiretape.cli.output import GAP, local_time, row_text, size_text, styled, visible, width_of

if TYPE_CHECKING:
    from wiretape.model import SessionSummary

_NAME_MOST: Final = 24
_NAME_LEAST: Final = 7
_NAME_READABLE: Final = 12
"""Columns of a name for which others give way."""
_FIRST_TO_GO: Final = ("took", "size", "recovery")
"""Columns that a terminal too narrow for all does without."""

Column = tuple[str, bool, list[str]]
"""Heading, whether its cells stand at the right, cells."""


def session_lines(
    sessions: Sequence[SessionSummary],
    *,
    width: int | None,
    now: datetime,
    paint: Callable[[str, str], str] = styled,
) -> list[str]:
    """Return a heading and one line a session, none longer than ``width``: names are cut for that, ids never.

    Args:
        sessions: the sessions.
        width: columns of the terminal; None cuts nothing.
        now: what "today" means.
        paint: puts a text into a colour.
    """
    columns: list[Column] = [
        ("name", False, [visible(one.name) for one in sessions]),
        ("when", False, [when_text(one.started_at, now) for one in sessions]),
        ("took", True, [span_text(one) for one in sessions]),
        ("exchanges", True, [str(one.exchanges) for one in sessions]),
        ("errors", True, [errors_text(one) for one in sessions]),
        ("size", True, [size_text(one.bytes) for one in sessions]),
    ]
    telling: tuple[tuple[str, list[str], str], ...] = (
        ("status", [str(one.status) for one in sessions], "stopped"),
        ("recovery", [str(one.recovery_state) for one in sessions], "clean"),
        ("cut", [str(one.interrupted) for one in sessions], "0"),
        ("pinned", ["pinned" if one.pinned else "" for one in sessions], ""),
    )
    for heading, cells, usual in telling:
        if any(cell != usual for cell in cells):
            columns.append((heading, False, cells))
    columns.append(("id", False, [one.session_id for one in sessions]))
    for least in _FIRST_TO_GO:
        if width is not None and _least(columns) > width:
            columns = [column for column in columns if column[0] != least]
    widths = [_widest(column) for column in columns]
    widths[0] = _name_width(widths, width)
    rights = [right for _, right, _ in columns]
    head, *rows = zip(*([heading, *cells] for heading, _, cells in columns), strict=True)
    return [paint(row_text(head, widths, rights), "bold"), *(row_text(row, widths, rights) for row in rows)]


def errors_text(session: SessionSummary) -> str:
    """Return how many exchanges went wrong; ``?`` where nobody has looked yet."""
    return str(session.errors) if isinstance(session.errors, int) else "?"


def _widest(column: Column) -> int:
    return max(width_of(column[0]), *map(width_of, column[2]))


def _least(columns: Sequence[Column]) -> int:
    return min(_NAME_READABLE, _widest(columns[0])) + sum(_widest(column) + GAP for column in columns[1:])


def _name_width(widths: Sequence[int], width: int | None) -> int:
    if width is None:
        return widths[0]
    rest = sum(widths[1:]) + GAP * (len(widths) - 1)
    return max(_NAME_LEAST, min(widths[0], _NAME_MOST, width - rest))


def when_text(milliseconds: int, now: datetime) -> str:
    """Write when something began: ``today 10:44``, ``26 Nov 09:00``, ``2025-11-26``."""
    moment = local_time(milliseconds)
    if moment is None:
        return f"@{milliseconds}"
    if moment.date() == now.date():
        return f"today {moment:%H:%M}"
    return f"{moment.day} {moment:%b %H:%M}" if moment.year == now.year else f"{moment:%Y-%m-%d}"


def span_text(session: SessionSummary) -> str:
    """Write how long a session took, in the one or two units that matter; nothing while it goes on."""
    if session.ended_at is None:
        return ""
    seconds = max(0, session.ended_at - session.started_at) / 1000
    for unit, size, smaller in (("d", 86_400, "h"), ("h", 3_600, "m"), ("m", 60, "s")):
        if seconds >= size:
            whole, rest = divmod(seconds, size)
            part = int(rest // {"h": 3_600, "m": 60, "s": 1}[smaller])
            return f"{int(whole)}{unit}{part:02d}{smaller}"
    return f"{seconds:.1f}s" if seconds < 10 else f"{seconds:.0f}s"
