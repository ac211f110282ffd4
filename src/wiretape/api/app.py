"""MCP over Streamable HTTP, for local clients only: Host and Origin are checked on every path (P14)."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import uvicorn
from mcp.server import MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

LOCAL = frozenset({"127.0.0.1", "localhost", "::1"})
"""Names by which a page or a program on this machine may call us; anything else may be DNS rebinding."""


class LocalOnly:
    """Refuses requests that a foreign page may have made a browser send.

    Args:
        app: what answers the others.
        hosts: further names under which we are served, when listening elsewhere than on loopback.
    """

    def __init__(self, app: ASGIApp, hosts: frozenset[str]) -> None:
        self._app = app
        self._hosts = LOCAL | hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 403 or pass the request on."""
        if scope["type"] == "http":
            headers: dict[bytes, bytes] = dict(scope["headers"])
            host = headers.get(b"host", b"").decode("latin-1")
            origin = headers.get(b"origin")
            if not self._ours(f"http://{host}"):
                await _refuse(send, f"the Host {host!r} is not a name of this server")
                return
            if origin is not None and not self._ours(origin.decode("latin-1")):
                await _refuse(send, f"the Origin {origin.decode('latin-1')!r} may not use this server")
                return
        await self._app(scope, receive, send)

    def _ours(self, url: str) -> bool:
        try:
            return urlsplit(url).hostname in self._hosts
        except ValueError:
            return False


async def _refuse(send: Send, why: str) -> None:
    body = f"wiretape: {why}\n".encode(errors="replace")
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class _Uvicorn(uvicorn.Server):
    """Uvicorn without its hands on the process's signals: the daemon has an order of its own for the end."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield


async def serve_http(server: MCPServer[Any], listener: socket.socket, page: Callable[[], Awaitable[str]]) -> None:
    """Serve ``/mcp`` on a listening socket until cancelled, and at ``/`` the text that ``page`` gives."""

    async def front(_: Request) -> Response:
        return PlainTextResponse(await page())

    server.custom_route("/", methods=["GET"])(front)
    host = str(listener.getsockname()[0])
    # Checked by LocalOnly, for every path and with ports or without; the SDK's own check covers its one path.
    app = server.streamable_http_app(
        transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False)
    )
    config = uvicorn.Config(
        LocalOnly(app, frozenset({host})),
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
