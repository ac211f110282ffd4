"""MCP over Streamable HTTP, for local clients that know the root's token: see access.py (P14)."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import uvicorn
from mcp.server import MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from wiretape.api.access import LocalOnly, TokenOnly


class _Uvicorn(uvicorn.Server):
    """Uvicorn without its hands on the process's signals: the daemon has an order of its own for the end."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield


async def serve_http(
    server: MCPServer[Any], listener: socket.socket, page: Callable[[], Awaitable[str]], token: str
) -> None:
    """Serve ``/mcp`` on a listening socket until cancelled, and at ``/`` the text that ``page`` gives.

    Args:
        server: what answers MCP.
        listener: the listening socket.
        page: gives the text.
        token: what every request has to carry.
    """

    async def front(_: Request) -> Response:
        return PlainTextResponse(await page())

    server.custom_route("/", methods=["GET"])(front)
    host, port = listener.getsockname()[:2]
    # Checked by LocalOnly, for every path and with ports or without; the SDK's own check covers its one path.
    app = server.streamable_http_app(
        transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False)
    )
    config = uvicorn.Config(
        LocalOnly(TokenOnly(app, token, int(port)), frozenset({str(host)})),
        log_config=None,
        access_log=False,
        lifespan="on",
        server_header=False,
        timeout_graceful_shutdown=1,
    )
    running = _Uvicorn(config)
    serving = asyncio.create_task(running.serve(sockets=[listener]))
    try:
        await asyncio.shield(serving)
    except asyncio.CancelledError:
        # Cancelled, it would leave its connections and its lifespan half ended; asked, it ends them in order.
        running.should_exit = True
        await serving
        raise
