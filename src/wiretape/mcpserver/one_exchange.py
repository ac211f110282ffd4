"""One exchange over MCP: lean, within its budget, with the call that gets what did not fit."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from wiretape.mcpserver.budget import BUDGET
from wiretape.mcpserver.tool import Call, compact
from wiretape.session.answers.lean import Headers, How, LeanExchange, fitted

OBJECT_BODY: Final = 8_000
"""Characters of each body in an exchange as interface.md has it."""
Form = Literal["lean", "objects"]


async def shown(call: Call, session_id: str, seq: int, *, bodies: bool, headers: Headers, form: Form) -> LeanExchange:
    """Return an exchange as a model reads it.

    Args:
        call: who asks.
        session_id: the exchange's session.
        seq: its number there.
        bodies: show them.
        headers: ``all`` lists every header whole.
        form: ``objects`` shows bodies as text or base64, and every header.

    Raises:
        NotFoundError: there is no such exchange.
    """
    how = How(headers=headers)
    if form == "objects":
        how = How(headers="all", objects=True, body=OBJECT_BODY)
    if not bodies:
        how = msgspec.structs.replace(how, body=0)
    answer = await call.service.library.ask(session_id, lambda s: fitted(s, seq, how, BUDGET, veil=call.veil))
    return msgspec.structs.replace(answer, next=_next(answer))


def _next(answer: LeanExchange) -> str | None:
    """Return the one call that gets what is not in the answer, where that is obvious."""
    for side, message in (("response", answer.response), ("request", answer.request)):
        if message is None or not (message.body_try or message.body_left):
            continue
        wanted: dict[str, str | int] = {"exchange": answer.exchange}
        if side == "request":
            wanted["side"] = side
        if message.body_try:
            wanted["path"] = message.body_try
        else:
            wanted["offset"] = len(message.body or "")
        return f"proxy_read_body {compact(wanted)}"
    return None
