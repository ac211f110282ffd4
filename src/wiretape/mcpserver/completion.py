"""Completion of sessions and hosts in the arguments of templates and prompts."""

from __future__ import annotations

from typing import Any, Final

from mcp.server import MCPServer
from mcp_types import (
    Completion,
    CompletionArgument,
    CompletionContext,
    PromptReference,
    ResourceTemplateReference,
)

from wiretape.daemon.service import Service
from wiretape.errors import WiretapeError
from wiretape.secrets.veil import Veil
from wiretape.session.answers.timeline import totals

_MOST: Final = 100
"""Values of one answer, by the protocol."""
_SESSIONS: Final = frozenset({"session_id", "session", "a", "b"})
_HOSTS: Final = frozenset({"host", "hostname"})


def add_completion(server: MCPServer[Any], service: Service, veil: Veil) -> None:
    """Offer completion."""

    async def complete(
        ref: PromptReference | ResourceTemplateReference,  # noqa: ARG001  the same everywhere
        argument: CompletionArgument,
        context: CompletionContext | None,  # noqa: ARG001
    ) -> Completion | None:
        if argument.name in _SESSIONS:
            found = await sessions(service)
        elif argument.name in _HOSTS:
            found = await hosts(service, veil)
        else:
            return None
        near = [word for word in found if word.lower().startswith(argument.value.lower())]
        return Completion(values=near[:_MOST], total=len(near), has_more=len(near) > _MOST)

    server.completion()(complete)  # type: ignore[no-untyped-call]


async def sessions(service: Service) -> list[str]:
    """Return what sessions can be called: ``last``, names and ids, newest first."""
    names = service.library.catalogue.names()
    known = list(dict.fromkeys(name for name in names.values() if name is not None))
    return ["last", *known, *sorted(names, reverse=True)] if names else []


async def hosts(service: Service, veil: Veil) -> list[str]:
    """Return the hosts of the newest session, those that are asked most first."""
    try:
        counted = await service.library.ask(await service.live_session(), lambda one: totals(one, veil=veil))
    except WiretapeError:
        return []
    return [one.hostname for one in counted.top_hostnames]
