"""The port through which the daemon serves faces (MCP) that it does not know."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Protocol

from wiretape.daemon.service import Service
from wiretape.settings import McpSettings


class Face(Protocol):
    """Something that answers clients on the daemon's behalf."""

    async def serve_http(self, listener: socket.socket) -> None:
        """Serve HTTP on a listening socket until cancelled."""
        ...

    async def check(self, settings: McpSettings) -> None:
        """Refuse a bridge's wishes that cannot be met.

        Raises:
            UsageError: there is no such toolset.
        """
        ...

    async def serve_bridge(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        settings: McpSettings,
    ) -> None:
        """Serve one client over a byte stream until it has ended and everything is answered."""
        ...


MakeFace = Callable[[Service], Face]
"""Makes the face once the service is there."""
