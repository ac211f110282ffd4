"""Tools: live traffic, the newest exchanges of the session that is recorded now or was last."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from pydantic import Field

from wiretape.daemon.values import Cleared
from wiretape.mcpserver import arguments as arg
from wiretape.mcpserver.budget import exchange_within, page_within
from wiretape.mcpserver.results import Traffic
from wiretape.mcpserver.tool import Call, Hints, tool
from wiretape.model import ExchangeDetail, Filter, QueryPage

_SOURCES: Final = {"explicit": ["explicit", "connect"], "transparent": ["transparent"]}


@tool("List live traffic", Hints(reads=True))
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
        Field(description="How the client came: to a proxy (CONNECT too), or with TLS straight to the port"),
    ] = None,
    cursor: arg.Cursor = None,
) -> Traffic:
    """List the newest exchanges of the proxy, newest first, from the session recorded now (or last). Includes what is
    in flight, leaves out what proxy_clear_traffic hid. Other sessions: proxy_query_session.
    """
    wanted = Filter(
        method=method_filter,
        url_contains=url_filter,
        status=arg.status_text(status_filter),
        host_contains=hostname_filter,
        sources=None if source_filter is None else _SOURCES[source_filter],
    )
    return await _traffic(call, wanted, limit, offset, cursor)


@tool("One exchange", Hints(reads=True))
async def proxy_get_exchange(
    call: Call, exchange_id: arg.ExchangeId, include_body: arg.IncludeBody = True
) -> ExchangeDetail:
    """Give one exchange whole: request, response, headers in their order and case, bodies decoded, timings, TLS.
    Big bodies are cut; the notes then say how to get them whole.
    """

    async def fetch(most: int) -> ExchangeDetail:
        return await call.service.exchange_by_id(exchange_id, max_body=most)

    return await exchange_within(fetch, bodies=include_body)


@tool("Search live traffic", Hints(reads=True))
async def proxy_search_traffic(
    call: Call,
    query: Annotated[str, Field(min_length=1, description="Text to find in URL, headers or decoded bodies")],
    limit: arg.Limit = 20,
    cursor: arg.Cursor = None,
) -> Traffic:
    """Find live traffic by a text in URL, headers or decoded bodies, newest first. `coverage` says what was searched
    and what could not be.
    """
    return await _traffic(call, Filter(text=query), limit, 0, cursor)


@tool("Clear the view of live traffic", Hints(repeats=True))
async def proxy_clear_traffic(call: Call) -> Cleared:
    """Hide what is listed now from proxy_list_traffic and proxy_search_traffic. Nothing is deleted: the exchanges stay
    in the session and proxy_query_session finds them.
    """
    return await call.service.clear_traffic()


async def _traffic(call: Call, wanted: Filter, limit: int, offset: int, cursor: str | None) -> Traffic:
    session_id = ""

    async def fetch(most: int) -> QueryPage:
        nonlocal session_id
        session_id, page = await call.service.traffic(wanted, limit=most, offset=offset, cursor=cursor)
        return page

    page = await page_within(fetch, limit)
    return Traffic(session_id=session_id, **msgspec.structs.asdict(page))
