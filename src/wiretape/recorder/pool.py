"""Idle connections to servers, kept for the next exchange: a handshake costs ten times a request (measured)."""

from __future__ import annotations

import asyncio
from typing import Final

from wiretape.recorder.upstream import Route, UpstreamConnection

IDLE_SECONDS: Final = 60.0
IDLE_PER_ROUTE: Final = 128


class Pool:
    """Idle upstream connections by route, the most recently used first, because the others are likelier to be dead."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._idle: dict[Route, list[UpstreamConnection]] = {}
        self._closed = False
        self._timer: asyncio.TimerHandle | None = None

    def take(self, route: Route) -> UpstreamConnection | None:
        """Give an idle connection to ``route``, or None."""
        idle = self._idle.get(route)
        while idle:
            connection = idle.pop()
            if not connection.closed and not connection.transport.is_closing():
                return connection
        return None

    def put(self, connection: UpstreamConnection) -> None:
        """Keep a connection whose last response left it open."""
        connection.receiver = None
        connection.drop_spare()
        if connection.spoke_early or self._closed:
            connection.close()
        connection.reused = True
        idle = self._idle.setdefault(connection.route, [])
        if connection.closed or len(idle) >= IDLE_PER_ROUTE:
            connection.close()
            return
        connection.idle_since = self._loop.time()
        idle.append(connection)
        if self._timer is None:
            self._timer = self._loop.call_later(IDLE_SECONDS / 4, self._expire)

    def discard(self, connection: UpstreamConnection) -> None:
        """Forget a connection that was closed while idle."""
        idle = self._idle.get(connection.route)
        if idle is not None and connection in idle:
            idle.remove(connection)

    def close(self) -> None:
        """Close all idle connections, and those that are put here from now on."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for idle in self._idle.values():
            for connection in idle:
                connection.close()
        self._idle.clear()

    def _expire(self) -> None:
        self._timer = None
        oldest = self._loop.time() - IDLE_SECONDS
        for route, idle in list(self._idle.items()):
            for connection in [c for c in idle if c.idle_since < oldest]:
                idle.remove(connection)
                connection.close()
            if not idle:
                del self._idle[route]
        if self._idle:
            self._timer = self._loop.call_later(IDLE_SECONDS / 4, self._expire)
