"""The face that the daemon serves MCP with. The SDK is imported when the first client comes: it takes 35 MiB."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import TYPE_CHECKING, Any

from wiretape.api.server import serve
from wiretape.daemon.announce import announcement
from wiretape.daemon.service import Service
from wiretape.mcpserver.http import McpOverHttp
from wiretape.settings import McpSettings

if TYPE_CHECKING:
    from mcp.server import MCPServer


class McpFace:
    """Makes a server for each bridge, as each may ask for other tools, and one for HTTP.

    Args:
        service: the daemon.
        settings: what clients over HTTP are offered.
    """

    def __init__(self, service: Service, settings: McpSettings = McpSettings()) -> None:  # noqa: B008  it is frozen
        self._service = service
        self._settings = settings

    def warm_up(self) -> None:
        """Begin to import the SDK: a client is on its way. It goes on beside everything else."""
        threading.Thread(target=_import, name="mcp-sdk", daemon=True).start()

    async def check(self, settings: McpSettings) -> None:
        """Refuse toolsets that do not exist.

        Raises:
            UsageError: naming those that do.
        """
        await asyncio.to_thread(_check, settings)

    async def serve_http(self, listener: socket.socket) -> None:
        """Serve Streamable HTTP until cancelled, to those who know the service's token."""
        assert self._service.token is not None
        await serve(listener, McpOverHttp(lambda: self._make(self._settings)), self._page, self._service.token.value)

    async def _page(self) -> str:
        """Return what a person who opens the address in a browser needs to know."""
        return announcement(await self._service.status(), as_json=False)

    async def serve_bridge(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        settings: McpSettings,
    ) -> None:
        """Serve one stdio bridge until it has ended and everything is answered."""
        server = await self._make(settings)
        from wiretape.mcpserver.lines import serve_lines  # noqa: PLC0415

        await serve_lines(server, reader, writer)

    async def _make(self, settings: McpSettings) -> MCPServer[Any]:
        """Make a server; the first one imports the SDK, in a thread, so that the daemon goes on meanwhile."""
        await asyncio.to_thread(_import)
        from wiretape.mcpserver.server import make_server  # noqa: PLC0415

        return make_server(self._service, settings)


def _import() -> None:
    import wiretape.mcpserver.lines  # noqa: PLC0415
    import wiretape.mcpserver.server  # noqa: F401, PLC0415


def _check(settings: McpSettings) -> None:
    from wiretape.mcpserver.server import check_toolsets  # noqa: PLC0415

    check_toolsets(settings.toolsets)
