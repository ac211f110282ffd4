"""uvicorn, told to keep to itself: no signals, no access log, no Server header."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import uvicorn

from wiretape.api.app import Api


class _Uvicorn(uvicorn.Server):
    """Uvicorn without its hands on signals, and asleep while nobody asks.

    The daemon has an order of its own for the end. Uvicorn wakes ten times a second to look whether it should end and
    what time it is; those wake-ups were on the recorder's core, in one of twenty of its requests.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._end = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield

    async def main_loop(self) -> None:
        """Wait for the end."""
        await self._end.wait()

    def end(self) -> None:
        """Have it end in order."""
        self.should_exit = True
        self._end.set()


async def run(app: Api, listener: socket.socket) -> None:
    """Serve until cancelled."""
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=1,
    )
    running = _Uvicorn(config)
    serving = asyncio.create_task(running.serve(sockets=[listener]))
    try:
        await asyncio.shield(serving)
    except asyncio.CancelledError:
        # Cancelled, it would leave its connections half ended; asked, it ends them in order.
        running.end()
        await serving
        raise
