"""uvicorn, told to keep to itself: no signals, no access log, no Server header."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import uvicorn

from wiretape.api.app import Api


class _Uvicorn(uvicorn.Server):
    """Uvicorn without its hands on the process's signals: the daemon has an order of its own for the end."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield


async def run(app: Api, listener: socket.socket) -> None:
    """Serve until cancelled."""
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=1,
    )
    running = _Uvicorn(config)
    serving = asyncio.create_task(running.serve(sockets=[listener]))
    try:
        await asyncio.shield(serving)
    except asyncio.CancelledError:
        # Cancelled, it would leave its connections half ended; asked, it ends them in order.
        running.should_exit = True
        await serving
        raise
