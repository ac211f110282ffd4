"""Lists of exchanges for a model: columns said once, the host said once, never over the tokens that were allowed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Literal

import msgspec
from msgspec import UNSET, UnsetType

from wiretape.mcpserver.lean import lean
from wiretape.model import Coverage, ExchangeSummary, Lean, QueryPage, SessionSummary
from wiretape.secrets.veil import UNVEILED, Veil
from wiretape.session.query.coverage import veiled_coverage

TOKENS: Final = 2_000
"""What a list may cost that is not told otherwise; a token is four bytes of JSON."""

OBJECT_TOKENS: Final = 6_000
"""The same for rows as objects, which cost five times as much."""

URL_MAX: Final = 200
"""Characters of a URL's path in a list."""

_NOTE_MAX: Final = 240
_NOTES_MAX: Final = 5
_REFUSED_MAX: Final = 3
"""How much coverage a list of exchanges is worth: all of it could be more than the list."""

_COLUMNS: Final = ["seq", "+s", "method", "path", "status", "ms", "bytes", "type"]

Form = Literal["columns", "objects"]


class ExchangeTable(Lean, frozen=True, kw_only=True):
    """Exchanges as rows.

    ``start`` is when the session began, ``+s`` the seconds since, ``origin`` where all of them went, ``bytes`` the size
    of the response body on the wire. ``left`` counts what matched and is neither on this page nor before it.
    ``complete`` is told where nothing is missing, else ``coverage`` says what is.
    """

    session: str | None = None
    start: str | None = None
    origin: str | None = None
    columns: list[str]
    rows: list[list[Any]]
    matched: int | UnsetType
    matched_at_least: int | UnsetType = UNSET
    returned: int
    next_cursor: str | None = None
    left: dict[str, int] = msgspec.field(default_factory=dict)
    in_flight: int | None = None
    complete: bool = False
    coverage: Coverage | None = None
    next: str | None = None


class ExchangeObjects(Lean, frozen=True, kw_only=True):
    """Exchanges as objects, as the command line gives them under ``--json``."""

    session_id: str
    items: list[ExchangeSummary]
    matched: int | UnsetType
    matched_at_least: int | UnsetType = UNSET
    returned: int
    next_cursor: str | None = None
    left: dict[str, int] = msgspec.field(default_factory=dict)
    in_flight: int | None = None
    complete: bool = False
    coverage: Coverage | None = None
    notes: list[str] = msgspec.field(default_factory=list)


Exchanges = ExchangeTable | ExchangeObjects


def tokens(value: Any) -> int:
    """Return what a value costs a model: a token for four bytes of its JSON."""
    return -(-_size(lean(value)) // 4)


def _size(plain: Any) -> int:
    return len(json.dumps(plain, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass"))


def nothing(next_call: str) -> ExchangeTable:
    """Return the list of a daemon that has recorded nothing."""
    return ExchangeTable(matched=0, returned=0, columns=_COLUMNS, rows=[], complete=True, next=next_call)


async def exchanges_within(
    fetch: Callable[[int], Awaitable[QueryPage]],
    session: SessionSummary,
    *,
    called: str,
    limit: int,
    form: Form = "columns",
    max_tokens: int | None = None,
    first: int | None = 0,
    veil: Veil = UNVEILED,
) -> Exchanges:
    """Fetch a page of at most ``limit`` exchanges that costs no more than ``max_tokens``.

    Args:
        fetch: gives a page of so many; ``nextCursor`` of a shorter one begins where it was cut.
        session: whose exchanges they are.
        called: the session's name, where that is enough to find it, else its id.
        limit: exchanges at most.
        form: rows as lists under one line of columns, or as objects.
        max_tokens: None for the usual ones.
        first: how many were left out before these; None where that is not known.
        veil: what URLs are shown through, before they are cut.
    """
    most = 4 * (max_tokens or (TOKENS if form == "columns" else OBJECT_TOKENS)) - len('{"status":"success",}')
    page = await _veiled(await fetch(limit), veil)
    while True:
        answer = _told(page, session, called, form, first)
        size = _size(lean(answer))
        if size <= most or page.returned == 0:
            break
        if page.returned == 1:
            answer = _shortest(answer, most)
            break
        fitting = _fitting(answer, size - most)
        page = await _veiled(await fetch(min(max(fitting, 1), page.returned - 1)), veil)
    return answer


async def _veiled(page: QueryPage, veil: Veil) -> QueryPage:
    if veil is UNVEILED:
        return page

    def hidden() -> QueryPage:
        items = [msgspec.structs.replace(item, url=veil.text(item.url)) for item in page.items]
        return msgspec.structs.replace(page, items=items, coverage=veiled_coverage(page.coverage, veil))

    return await asyncio.to_thread(hidden)


def _fitting(answer: Exchanges, excess: int) -> int:
    """Return how many of the rows remain when so many bytes are saved; a cursor and counts take 200 more."""
    rows: Sequence[Any] = answer.rows if isinstance(answer, ExchangeTable) else answer.items
    saved = -200
    for count in range(len(rows), 0, -1):
        if saved >= excess:
            return count
        saved += _size(lean(rows[count - 1])) + 1
    return 0


def _shortest(answer: Exchanges, most: int) -> Exchanges:
    """Leave out what else can be, where a single row is too much."""
    bare = _bare(answer.coverage)
    changes: tuple[dict[str, Any], ...] = ({"notes": []}, {"coverage": bare}, {"rows": [], "items": []})
    for change in changes:
        fields = {key: value for key, value in change.items() if key in answer.__struct_fields__}
        answer = msgspec.structs.replace(answer, **fields)
        if _size(lean(answer)) <= most:
            break
    return answer


def _bare(coverage: Coverage | None) -> Coverage | None:
    """Keep only the numbers."""
    if coverage is None:
        return None
    return msgspec.structs.replace(coverage, notes=[], refused_requests=msgspec.UNSET)


def _told(page: QueryPage, session: SessionSummary, called: str, form: Form, first: int | None) -> Exchanges:
    left = page.total - page.returned - first if first is not None else 0
    whole = is_complete(page.coverage)
    said: dict[str, Any] = {
        "matched": page.matched,
        "matched_at_least": page.matched_at_least,
        "returned": page.returned,
        "next_cursor": page.next_cursor,
        "left": {"exchanges": left} if left > 0 and page.next_cursor is not None else {},
        "in_flight": page.coverage.in_flight or (0 if session.status == "active" else None),
        "complete": whole,
        "coverage": None if whole else short_coverage(page.coverage),
    }
    if form == "objects":
        items, cut = _short_urls(page.items)
        notes = [f"URLs over {URL_MAX} characters are cut; proxy_get_session_exchange gives them whole."] if cut else []
        return ExchangeObjects(items=items, session_id=session.session_id, notes=notes, **said)
    return _table(page.items, session, called, said)


def is_complete(coverage: Coverage) -> bool:
    """Return whether nothing is missing from an answer: what is still running is listed and counted beside it."""
    return not (coverage.dropped or coverage.damaged or coverage.notes or coverage.refused)


def short_coverage(coverage: Coverage) -> Coverage:
    """Return as much of what is missing as belongs beside a list; ``proxy_get_session`` has the rest."""
    notes = [_cut(note, _NOTE_MAX) for note in coverage.notes[:_NOTES_MAX]]
    refused = coverage.refused_requests
    if isinstance(refused, list):
        refused = [
            msgspec.structs.replace(one, request=_cut(one.request, 120), error=_cut(one.error, 120))
            for one in refused[:_REFUSED_MAX]
        ]
    return msgspec.structs.replace(coverage, notes=notes, refused_requests=refused)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _short_urls(items: list[ExchangeSummary]) -> tuple[list[ExchangeSummary], bool]:
    cut = any(len(item.url) > URL_MAX for item in items)
    return [msgspec.structs.replace(item, url=elided(item.url)) for item in items], cut


def elided(text: str, most: int = URL_MAX) -> str:
    """Cut a text in the middle: the beginning and the end of a path tell most."""
    if len(text) <= most:
        return text
    end = most // 3
    return f"{text[: most - end - 1]}…{text[-end:]}"


def _table(items: list[ExchangeSummary], session: SessionSummary, called: str, said: dict[str, Any]) -> ExchangeTable:
    places = [split_url(item.url) for item in items]
    origins = {origin for origin, _ in places}
    one = origins.pop() if len(origins) == 1 else None
    columns = list(_COLUMNS) if one is not None or not items else [*_COLUMNS[:3], "origin", *_COLUMNS[3:]]
    rows = [
        _row(item, origin if one is None else None, path, session.started_at)
        for item, (origin, path) in zip(items, places, strict=True)
    ]
    return ExchangeTable(session=called, start=iso(session.started_at), origin=one, columns=columns, rows=rows, **said)


def split_url(url: str) -> tuple[str, str]:
    """Split a recorded URL into origin and path with query; one without a scheme is a path."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return "", url
    end = min((place for place in map(rest.find, "/?#") if place >= 0), default=len(rest))
    return f"{scheme}://{rest[:end]}", rest[end:] or "/"


def iso(milliseconds: int) -> str:
    """Write a time as ISO 8601 in UTC."""
    try:
        moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (OverflowError, OSError, ValueError):
        return f"@{milliseconds}"
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z").replace(".000Z", "Z")


def _row(item: ExchangeSummary, origin: str | None, path: str, start: int) -> list[Any]:
    """Return one exchange's cells; those at the end that say nothing are left out."""
    kind = (item.response_content_type or "").partition(";")[0].strip().rpartition("/")[2].lower()
    size = item.response_body_size
    if item.messages:
        kind = f"{item.messages} messages"
    cells: list[Any] = [
        item.seq,
        round((item.timestamp - start) / 1000, 3),
        item.method,
        *([elided(origin, 100)] if origin is not None else []),
        elided(path),
        status_cell(item),
        None if item.duration is None else round(item.duration, 1 if item.duration < 10 else None),
        size or (0 if kind and not item.messages else None),
        _cut(kind, 40) or None,
    ]
    while cells[-1] is None:
        cells.pop()
    return cells


def status_cell(item: ExchangeSummary) -> int | str:
    """Return an exchange's status code; with the state it ended in, or alone that, where that is not ``complete``.

    ``200+errors`` is an answer that says itself that something went wrong.
    """
    if item.state == "complete" and item.status_code is not None:
        return f"{item.status_code}+errors" if item.error_in_body is True else item.status_code
    return item.state if item.status_code is None else f"{item.status_code} {item.state}"
