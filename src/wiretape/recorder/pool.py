"""Connections to servers: leased to exchanges, kept between them. A handshake costs ten times a request (measured)."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from wiretape.errors import NetworkError
from wiretape.recorder.dial import ClientConnection, Dialer
from wiretape.recorder.exchange_log import ConnectTimes
from wiretape.recorder.h1_client import H1ClientConnection
from wiretape.recorder.ports import Search, Seeker, Timeouts, Upstream
from wiretape.recorder.route import Route

IDLE_SECONDS: Final = 60.0
IDLE_PER_ROUTE: Final = 128
TICK_SECONDS: Final = 1.0
ASK_SECONDS: Final = 5.0
"""How long a client's handshake waits to hear what its server speaks; Go's clients wait 10 s for all of it."""


class _Waiter:
    """Who waits for a connection that others wait for, too; the search that an exchange can give up."""

    def __init__(self, owner: int, seeker: Seeker) -> None:
        self.owner = owner
        self.seeker = seeker
        self.cancelled = False
        self._next: Search | None = None

    def follow(self, search: Search) -> None:
        """Take note that the search goes on elsewhere."""
        self._next = search

    def cancel(self) -> None:
        """Give it up."""
        self.cancelled = True
        if self._next is not None:
            self._next.cancel()


class Pool:
    """All connections to servers. One that has room for another exchange is leased again.

    The most recently used is leased first, because the others are likelier to be dead. How many exchanges a connection
    serves at a time is its ``capacity``; one with an ``owner`` is leased to that client connection alone.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, dialer: Dialer, timeouts: Timeouts) -> None:
        self._loop = loop
        self._dialer = dialer
        self._timeouts = timeouts
        self._open: set[ClientConnection] = set()
        self._free: dict[Route, list[ClientConnection]] = {}
        self._owned: dict[tuple[Route, int], list[ClientConnection]] = {}
        self._waiting: dict[Route, list[_Waiter]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._asking: dict[Route, asyncio.Task[None]] = {}
        self._timer: asyncio.TimerHandle | None = None

    # -- leases ------------------------------------------------------------------------------------------------------

    def take(self, route: Route, owner: int) -> Upstream | None:
        """Return a lease on a connection that stands, or None. ``owner`` is the client connection that asks."""
        free = self._free.get(route)
        if self._owned:
            free = self._owned.get((route, owner)) or free
        while free:
            connection = free[-1]
            if connection.closed or connection.transport.is_closing() or connection.running >= connection.capacity:
                free.pop()
                continue
            connection.running += 1
            if connection.running >= connection.capacity:
                free.pop()
            return connection.lease(owner)
        return None

    def seek(self, route: Route, owner: int, seeker: Seeker) -> Search:
        """Make a connection for ``seeker``, which hears of it in a later turn of the loop."""
        if not route.protocol:
            return self._loop.create_task(self._connect(route, owner, seeker))
        # A connection that carries many exchanges is made once for all who look for it meanwhile.
        waiting = self._waiting.get(route)
        if waiting is None:
            waiting = self._waiting[route] = []
            task = self._loop.create_task(self._connect_for_all(route))
            self._tasks.add(task)  # the loop itself holds tasks weakly
            task.add_done_callback(self._tasks.discard)
            task.add_done_callback(_ask_result)
        waiter = _Waiter(owner, seeker)
        waiting.append(waiter)
        return waiter

    async def _connect(self, route: Route, owner: int, seeker: Seeker) -> None:
        try:
            connection, times = await self.connect(route)
        except NetworkError as error:
            if not _given_up():
                seeker.unreachable(error)
            return
        if _given_up():
            self.put(connection)
        else:
            seeker.connected(connection.lease(owner), times)

    async def _connect_for_all(self, route: Route) -> None:
        try:
            connection, times = await self.connect(route)
        except NetworkError as error:
            for waiter in self._waiting.pop(route):
                if not waiter.cancelled:
                    waiter.seeker.unreachable(error)
            return
        except BaseException:
            self._waiting.pop(route, None)
            raise
        waiting = [waiter for waiter in self._waiting.pop(route) if not waiter.cancelled]
        if not waiting:
            self.put(connection)
        for at, waiter in enumerate(waiting):
            if at == 0:
                waiter.seeker.connected(connection.lease(waiter.owner), times)
                continue
            upstream = self.take(connection.route, waiter.owner)
            if upstream is not None:
                waiter.seeker.connected(upstream, times)
            else:
                again = self.seek(connection.route, waiter.owner, waiter.seeker)
                waiter.follow(again)

    async def ask(self, route: Route) -> None:
        """Connect to a server to learn what it speaks; the connection is kept for the first exchange.

        Returns without an answer after ``ASK_SECONDS``: who asks for something there is told what is wrong, in time.
        """
        asking = self._asking.get(route)
        if asking is None:
            asking = self._asking[route] = self._loop.create_task(self._ask(route))
            asking.add_done_callback(_ask_result)
        await asyncio.wait((asking,), timeout=ASK_SECONDS)

    async def _ask(self, route: Route) -> None:
        try:
            connection, _ = await self.connect(route)
        except NetworkError:
            return  # whoever asks for something there will be told
        finally:
            self._asking.pop(route, None)
        self.put(connection)

    async def connect(self, route: Route) -> tuple[ClientConnection, ConnectTimes]:
        """Make a connection, which counts as leased.

        Raises:
            NetworkError: it did not work.
        """
        try:
            connection, times = await self._dialer.connect(route, self)
        except NetworkError:
            raise
        except Exception as error:
            # Whatever it is, those who wait for the connection have to hear of it, or they wait for ever.
            self._loop.call_exception_handler({"message": "a connection could not be made", "exception": error})
            raise NetworkError(f"{route.where} cannot be reached: {error}", code="connect-failed") from error
        connection.running = 1
        self._open.add(connection)
        if connection.shared:
            self._free.setdefault(connection.route, []).append(connection)
        if self._timer is None:
            self._timer = self._loop.call_later(TICK_SECONDS, self._tick)
        return connection, times

    async def connect_raw(self, route: Route) -> tuple[H1ClientConnection, ConnectTimes]:
        """Make a connection for bytes that are not understood; the route's scheme is ``tcp``.

        Raises:
            NetworkError: it did not work.
        """
        connection, times = await self.connect(route)
        assert isinstance(connection, H1ClientConnection)
        return connection, times

    # -- from connections --------------------------------------------------------------------------------------------

    def put(self, connection: ClientConnection) -> None:
        """Take a lease back; keep the connection for the next one."""
        connection.idle_since = self._loop.time()
        connection.running = running = connection.running - 1
        if connection.closed:
            if not running:
                connection.close()  # it was only waiting for the last of its exchanges
            return
        if connection.owner:
            free = self._owned.setdefault((connection.route, connection.owner), [])
        else:
            free = self._free.setdefault(connection.route, [])
        # A server of HTTP/2 may change the capacity meanwhile, so that says nothing of whether it is in its list.
        if connection.shared and (running >= connection.capacity or connection in free):
            return
        if len(free) < IDLE_PER_ROUTE:
            free.append(connection)
        elif not running:
            connection.abort()

    def discard(self, connection: ClientConnection) -> None:
        """Forget a connection that is gone."""
        self._open.discard(connection)
        for free in (self._free.get(connection.route), self._owned.get((connection.route, connection.owner))):
            if free is not None and connection in free:
                free.remove(connection)

    def is_ours(self, address: str) -> bool:
        """Return whether one of our connections to servers comes from this address: what arrives so is a loop."""
        return address in self._dialer.leaving or any(one.server.sent_from == address for one in self._open)

    # -- from client connections and the worker ----------------------------------------------------------------------

    def owner_left(self, owner: int) -> None:
        """Close the connections that belonged to a client connection which is gone."""
        if self._owned:
            for key in [key for key in self._owned if key[1] == owner]:
                for connection in self._owned.pop(key):
                    connection.abort()

    def close(self) -> None:
        """Break all connections; exchanges that still use one end."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._free.clear()
        self._owned.clear()
        for connection in list(self._open):
            connection.break_off()
        self._open.clear()

    def _tick(self) -> None:
        self._timer = None
        now, oldest = time.perf_counter_ns(), self._loop.time() - IDLE_SECONDS
        for connection in list(self._open):
            if connection.running:
                connection.tick(now, self._timeouts)
            elif connection.closed or connection.idle_since < oldest:
                connection.abort()
                self.discard(connection)
        self._free = {key: free for key, free in self._free.items() if free}
        self._owned = {key: free for key, free in self._owned.items() if free}
        if self._open:
            self._timer = self._loop.call_later(TICK_SECONDS, self._tick)


def _given_up() -> bool:
    """Return whether the running task was cancelled; what it waited for may have swallowed that.

    Until Python 3.12 ``asyncio.wait_for`` did, where what it waited for was done in the same turn (bpo-37658). The
    client had left and its exchange had its end in the log, and then the request went to the server all the same.
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _ask_result(task: asyncio.Task[None]) -> None:
    """Look at a task's end, so that the loop does not complain of an error that nobody waited for."""
    if not task.cancelled():
        task.exception()
