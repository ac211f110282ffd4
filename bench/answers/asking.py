"""Questions asked again and again through the tools of MCP, in this process: what is measured is the answer."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from mcp.client import Client

from wiretape.daemon.service import Service
from wiretape.mcpserver.server import make_server
from wiretape.settings import McpSettings, UpstreamSettings


@asynccontextmanager
async def client_of(root: Path) -> AsyncIterator[Client]:
    """Yield a client of a server over the sessions below ``root``."""
    service = Service(root, UpstreamSettings())
    try:
        async with Client(make_server(service, McpSettings(toolsets=("all",), reveal=True))) as client:
            yield client
    finally:
        await service.close()


def call(client: Client, tool: str, arguments: dict[str, Any]) -> Callable[[], Awaitable[Any]]:
    """Return what asks one question; ``tool`` may be a resource, too."""

    async def ask() -> Any:
        if "://" in tool:
            return await client.read_resource(tool)
        result = await client.call_tool(tool, {"session_id": "last", **arguments})
        assert not result.is_error, result.content
        return result

    return ask


async def times(ask: Callable[[], Awaitable[Any]], calls: int) -> list[float]:
    """Ask once, and then ``calls`` times; return milliseconds, in their order."""
    found = []
    for _ in range(calls + 1):
        begun = time.perf_counter()
        await ask()
        found.append((time.perf_counter() - begun) * 1000)
    return found
