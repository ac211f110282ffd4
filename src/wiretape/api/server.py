"""The API's HTTP server. It is imported when the first connection comes: until then it costs no memory."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

from wiretape.api.app import Api, Mounted


async def serve(listener: socket.socket, mcp: Mounted, page: Callable[[], Awaitable[str]], token: str) -> None:
    """Serve the API on a listening socket until cancelled.

    Args:
        listener: the listening socket.
        mcp: what answers MCP.
        page: returns the text for a person who opens the address.
        token: what every request has to carry.
    """
    host, port = listener.getsockname()[:2]
    await _first_connection(listener)
    # Imported in a thread: what else the daemon does goes on meanwhile.
    run_uvicorn = await asyncio.to_thread(_import_uvicorn)
    try:
        await run_uvicorn(Api(mcp, page, token, str(host), int(port)), listener)
    finally:
        await mcp.close()


async def _first_connection(listener: socket.socket) -> None:
    """Wait until somebody connects; the connection stays in the backlog."""
    loop = asyncio.get_running_loop()
    came = asyncio.Event()
    loop.add_reader(listener.fileno(), came.set)
    try:
        await came.wait()
    finally:
        loop.remove_reader(listener.fileno())


def _import_uvicorn() -> Callable[[Api, socket.socket], Awaitable[None]]:
    from wiretape.api.uvicorn_server import run  # noqa: PLC0415

    return run
