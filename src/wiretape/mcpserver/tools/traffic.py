"""Tools: live traffic, the newest exchanges of the session that is recorded now or was last."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from pydantic import Field

from wiretape.daemon.values import Cleared
from wiretape.mcpserver import arguments as arg
from wiretape.mcpserver.listing import Exchanges, ExchangeTable, Form, exchanges_within, nothing
from wiretape.mcpserver.one_exchange import shown
from wiretape.mcpserver.tool import Call, Hints, tool
from wiretape.model import Filter, Groups, QueryPage
from wiretape.session.answers.lean import LeanExchange

_SOURCES: Final = {"explicit": ["explicit", "connect"], "transparent": ["transparent"]}


@tool(
    "List live traffic",
    Hints(reads=True),
    aliases={
        "method": "method_filter",
        "url_contains": "url_filter",
        "status_code": "status_filter",
        "hostname_contains": "hostname_filter",
        "source": "source_filter",
    },
)
async def proxy_list_traffic(
    call: Call,
    limit: arg.Limit = 50,
    offset: arg.Offset = 0,
    method_filter: arg.Method = None,
    url_filter: arg.UrlContains = None,
    status_filter: arg.StatusCode = None,
    hostname_filter: arg.HostContains = None,
    source_filter: Annotated[
        Literal["explicit", "transparent"] | None,
        arg.hidden(),
    ] = None,
    from_ts: Annotated[int | None, arg.hidden()] = None,
    to_ts: Annotated[int | None, arg.hidden()] = None,
    text: Annotated[str | None, arg.hidden()] = None,
    sort: Annotated[str | None, arg.hidden()] = None,
    session_id: Annotated[str | None, arg.hidden()] = None,
    filter: arg.HiddenText = None,  # noqa: A002  the name is part of the contract
    since: arg.Since = None,
    until: arg.HiddenText = None,
    count: Annotated[bool, arg.hidden()] = False,
    group_by: Annotated[str | None, arg.hidden()] = None,
    cursor: arg.Cursor = None,
    format: Annotated[Literal["columns", "objects"], arg.hidden()] = "columns",  # noqa: A002  the name is part of the contract
    max_tokens: Annotated[int | None, Field(ge=200, le=50_000), arg.hidden()] = None,
) -> Exchanges | Groups:
    """List the newest exchanges, newest first, from the session recorded now (or last), those in flight too. Takes
    proxy_query_session's arguments as well.
    """
    wanted = Filter(
        method=method_filter,
        url_contains=url_filter,
        status=status_filter,
        host_contains=hostname_filter,
        sources=None if source_filter is None else _SOURCES[source_filter],
        from_ts=from_ts,
        to_ts=to_ts,
        text=text,
        expression=filter,
        since=since,
        until=until,
    )
    return await list_exchanges(
        call,
        wanted,
        session_id=session_id,
        sort=sort,
        limit=limit,
        offset=offset,
        cursor=cursor,
        count=count,
        group_by=group_by,
        form=format,
        max_tokens=max_tokens,
    )


@tool("One exchange", Hints(reads=True))
async def proxy_get_exchange(
    call: Call,
    exchange_id: arg.ExchangeId = None,
    include_body: arg.IncludeBody = True,
    exchange: Annotated[str | None, arg.hidden()] = None,
    session_id: Annotated[str | None, arg.hidden()] = None,
    seq: Annotated[int | None, arg.hidden()] = None,
    headers: Annotated[Literal["lean", "all"], arg.hidden()] = "lean",
    format: Annotated[Literal["lean", "objects"], arg.hidden()] = "lean",  # noqa: A002  the name is part of the contract
) -> LeanExchange:
    """Give one exchange, as proxy_get_session_exchange does."""
    found, number = await arg.one_exchange(
        call, exchange=exchange, session_id=session_id, seq=seq, exchange_id=exchange_id
    )
    return await shown(call, found, number, bodies=include_body, headers=headers, form=format)


@tool("Search live traffic", Hints(reads=True), aliases={"text": "query"})
async def proxy_search_traffic(
    call: Call,
    query: Annotated[str, Field(min_length=1, description="Text to find in URL, headers or decoded bodies")],
    limit: arg.Limit = 20,
    cursor: arg.Cursor = None,
    session_id: Annotated[str | None, arg.hidden()] = None,
    filter: arg.SameExpression = None,  # noqa: A002  the name is part of the contract
    since: arg.Since = None,
    until: arg.HiddenText = None,
    format: arg.Format = "columns",  # noqa: A002  the name is part of the contract
    max_tokens: arg.MaxTokens = None,
) -> Exchanges | Groups:
    """Find live traffic by a text in URL, headers or decoded bodies, newest first. coverage says what could not be
    searched.
    """
    return await list_exchanges(
        call,
        Filter(text=query, expression=filter, since=since, until=until),
        session_id=session_id,
        limit=limit,
        cursor=cursor,
        form=format,
        max_tokens=max_tokens,
    )


@tool("Clear the view of live traffic", Hints(repeats=True))
async def proxy_clear_traffic(call: Call) -> Cleared:
    """Hide what is listed now from proxy_list_traffic and proxy_search_traffic. Nothing is deleted: the exchanges stay
    in the session and proxy_query_session finds them.
    """
    return await call.service.clear_traffic()


async def list_exchanges(
    call: Call,
    wanted: Filter,
    *,
    session_id: str | None,
    sort: str | None = None,
    limit: int = 50,
    offset: int = 0,
    cursor: str | None = None,
    count: bool = False,
    group_by: str | None = None,
    form: Form = "columns",
    max_tokens: int | None = None,
) -> Exchanges | Groups:
    """List exchanges of a session; of the live one, without what was cleared from its view, where none is named.

    With ``group_by`` they are counted instead.
    """
    library, live = call.service.library, session_id is None
    if session_id is None:
        if not await library.count():
            return nothing("proxy_start")
        session_id = await call.service.live_session()
        wanted = call.service.in_view(session_id, wanted)
    found = await library.resolve(session_id)
    if group_by is not None:
        by, veil = group_by, call.veil
        return await library.ask(found, lambda session: session.group(wanted, by, limit, veil=veil))
    # What is since a moment is read from there on.
    order = sort or ("asc" if wanted.since is not None else "desc")

    async def fetch(most: int) -> QueryPage:
        return await library.query(found, wanted, sort=order, limit=most, cursor=cursor, offset=offset, count=count)

    answer = await exchanges_within(
        fetch,
        await library.summary(found),
        called=await library.called(found),
        limit=limit,
        form=form,
        max_tokens=max_tokens,
        first=offset if cursor is None else None,
        veil=call.veil,
    )
    if live and answer.matched == 0 and isinstance(answer, ExchangeTable):
        return msgspec.structs.replace(answer, next="proxy_list_sessions")
    return answer
