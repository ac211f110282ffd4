"""Tools: what is carried away of a recording, and what must not be."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from wiretape.mcpserver import arguments as arg
from wiretape.mcpserver.tool import Call, Hints, tool
from wiretape.session.answers.secrets import SecretsFound, find_secrets


@tool("Find secrets", Hints(reads=True))
async def proxy_find_secrets(
    call: Call,
    session_id: arg.SessionId,
    kinds: Annotated[list[str] | None, Field(description='Only these, such as "jwt", "password", "email"')] = None,
    custom: Annotated[list[str] | None, Field(description="Further regular expressions (RE2)")] = None,
) -> SecretsFound:
    """List secrets and e-mail addresses of a session: kind, handle, how often, where; never the values. Handles
    {{kind:id}} stand for them in all answers and can be arguments. To share without them: proxy_export.
    """
    known = call.service.secrecy.veil.known
    return await call.service.library.ask(
        session_id,
        lambda session: find_secrets(session, known, kinds=kinds, custom=custom or (), progress=call.progress),
    )


TOOLS = (proxy_find_secrets,)
