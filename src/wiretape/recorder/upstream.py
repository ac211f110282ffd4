"""Connections to servers: making one, and the protocol that hands its bytes to an exchange."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from wiretape.errors import NetworkError
from wiretape.recorder.ourselves import LOOP, LOOP_HINT, Ourselves
from wiretape.tls.contexts import UpstreamContexts, tls_error

if TYPE_CHECKING:
    from wiretape.recorder.pool import Pool

CONNECT_SECONDS: Final = 20.0
FINISH_SECONDS: Final = 30.0
"""How long a server may take to read what was still written when nothing more was wanted from it."""
_clock = time.perf_counter_ns


class Route(NamedTuple):
    """Where a connection leads: the key of the pool. ``name`` is what TLS asks for when it is not the host (SNI)."""

    scheme: str
    host: str
    port: int
    name: str = ""


class ConnectTimes(NamedTuple):
    """Nanoseconds that the parts of connecting took, -1 where there was none."""

    dns: int
    connect: int
    tls: int


class Receiver:
    """What an upstream connection hands its bytes to."""

    __slots__ = ()

    def upstream_data(self, data: bytes) -> None:
        """Bytes have come from the server."""
        raise NotImplementedError

    def upstream_lost(self, error: Exception | None) -> None:
        """The server ended the connection, or it broke."""
        raise NotImplementedError

    def upstream_eof(self) -> bool:
        """The server sends no more; return whether it may still be sent to."""
        return False

    def upstream_full(self, full: bool) -> None:
        """The way to the server is full, or free again."""
        raise NotImplementedError


class UpstreamConnection(asyncio.Protocol):
    """One connection to a server; serves one exchange at a time.

    Attributes:
        receiver: the exchange it serves, None while idle in the pool.
        reused: whether it has served an exchange before.
        pool: where it is put when it is idle: everybody's, or one client's.
        sock: its socket, which the transport owns.
    """

    __slots__ = (
        "_closing",
        "_early",
        "_ended",
        "_error",
        "_spare",
        "_waiter",
        "closed",
        "idle_since",
        "pool",
        "receiver",
        "reused",
        "route",
        "server",
        "sock",
        "times",
        "transport",
    )

    def __init__(self, route: Route, pool: Pool) -> None:
        self.route = route
        self.pool = pool
        self.transport: asyncio.Transport = cast(asyncio.Transport, None)
        self.receiver: Receiver | None = None
        self.reused = False
        self.closed = False
        self.idle_since = 0.0
        self._early = b""
        self._ended = False
        self._waiter: asyncio.Future[None] | None = None
        self._error: Exception | None = None
        self._spare: socket.socket | None = None
        self._closing: asyncio.TimerHandle | None = None
        self.sock: socket.socket | None = None
        self.server = ""
        self.times: ConnectTimes | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=256 * 1024)

    def data_received(self, data: bytes) -> None:
        """Hand bytes on; bytes that nobody asked for mean the connection cannot be trusted any more."""
        if self.receiver is not None:
            self.receiver.upstream_data(data)
        elif self.reused:
            self.close()
        else:  # the server speaks first, before whoever asked for the connection has it: uvloop reads that soon
            self._early += data
            self.transport.pause_reading()
            self._wake()

    @property
    def spoke_early(self) -> bool:
        """Whether bytes, or the end, have come that nobody has taken."""
        return bool(self._early) or self._ended

    def serve(self, receiver: Receiver) -> None:
        """Hand to ``receiver`` what comes from now on, and what has come already."""
        self.receiver = receiver
        early, self._early = self._early, b""
        if early:
            if not self.closed:
                self.transport.resume_reading()
            receiver.upstream_data(early)
        if self._ended and not self.closed and not receiver.upstream_eof():
            self.transport.close()
        if self.closed and self.receiver is not None:
            self.receiver = None
            receiver.upstream_lost(self._error)

    def eof_received(self) -> bool:
        """Let the transport close, unless whom it serves has still something to send."""
        if self.receiver is not None:
            return self.receiver.upstream_eof()
        self._ended = not self.reused and self.transport.can_write_eof()
        self._wake()
        return self._ended

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whom it served, after what the server still said."""
        self.closed = True
        self._error = exc
        if self._closing is not None:
            self._closing.cancel()
            self._closing = None
        if exc is not None and self.receiver is not None:
            last_words, alert = self._last_words()
            if last_words:
                self.receiver.upstream_data(last_words)
            exc = alert or exc
        self.drop_spare()
        receiver, self.receiver = self.receiver, None
        if receiver is not None:
            receiver.upstream_lost(exc)
        else:
            self.pool.discard(self)
            self._wake()

    async def first_word(self) -> None:
        """Wait until the server, which nobody has asked for anything, has sent something or ended."""
        if not self.spoke_early and not self.closed:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    @property
    def sent(self) -> bool:
        """Whether everything that was written has left this process."""
        return not self.closed and not self.transport.get_write_buffer_size()

    def keep_spare(self) -> None:
        """Keep a second descriptor of the socket while a request is sent that the server may not read to its end.

        It may say why (413, an alert that it wants a certificate) and close. Then a write fails, for which the loop
        closes the socket, and what the server said lies in its buffer and would be lost with it.
        """
        if self._spare is None and self.sock is not None and not self.closed:
            with contextlib.suppress(OSError):  # without one only such an answer is in danger
                self._spare = self.sock.dup()

    def drop_spare(self) -> None:
        """Close the second descriptor."""
        if self._spare is not None:
            self._spare.close()
            self._spare = None

    def _last_words(self) -> tuple[bytes, Exception | None]:
        """Return what the server sent before a write to it failed, and its TLS alert if that was the last of it.

        No more than a socket's buffer holds.
        """
        if self._spare is None:
            return b"", None
        raw = bytearray()
        with contextlib.suppress(OSError):
            while data := self._spare.recv(65536):
                raw += data
        tls = self.transport.get_extra_info("ssl_object")
        return (bytes(raw), None) if tls is None else tls.decrypt(raw)

    def pause_writing(self) -> None:
        """The server does not read fast enough."""
        if self.receiver is not None:
            self.receiver.upstream_full(True)

    def resume_writing(self) -> None:
        """The server reads again."""
        if self.receiver is not None:
            self.receiver.upstream_full(False)

    def close(self) -> None:
        """Close at once; nobody is told."""
        self.receiver = None
        self.closed = True
        self.drop_spare()
        if self.transport is not None:
            self.transport.abort()

    def finish(self) -> None:
        """Close once the server has taken what was written, within bounds; nobody is told."""
        if self.closed:
            return
        self.receiver = None
        self.closed = True
        self.drop_spare()
        self.transport.close()
        loop = asyncio.get_running_loop()
        self._closing = loop.call_later(FINISH_SECONDS, self.transport.abort)


class Connector:
    """Makes connections to servers."""

    def __init__(self, loop: asyncio.AbstractEventLoop, contexts: UpstreamContexts, ourselves: Ourselves) -> None:
        self._loop = loop
        self._contexts = contexts
        self._ourselves = ourselves

    async def connect(self, route: Route, pool: Pool) -> UpstreamConnection:
        """Connect to ``route``: resolve, try the addresses in order, shake hands.

        Raises:
            NetworkError: it did not work; ``code`` says at which step, the sentence why.
        """
        started = _clock()
        addresses = await self._resolve(route)
        resolved = _clock()
        sock = await self._open(route, addresses)
        if self._ourselves.reached(sock):
            sock.close()
            raise NetworkError(LOOP, hint=LOOP_HINT, code="loop")
        connected = _clock()
        secure = route.scheme == "https"
        connection = UpstreamConnection(route, pool)
        connection.server = _name_of_peer(sock)
        connection.sock = sock
        try:
            await self._loop.create_connection(
                lambda: connection,
                sock=sock,
                ssl=self._contexts.context() if secure else None,
                server_hostname=(route.name or route.host) if secure else None,
                ssl_handshake_timeout=CONNECT_SECONDS if secure else None,
            )
        except (OSError, ValueError, TimeoutError) as error:  # ValueError: a name that TLS cannot ask for
            sock.close()
            raise tls_error(error, side="server", host=route.name or route.host) from error
        handshake = _clock() - connected if secure else -1
        connection.times = ConnectTimes(resolved - started, connected - resolved, handshake)
        return connection

    async def _resolve(self, route: Route) -> list[tuple[int, tuple[str, int]]]:
        try:
            infos = await self._loop.getaddrinfo(route.host, route.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise NetworkError(
                f"the name {route.host} could not be resolved: {reason}", code="dns-failed", hint="check the host name"
            ) from error
        return [(info[0], cast("tuple[str, int]", info[4])) for info in infos]

    async def _open(self, route: Route, addresses: list[tuple[int, tuple[str, int]]]) -> socket.socket:
        where = f"{route.host}:{route.port}"
        last: Exception | None = None
        for family, address in addresses:
            sock = socket.socket(family, socket.SOCK_STREAM)
            sock.setblocking(False)
            try:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                await asyncio.wait_for(self._loop.sock_connect(sock, address), CONNECT_SECONDS)
            except (OSError, TimeoutError) as error:
                sock.close()
                last = error
            except BaseException:
                sock.close()
                raise
            else:
                return sock
        if isinstance(last, TimeoutError):
            raise NetworkError(f"{where} did not answer within {CONNECT_SECONDS:.0f} s", code="connect-timeout")
        if isinstance(last, ConnectionRefusedError):
            raise NetworkError(f"{where} refused the connection", code="connect-refused", hint="is the server running?")
        raise NetworkError(f"{where} cannot be reached: {last}", code="connect-failed")


def _name_of_peer(sock: socket.socket) -> str:
    try:
        host, port = sock.getpeername()[:2]
    except OSError:
        return ""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
