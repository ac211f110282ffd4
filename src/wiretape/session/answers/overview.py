"""What is in a session, at a glance: hosts, endpoints, errors with their messages, the slowest."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any, Final, Literal

import msgspec

from wiretape.model import Filter, Lean, Table
from wiretape.secrets.veil import Veil
from wiretape.session.answers.covered import called, missing, unheard
from wiretape.session.answers.tally import Key, Sum, Tally, errors_first, outcome_text, read_times, sample, tally
from wiretape.session.index.endpoints import status_of
from wiretape.session.session import Session

Group = Literal["template", "path"]
_HOSTS: Final = 10
_ENDPOINTS: Final = 25
_ENDPOINTS_OF_FEW: Final = 10
_ERRORS: Final = 12
_SLOWEST: Final = 5
_STATIC: Final = frozenset(
    "avif bmp css eot gif ico jpeg jpg js map mjs mp3 mp4 otf png svg ttf webm webp woff woff2".split()  # noqa: SIM905
)


class Overview(Lean, frozen=True, kw_only=True):
    """A session at a glance. ``left`` of a table says what its rows leave out.

    ``p50ms`` and ``p95ms`` are exact up to 20,000 exchanges and within 2 % above. An error is a status of 400 or more,
    a failed exchange, or an answer that says so itself (``200+errors``). Its ``message`` is what the answer says; in
    brackets is why there is none.
    """

    session: str
    exchanges: int
    start: str = ""
    span: str = ""
    states: dict[str, int] = msgspec.field(default_factory=dict)
    statuses: dict[str, int] = msgspec.field(default_factory=dict)
    hosts: Table | None = None
    endpoints: Table | None = None
    errors: Table | None = None
    slowest: Table | None = None
    complete: bool
    missing: str = ""


def overview(
    session: Session, wanted: Filter | None = None, *, veil: Veil, top: int | None = None, group: Group = "template"
) -> Overview:
    """Return what is in a session.

    Args:
        session: the session.
        wanted: count only exchanges that this filter takes.
        veil: hides secrets.
        top: endpoints that are named at most; None: 25, fewer of a small session.
        group: ``template`` puts paths together that differ in values, ``path`` does not.

    Raises:
        UsageError: the filter means nothing. NotFoundError, StorageError: as ``Session.follow``.
    """
    reach = session.follow()
    chosen = session.chosen(wanted) if wanted is not None and wanted != Filter() else None
    found = tally(session.index, chosen.seqs if chosen is not None else None, by_path=group == "path")
    silent = unheard(session, None if chosen is None else chosen.seqs)
    lacking = " ".join(filter(None, (missing(reach), *(chosen.notes if chosen is not None else ()), silent)))
    if top is None:
        top = min(_ENDPOINTS, max(_ENDPOINTS_OF_FEW, found.exchanges // 3))
    one_host = len({host for _, host in found.endpoints if host}) < 2
    return Overview(
        session=called(session),
        exchanges=found.exchanges,
        start=_iso(found.first_ms),
        span=span_text((found.last_ms or 0) - (found.first_ms or 0)) if found.exchanges else "",
        states=dict(found.states.most_common()),
        statuses=_statuses(found),
        hosts=_hosts(found, veil) if found.exchanges else None,
        endpoints=_endpoints(session, found, veil, top, one_host=one_host),
        errors=_errors(session, found, veil, one_host=one_host),
        slowest=_slowest(found, veil),
        complete=not lacking,
        missing=lacking,
    )


def _statuses(found: Tally) -> dict[str, int]:
    classes: Counter[str] = Counter()
    for (_, outcome), one in found.outcomes.items():
        status = status_of(outcome)
        classes[f"{status // 100}xx" if status else "none"] += one.n
    return dict(sorted(classes.items()))


def _hosts(found: Tally, veil: Veil) -> Table:
    hosts: dict[str, Sum] = {}
    for (_, host), one in found.endpoints.items():
        into = hosts.setdefault(host, Sum())
        into.add(one.n, one.bytes, one.first_seq)
        into.errors += one.errors
    rows: list[list[Any]] = [
        [veil.text(host), one.n, one.errors, round(one.bytes / 1000)]
        for host, one in sorted(hosts.items(), key=lambda item: (-item[1].n, item[0]))
    ]
    left = {"hosts": len(rows) - _HOSTS, "exchanges": sum(row[1] for row in rows[_HOSTS:])}
    return Table(["host", "n", "errors", "kB"], rows[:_HOSTS], left if len(rows) > _HOSTS else {})


def _endpoints(session: Session, found: Tally, veil: Veil, top: int, *, one_host: bool) -> Table | None:
    every = sorted(found.endpoints.items(), key=lambda item: (-item[1].n, item[1].first_seq))
    shown = [item for item in every if not is_static(item[0])]
    read_times(session.index, found, [key for key, _ in shown[:top]])
    rows = [
        without_host(
            [
                veil.text(key[0]),
                veil.text(key[1]),
                one.n,
                _ms(one.quantile(0.5)),
                _ms(one.quantile(0.95)),
                one.slowest_seq,
            ],
            one_host,
        )
        for key, one in shown[:top]
    ]
    left: dict[str, int] = {}
    if shown[top:]:
        left = {"endpoints": len(shown) - top, "exchanges": sum(one.n for _, one in shown[top:])}
    static = [one.n for key, one in every if is_static(key)]
    if static:
        left["static"] = sum(static)
    if not rows and not left:
        return None
    return Table(without_host(["endpoint", "host", "n", "p50ms", "p95ms", "slowestSeq"], one_host), rows, left)


def _errors(session: Session, found: Tally, veil: Veil, *, one_host: bool) -> Table | None:
    every = errors_first(found.outcomes.items())
    if not every:
        return None
    messages = sample(session.index, [one.first_seq for _, one in every[:_ERRORS]])
    rows = []
    for ((endpoint, host), outcome), one in every[:_ERRORS]:
        row = without_host(
            [veil.text(endpoint), veil.text(host), outcome_text(outcome), one.n, one.first_seq], one_host
        )
        message = messages.get(one.first_seq)
        rows.append([*row, veil.text(message)] if message else row)
    left = {"kinds": len(every) - _ERRORS, "exchanges": sum(one.n for _, one in every[_ERRORS:])}
    columns = without_host(["endpoint", "host", "status", "n", "sampleSeq", "message"], one_host)
    return Table(columns, rows, left if len(every) > _ERRORS else {})


def _slowest(found: Tally, veil: Veil) -> Table | None:
    rows: list[list[Any]] = [[seq, _ms(ns), veil.text(key[0])] for ns, seq, key in found.slowest[:_SLOWEST]]
    return Table(["seq", "ms", "endpoint"], rows) if rows else None


def without_host(row: list[Any], one_host: bool) -> list[Any]:
    """Leave the second column out where there is only one host."""
    return [row[0], *row[2:]] if one_host else row


def is_static(key: Key) -> bool:
    """Return whether an endpoint gives files of a page: images, scripts, styles, fonts."""
    method, _, path = key[0].partition(" ")
    last = path.rpartition("/")[2]
    return method in {"GET", "HEAD"} and "." in last and last.rpartition(".")[2].lower() in _STATIC


def _ms(ns: float | None) -> int | None:
    return None if ns is None else round(ns / 1e6)


def _iso(ms: int | None) -> str:
    if ms is None:
        return ""
    try:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(ms // 1000))
    except (OverflowError, ValueError, OSError):
        return ""


def span_text(ms: int) -> str:
    """Write how long something took for people: ``0.8s``, ``29m05s``, ``3h02m``, ``2d04h``."""
    seconds = max(0, ms) / 1000
    if seconds < 59.95:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    for size, unit, small, smaller in ((86_400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s")):
        if whole >= size:
            return f"{whole // size}{unit}{whole % size // small:02}{smaller}"
    return f"{whole}s"
