"""Keeping answers small enough for a model, and saying what was left out and how to get it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from wiretape.model import ExchangeDetail, Message, Value

BUDGET = 24_000
"""Bytes of JSON that an answer may have: some 8,000 tokens, below the 10,000 at which clients warn."""

BODY_MAX = 8_000
"""Bytes of each body in an exchange, so that both and their heads fit."""

HEADER_MAX = 2_000
"""Characters of one header's value in an exchange over budget."""


def size_of(value: Value) -> int:
    """Return the bytes of a value's JSON."""
    return len(msgspec.json.encode(value))


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
