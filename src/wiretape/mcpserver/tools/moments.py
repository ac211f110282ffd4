"""Tools: points in a recording, and waiting for what follows them."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated, Final

import msgspec
from pydantic import Field

from wiretape.filters.parse import parse
from wiretape.mcpserver import arguments as arg
from wiretape.mcpserver.listing import ExchangeTable
from wiretape.mcpserver.tool import Call, Hints, tool
from wiretape.mcpserver.tools.traffic import list_exchanges
from wiretape.model import Filter, Lean, MarkSet, QueryPage

_POLL: Final = 0.05
_LIMIT: Final = 50


class Waited(Lean, frozen=True, kw_only=True):
    """What was waited for. ``found`` says whether as many came as were asked for before the time was over."""

    found: bool
    waited_ms: int
    exchanges: ExchangeTable


@tool("Mark this moment", Hints())
async def proxy_mark(
    call: Call,
    label: Annotated[str, Field(min_length=1, description="A word")],
    session_id: Annotated[str | None, arg.hidden()] = None,
) -> MarkSet:
    """Label this moment of the live session, before an action; since=LABEL lists what followed."""
    return await call.service.mark(label, session_id)


@tool("Wait for traffic", Hints(reads=True))
async def proxy_wait_for(
    call: Call,
    since: arg.Since = None,
    filter: arg.SameExpression = None,  # noqa: A002  the name is part of the contract
    count: Annotated[int, Field(ge=1, le=1000, description="Matches that ended")] = 1,
    idle_ms: Annotated[int, Field(ge=0, le=60_000, description="Quiet after")] = 500,
    timeout_ms: Annotated[int, Field(ge=0, le=300_000, description="At most")] = 10_000,
    session_id: Annotated[str | None, arg.hidden()] = None,
) -> Waited:
    """Wait until exchanges match and traffic is quiet, and give them; since defaults to now."""
    found = await arg.session_or_live(call, session_id)
    begun = time.monotonic()
    if filter is not None:
        parse(filter)  # as it was written: an error points into it
    since = since or str(time.time_ns() // 1_000_000)
    wanted = Filter(expression=filter, since=since)
    enough = await _wait(call, found, wanted, count=count, idle=idle_ms / 1000, until=begun + timeout_ms / 1000)
    listed = await list_exchanges(call, wanted, session_id=found, limit=_LIMIT)
    assert isinstance(listed, ExchangeTable)
    return Waited(found=enough, waited_ms=round((time.monotonic() - begun) * 1000), exchanges=listed)


async def _wait(call: Call, session_id: str, wanted: Filter, *, count: int, idle: float, until: float) -> bool:
    """Return whether so many matched and ended, and nothing moved for ``idle`` seconds after that, before ``until``."""
    ended = msgspec.structs.replace(wanted, expression=_ended(wanted.expression))
    seen: tuple[int, int, int] | None = None
    moved = time.monotonic()
    while True:
        page: QueryPage = await call.service.library.query(session_id, ended, limit=1)
        now = (page.total, page.coverage.through_seq, page.coverage.in_flight)
        if now != seen:
            seen, moved = now, time.monotonic()
        quiet = time.monotonic() - moved >= idle
        if page.total >= count and quiet:
            return True
        if time.monotonic() >= until:
            return page.total >= count
        await asyncio.sleep(_POLL)


def _ended(expression: str | None) -> str:
    return "!~st inFlight" if expression is None else f"({expression}) & !~st inFlight"
