"""Tools: searching a session, and asking it in SQL."""

from __future__ import annotations

import threading
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, UnsetType
from pydantic import Field

from wiretape.mcpserver import arguments as arg
from wiretape.mcpserver.budget import BUDGET, size_of
from wiretape.mcpserver.tool import Call, Hints, tool
from wiretape.model import Filter, Lean
from wiretape.session.answers.search import SearchCoverage, SearchItem, SearchPage, search
from wiretape.session.answers.sql import SqlAnswer, run_sql
from wiretape.session.session import Session

_COLUMNS = ["seq", "method", "status", "url", "in", "snippet", "encoding", "also"]


class Searched(Lean, frozen=True):
    """What a search found: ``columns`` and ``rows``, or ``items`` where objects were asked for."""

    returned: int
    coverage: SearchCoverage
    columns: list[str] = msgspec.field(default_factory=list)
    rows: list[list[Any]] = msgspec.field(default_factory=list)
    items: list[SearchItem] = msgspec.field(default_factory=list)
    matched: int | UnsetType = UNSET
    matched_at_least: int | UnsetType = UNSET
    next_cursor: str | None = None


@tool("Search a session", Hints(reads=True))
async def proxy_search_session_bodies(
    call: Call,
    session_id: arg.SessionId,
    text: Annotated[str, Field(min_length=1, description="Text, or with regex an RE2 expression")],
    regex: Annotated[bool, Field(description="The text is a regular expression")] = False,
    search_in: Annotated[Literal["response", "request", "both"], Field(description="Whose headers and body")] = "both",
    case_sensitive: Annotated[bool, Field(description="Case differs")] = False,
    hostname_contains: arg.HostContains = None,
    url_contains: arg.UrlContains = None,
    method: arg.Method = None,
    status_code: arg.StatusCode = None,
    content_type_contains: Annotated[str | None, Field(description="Only bodies of this type, no headers")] = None,
    filter: Annotated[str | None, Field(description="Only exchanges of a filter: ~m POST & ~c 5xx")] = None,  # noqa: A002
    since: Annotated[str | None, Field(description="mark, seq, time or -5m")] = None,
    until: Annotated[str | None, arg.hidden()] = None,
    limit: Annotated[int, Field(ge=1, le=100, description="Exchanges at most")] = 10,
    max_scan: Annotated[int | None, Field(ge=1, description="Exchanges to look at; default all")] = None,
    context_chars: Annotated[int, Field(ge=20, le=500, description="Characters around a hit")] = 40,
    cursor: arg.Cursor = None,
    count: Annotated[bool, Field(description="Exact number of matches, however long it takes")] = False,
    format: Annotated[Literal["columns", "objects"], Field(description="How rows are given")] = "columns",  # noqa: A002
) -> Searched:
    """Find a text in URLs, headers, bodies and messages, oldest first; each hit says where it is. A text is tried in
    every encoding: percent, base64, JSON escapes, JWT, hex. `coverage` names what could not be searched.
    """
    wanted = Filter(
        method=method,
        host_contains=hostname_contains,
        url_contains=url_contains,
        status=status_code,
        expression=filter,
        since=since,
        until=until,
    )

    def ask(most: int) -> Any:
        return lambda session: search(
            session,
            text,
            veil=call.veil,
            regex=regex,
            case_sensitive=case_sensitive,
            limit=most,
            cursor=cursor,
            count=count,
            max_scan=max_scan,
            sides=search_in,
            wanted=wanted,
            content_type=content_type_contains,
            context=context_chars,
        )

    while True:
        page: SearchPage = await call.service.library.ask(session_id, ask(limit))
        answer = _answer(page, objects=format == "objects")
        if size_of(answer) <= BUDGET or limit == 1:
            return answer
        limit = max(1, limit * 2 // 3)


@tool("Ask a session in SQL", Hints(reads=True))
async def proxy_sql(
    call: Call,
    session_id: arg.SessionId,
    query: Annotated[str, Field(min_length=1, description="One SELECT, in SQLite's SQL")],
    limit: Annotated[int, Field(ge=1, le=1000, description="Rows at most")] = 100,
    seconds: Annotated[float, Field(gt=0, le=60, description="How long it may take")] = 10,
) -> SqlAnswer:
    """Read-only SQL over exchanges(seq, timestamp, method, host, url, status, state, ms, request_size, response_size,
    content_type, error, ...), headers(seq, side, name, value), messages, marks, connections. No body text.
    """
    ended = threading.Event()

    def ask(session: Session) -> SqlAnswer:
        return run_sql(session, query, veil=call.veil, rows=limit, seconds=seconds, cancelled=ended.is_set)

    try:
        answer = await call.service.library.ask(session_id, ask)
    finally:
        ended.set()  # a call that was cancelled leaves its thread behind
    while size_of(answer) > BUDGET and len(answer.rows) > 1:
        rows = answer.rows[: len(answer.rows) * 2 // 3]
        answer = msgspec.structs.replace(answer, rows=rows, returned=len(rows), truncated=True)
    return answer


def _answer(page: SearchPage, *, objects: bool) -> Searched:
    known = {
        name: getattr(page, name) for name in ("returned", "coverage", "matched", "matched_at_least", "next_cursor")
    }
    if objects:
        return Searched(**known, items=page.items)
    return Searched(**known, columns=_COLUMNS, rows=[_row(item) for item in page.items])


def _row(item: SearchItem) -> list[Any]:
    row = [item.seq, item.method, item.status_code, item.url, item.in_, item.snippet]
    extra = [None if item.encoding == "plain" else item.encoding, item.also or None]
    while extra and extra[-1] is None:
        extra.pop()
    return [*row, *extra]
