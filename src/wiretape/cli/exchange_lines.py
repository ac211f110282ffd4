"""Exchanges as a person reads them: one line each at any width, and what is the same for all said once."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final

from wiretape.cli.output import (
    local_time,
    print_table,
    shorten,
    size_text,
    styled,
    time_text,
    visible,
    width_of,
    write_lines,
)
from wiretape.cli.output import terminal_width as _terminal_width

if TYPE_CHECKING:
    from wiretape.model import ExchangeSummary

COLUMNS: Final = [
    ("seq", "right"),
    ("time", "left"),
    ("method", "left"),
    ("status", "right"),
    ("state", "left"),
    ("ms", "right"),
    ("up", "right"),
    ("down", "right"),
    ("url", "left"),
]
"""What a program that reads lines gets: every cell whole."""

_STATES: Final = {"inFlight": "...", "interrupted": "cut", "aborted": "left", "failed": "502*", "dropped": "drop"}
"""What stands in the place of a status for an exchange that has none; a server that failed makes a 502 of ours."""

_NARROWEST: Final = 16
"""Characters that a path gets at least, however narrow the terminal."""


def print_exchanges(items: Sequence[ExchangeSummary], *, empty: str, full: bool = False) -> None:
    """Print exchanges, for a terminal as one line each, else as cells with tabs between.

    Args:
        items: the exchanges.
        empty: what to say where there are none.
        full: do not shorten URLs.
    """
    if not sys.stdout.isatty() or not items:
        print_table(COLUMNS, map(_cells, items), empty=empty)
        return
    write_lines(exchange_lines(items, width=None if full else _terminal_width()))


def _cells(item: ExchangeSummary) -> list[str]:
    return [
        str(item.seq),
        time_text(item.timestamp),
        item.method,
        "-" if item.status_code is None else str(item.status_code),
        item.state,
        "-" if item.duration is None else f"{item.duration:.1f}",
        size_text(item.request_body_size),
        _body_text(item),
        item.url,
    ]


def exchange_lines(
    items: Sequence[ExchangeSummary], *, width: int | None, paint: Callable[[str, str], str] = styled
) -> list[str]:
    """Return a heading and one line an exchange, none longer than ``width``; None shortens nothing.

    Args:
        items: the exchanges.
        width: columns of the terminal.
        paint: puts a text into a colour.
    """
    times = [local_time(item.timestamp) for item in items]
    places = [_place(item.url) for item in items]
    origins = {origin for origin, _ in places}
    days = {moment.date() for moment in times if moment is not None}
    seq = max(5, *(len(str(item.seq)) for item in items))
    method = max(6, *(min(len(visible(item.method)), 9) for item in items))
    clock = "%H:%M:%S" if len(days) < 2 else "%m-%d %H:%M:%S"
    clocks = [_clock(item, moment, clock) for item, moment in zip(items, times, strict=True)]
    wide = max(len(text) for text in clocks)
    room = None if width is None else max(_NARROWEST, width - (seq + wide + method + 30))
    what = f"path on {visible(_without_scheme(*origins))}" if len(origins) == 1 else "host and path"
    for day in days if len(days) == 1 else ():
        dated = [f"{what}, {form}" for form in (day.isoformat(), f"{day.day} {day:%b}")]
        what = next((text for text in dated if room is None or width_of(text) <= room), what)
    heading = f"{'seq':>{seq}}  {'time':<{wide}}  {'method':<{method}} {'':4} {'took':>8} {'body':>9}  "
    lines = [paint(heading + shorten(what, room), "bold")]
    for item, when, (origin, path) in zip(items, clocks, places, strict=True):
        shown = path if len(origins) == 1 else _without_scheme(origin) + path
        lines.append(
            f"{item.seq:>{seq}}  {when:<{wide}}  {shorten(visible(item.method), method):<{method}} "
            f"{paint(f'{status_text(item):<4}', status_colour(item))} {took_text(item.duration):>8} "
            f"{_body_text(item):>9}  {shorten(visible(shown), room)}"
        )
    return lines


def one_line(item: ExchangeSummary, *, width: int | None, paint: Callable[[str, str], str] = styled) -> str:
    """Return a single exchange as a line of its own, with its host: for traffic as it comes."""
    head = (
        f"{item.seq:>5}  {_clock(item, local_time(item.timestamp), '%H:%M:%S')}  {shorten(visible(item.method), 9):<6} "
    )
    status = f"{status_text(item):<4}"
    tail = f" {took_text(item.duration):>8} {_body_text(item):>9}  "
    room = None if width is None else max(_NARROWEST, width - len(head) - len(status) - len(tail))
    return head + paint(status, status_colour(item)) + tail + shorten(visible(item.url), room)


def _body_text(item: ExchangeSummary) -> str:
    """Return the size of a response's body, or how many messages a WebSocket has had, in nine characters."""
    if not item.messages:
        return size_text(item.response_body_size)
    return f"{item.messages} msg" if item.messages < 100_000 else f"{item.messages / 1000:.0f}k msg"


def _clock(item: ExchangeSummary, moment: datetime | None, form: str) -> str:
    return f"@{item.timestamp}" if moment is None else moment.strftime(form)


def _place(url: str) -> tuple[str, str]:
    scheme, separator, rest = url.partition("://")
    if not separator:
        return "", url
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host}", slash + path or "/"


def _without_scheme(origin: str) -> str:
    return origin.removeprefix("https://").removeprefix("http://")


def status_text(item: ExchangeSummary) -> str:
    """Return a status code, or what happened where there is none: ``...``, ``cut``, ``left``, ``502*``.

    ``!`` behind a code: the answer says itself that it failed. ``*``: the exchange did not complete.
    """
    if item.status_code is None:
        if item.state == "failed" and "timeout" in (item.error or ""):
            return "504*"
        return _STATES.get(item.state, item.state[:4])
    if item.state != "complete":
        return f"{item.status_code}*"
    return f"{item.status_code}!" if item.error_in_body is True else str(item.status_code)


def status_colour(item: ExchangeSummary) -> str:
    """Return the colour of a status: failures red, 4xx yellow, 3xx cyan, what went well dim."""
    code = item.status_code
    if item.state in {"failed", "interrupted", "aborted"} or (code is not None and code >= 500):
        return "red"
    if code is None:
        return "bold"
    if code >= 400 or status_text(item).endswith("!"):
        return "yellow"
    return "cyan" if 300 <= code < 400 else "dim"


def took_text(milliseconds: float | None) -> str:
    """Write a duration in at most eight characters."""
    if milliseconds is None:
        return ""
    if milliseconds < 10_000:
        return f"{milliseconds:.0f} ms"
    seconds = milliseconds / 1000
    return f"{seconds:.1f} s" if seconds < 1000 else f"{seconds / 3600:.1f} h" if seconds < 3.6e6 else "> 1000 h"
