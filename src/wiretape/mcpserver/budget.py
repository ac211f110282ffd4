"""Keeping answers small enough for a model, and saying what was left out and how to get it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from wiretape.model import ExchangeDetail, ExchangeSummary, Message, QueryPage, Value

BUDGET = 24_000
"""Bytes of JSON that an answer may have: some 8,000 tokens, below the 10,000 at which clients warn."""

URL_MAX = 1_000
"""Characters of a URL in a list."""

BODY_MAX = 8_000
"""Bytes of each body in an exchange, so that both and their heads fit."""

HEADER_MAX = 2_000
"""Characters of one header's value in an exchange over budget."""


def size_of(value: Value) -> int:
    """Return the bytes of a value's JSON."""
    return len(msgspec.json.encode(value))


async def page_within(fetch: Callable[[int], Awaitable[QueryPage]], limit: int) -> QueryPage:
    """Fetch a page of at most ``limit`` exchanges that fits the budget; ``nextCursor`` then begins where it was cut."""
    asked = limit
    while True:
        page = _short_urls(await fetch(limit))
        size = size_of(page)
        if size <= BUDGET or limit == 1:
            break
        limit = max(1, min(limit - 1, limit * (BUDGET - 1_000) // size, page.returned - 1))
    if limit == asked or page.next_cursor is None:
        return page
    note = f"The answer's size allows {page.returned} of the {asked} asked for; nextCursor gives what follows."
    return _noted(page, note)


def _short_urls(page: QueryPage) -> QueryPage:
    if all(len(item.url) <= URL_MAX for item in page.items):
        return page
    items = [_short_url(item) for item in page.items]
    note = f"URLs of more than {URL_MAX} characters are cut; proxy_get_exchange gives them whole."
    return _noted(msgspec.structs.replace(page, items=items), note)


def _short_url(item: ExchangeSummary) -> ExchangeSummary:
    if len(item.url) <= URL_MAX:
        return item
    return msgspec.structs.replace(item, url=f"{item.url[:URL_MAX]}... ({len(item.url)} characters)")


def _noted(page: QueryPage, note: str) -> QueryPage:
    notes = [*page.coverage.notes, note]
    return msgspec.structs.replace(page, coverage=msgspec.structs.replace(page.coverage, notes=notes))


async def exchange_within(fetch: Callable[[int], Awaitable[ExchangeDetail]], *, bodies: bool) -> ExchangeDetail:
    """Fetch an exchange, cutting its bodies and then its headers until it fits the budget.

    Args:
        fetch: gives the exchange with at most so many bytes of each body.
        bodies: whether bodies are wanted at all.
    """
    most = BODY_MAX if bodies else 0
    while True:
        detail = await fetch(most)
        if size_of(detail) <= BUDGET or most == 0:
            break
        # Escapes can make a byte six; a body that is cut to nothing is still described by its size.
        most = most // 2 if most > 500 else 0
    if size_of(detail) > BUDGET:
        detail = _short_headers(detail)
    cut = any(side is not None and side.body_truncated for side in (detail.request, detail.response))
    if (bodies and most < BODY_MAX) or cut:
        command = f"wiretape exchange {detail.exchange_id.rpartition('.')[0]} {detail.seq} --body response -o FILE"
        detail = _with_note(detail, f"A body is cut to fit the answer; `{command}` writes it whole.")
    return detail


def _short_headers(detail: ExchangeDetail) -> ExchangeDetail:
    changes: dict[str, Any] = {}
    for name in ("request", "response"):
        side: Message | None = getattr(detail, name)
        if side is not None:
            url = side.url if side.url is None or len(side.url) <= HEADER_MAX else side.url[:HEADER_MAX] + "..."
            headers = [(key, _cut(value)) for key, value in side.headers[:100]]
            changes[name] = msgspec.structs.replace(side, headers=headers, url=url, trailers=side.trailers[:20])
    note = "The heads are cut to fit the answer; `wiretape exchange --json` gives them whole."
    return _with_note(msgspec.structs.replace(detail, **changes), note)


def _cut(value: str) -> str:
    return value if len(value) <= 100 else f"{value[:100]}... ({len(value)} characters)"


def _with_note(detail: ExchangeDetail, note: str) -> ExchangeDetail:
    return msgspec.structs.replace(detail, notes=[*detail.notes, note])
