"""The face that the daemon serves MCP with."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence

from wiretape.api.app import serve_http
from wiretape.daemon.announce import announcement
from wiretape.daemon.service import Service
from wiretape.mcpserver.lines import serve_lines
from wiretape.mcpserver.server import check_toolsets, make_server


class McpFace:
    """Makes a server for each bridge, as each may ask for other tools, and one for HTTP with all."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def check(self, toolsets: Sequence[str] | None) -> None:
        """Refuse toolsets that do not exist.

        Raises:
            UsageError: naming those that do.
        """
        check_toolsets(toolsets)

    async def serve_http(self, listener: socket.socket) -> None:
        """Serve Streamable HTTP until cancelled, to those who know the service's token."""
        assert self._service.token is not None
        await serve_http(make_server(self._service), listener, self._page, self._service.token.value)

    async def _page(self) -> str:
        """Give what a person who opens the address in a browser needs to know."""
        return announcement(await self._service.status(), as_json=False)

    async def serve_bridge(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        toolsets: Sequence[str] | None,
        read_only: bool,
    ) -> None:
        """Serve one stdio bridge until it has ended and everything is answered."""
        await serve_lines(make_server(self._service, toolsets=toolsets, read_only=read_only), reader, writer)
