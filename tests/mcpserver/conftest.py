"""A service without a proxy, and its MCP server, in the test's own process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from mcp.client import Client

from wiretape.daemon.service import Service
from wiretape.mcpserver.server import make_server
from wiretape.settings import McpSettings, UpstreamSettings

T = TypeVar("T")
Ask = Callable[[Client], Awaitable[T]]


class InProcess:
    """Runs a conversation with a server over the SDK's real client, in one event loop."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def run(self, ask: Ask[T], *, mode: Any = "auto", **wishes: Any) -> T:
        """Serve a fresh service to ``ask`` and close it cleanly; all tools are offered unless ``wishes`` say others.

        ``mode`` is the client's: ``auto`` speaks as from 2026-07-28 on, ``legacy`` as before.
        """
        settings = McpSettings(**{"toolsets": ("all",), **wishes})

        async def both() -> T:
            service = Service(self.root, UpstreamSettings())
            try:
                async with Client(make_server(service, settings), mode=mode) as client:
                    return await ask(client)
            finally:
                await service.close()

        return asyncio.run(both())


@pytest.fixture
def in_process(root: Path) -> InProcess:
    """A server in this process, for the test's own root."""
    return InProcess(root)
