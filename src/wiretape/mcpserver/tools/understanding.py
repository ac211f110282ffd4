"""Tools that answer questions about what was recorded."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from wiretape.mcpserver import arguments as arg
from wiretape.mcpserver.tool import Call, Hints, tool
from wiretape.model import Filter
from wiretape.session.answers.overview import Overview, overview


@tool("What is in a session", Hints(reads=True))
async def proxy_session_overview(
    call: Call,
    session_id: arg.SessionId,
    hostname_contains: arg.HostContains = None,
    top: Annotated[int | None, Field(ge=1, le=200, description="Endpoints to name")] = None,
    group: Annotated[Literal["template", "path"], Field(description="path: tell values in paths apart")] = "template",
) -> Overview:
    """Begin here: hosts, endpoints by path template with durations, errors with their messages (200+errors: the answer
    says so itself), slowest. `left` is what rows leave out.
    """
    wanted = Filter(host_contains=hostname_contains)
    return await call.service.library.ask(
        session_id, lambda session: overview(session, wanted, veil=call.veil, top=top, group=group)
    )
