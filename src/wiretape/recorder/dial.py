"""Making a connection to a server: resolve, try the addresses in order, shake hands."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from typing import Final, Protocol, cast

from wiretape.errors import NetworkError
from wiretape.recorder.alpn import AlpnChoice
from wiretape.recorder.exchange_log import ConnectTimes, Server
from wiretape.recorder.h1_client import H1ClientConnection
from wiretape.recorder.h2_client import H2ClientConnection
from wiretape.recorder.handshake_log import server_handshake
from wiretape.recorder.ourselves import LOOP, LOOP_HINT, Ourselves
from wiretape.recorder.protocols import H2, HTTP1, Protocols
from wiretape.recorder.racing import connect_first
from wiretape.recorder.route import Route, address_text
from wiretape.tls.contexts import UpstreamContexts, tls_error
from wiretape.wire.h2 import Limits

ClientConnection = H1ClientConnection | H2ClientConnection

_H1_ALPN: Final = (HTTP1,)
_H2_ALPN: Final = (H2, HTTP1)
SERVER_LIMITS: Final = Limits(stream_window=512 * 1024, connection_window=2 * Limits().streams * 512 * 1024)
"""A server's connection serves several clients: what one of them does not read must leave room for the others' streams.
Twice as much as can be held, because libnghttp2 gives window back only when half of it has been used up.
"""
_clock: Final = time.perf_counter_ns


class Keeper(Protocol):
    """Where a connection goes when its lease ends."""

    def put(self, connection: ClientConnection) -> None:
        """Take a lease back."""

    def discard(self, connection: ClientConnection) -> None:
        """Forget a connection that is gone."""


class Dialer:
    """Makes connections to servers.

    Args:
        loop: the loop they run on.
        contexts: how TLS is spoken to them.
        ourselves: where wiretape itself listens; a connection that comes out there is refused, by whatever name.
        numbers: the numbers that they get in the log.
        protocols: what servers speak, and what speaks HTTP/2 here.
        seconds: how long to wait for one address to answer, and again for the TLS handshake.
        strict_http: refuse responses that RFC 9112 forbids.

    Attributes:
        leaving: our own addresses of connections that are being made.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        contexts: UpstreamContexts,
        ourselves: Ourselves,
        numbers: Iterator[int],
        protocols: Protocols,
        seconds: float,
        *,
        strict_http: bool = False,
    ) -> None:
        self._loop = loop
        self._contexts = contexts
        self._ourselves = ourselves
        self._numbers = numbers
        self._protocols = protocols
        self._seconds = seconds
        self._strict_http = strict_http
        self.leaving: set[str] = set()

    async def connect(self, route: Route, keeper: Keeper) -> tuple[ClientConnection, ConnectTimes]:
        """Connect to ``route``; ``keeper`` takes the connection when its lease ends.

        Raises:
            NetworkError: it did not work; ``code`` says at which step, the sentence why.
        """
        try:
            return await self._connect(route, keeper)
        except NetworkError as error:
            if error.code != "upstream-no-common-protocol" or route.protocol or self._protocols.engine is None:
                raise
        # A server that speaks HTTP/2 alone, maybe since a moment ago, for a client that does not: the exchange does not
        # mind. The connection counts as what was asked for, so that the next such client finds it.
        self._protocols.forget(route)
        connection, times = await self._connect(route._replace(protocol=H2), keeper)
        connection.route = route
        return connection, times

    async def _connect(self, route: Route, keeper: Keeper) -> tuple[ClientConnection, ConnectTimes]:
        started = _clock()
        addresses = await self._resolve(route)
        resolved = _clock()
        sock = await self._open(route, addresses)
        if self._ourselves.reached(sock):
            sock.close()
            raise NetworkError(LOOP, hint=LOOP_HINT, code="loop")
        connected = _clock()
        server = Server(next(self._numbers), *_ends(sock))
        self.leaving.add(server.sent_from)
        try:
            if route.scheme != "https":
                plain = H1ClientConnection(route, server, keeper, sock, strict_http=self._strict_http)
                await self._loop.create_connection(lambda: plain, sock=sock)
                return plain, ConnectTimes(resolved - started, connected - resolved, -1)
            connection = await self._shake_hands(route, server, keeper, sock)
        finally:
            self.leaving.discard(server.sent_from)
        return connection, ConnectTimes(resolved - started, connected - resolved, _clock() - connected)

    async def _shake_hands(self, route: Route, server: Server, keeper: Keeper, sock: socket.socket) -> ClientConnection:
        made: list[ClientConnection] = []

        def choose(protocol: str) -> ClientConnection:
            made.append(self._make(route, server, keeper, sock, protocol))
            return made[0]

        offer_h2 = route.protocol == H2 and self._protocols.of(route) != HTTP1
        name = route.name or route.host
        try:
            transport, _ = await self._loop.create_connection(
                (lambda: AlpnChoice(choose)) if offer_h2 else (lambda: choose(HTTP1)),
                sock=sock,
                ssl=self._contexts.context(_H2_ALPN if offer_h2 else _H1_ALPN),
                server_hostname=name,
                ssl_handshake_timeout=self._seconds,
            )
        except (OSError, ValueError, TimeoutError) as error:  # ValueError: a name that TLS cannot ask for
            sock.close()
            raise tls_error(error, side="server", host=name) from error
        tls = transport.get_extra_info("ssl_object")
        if offer_h2:
            self._protocols.note(route, tls.selected_alpn_protocol() or "")
        made[0].handshake = server_handshake(route, tls)
        return made[0]

    def _make(
        self, route: Route, server: Server, keeper: Keeper, sock: socket.socket, protocol: str
    ) -> ClientConnection:
        engine = self._protocols.engine if protocol == H2 else None
        if engine is not None:
            return H2ClientConnection(self._loop, route, server, keeper, engine, self._protocols, SERVER_LIMITS)
        return H1ClientConnection(route._replace(protocol=""), server, keeper, sock, strict_http=self._strict_http)

    async def _resolve(self, route: Route) -> list[tuple[int, tuple[str, int]]]:
        try:
            infos = await self._loop.getaddrinfo(route.address or route.host, route.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise NetworkError(
                f"the name {route.host} could not be resolved: {reason}", code="dns-failed", hint="check the host name"
            ) from error
        return [(info[0], cast("tuple[str, int]", info[4])) for info in infos]

    async def _open(self, route: Route, addresses: list[tuple[int, tuple[str, int]]]) -> socket.socket:
        try:
            return await connect_first(self._loop, addresses, self._seconds)
        except (OSError, TimeoutError) as error:
            last = error
        where = route.where
        if isinstance(last, TimeoutError):
            raise NetworkError(f"{where} did not answer within {self._seconds:.0f} s", code="connect-timeout")
        if isinstance(last, ConnectionRefusedError):
            raise NetworkError(f"{where} refused the connection", code="connect-refused", hint="is the server running?")
        raise NetworkError(f"{where} cannot be reached: {last}", code="connect-failed")


def _ends(sock: socket.socket) -> tuple[str, str]:
    """Return the addresses of the server and of our end."""
    try:
        return address_text(sock.getpeername()), address_text(sock.getsockname())
    except OSError:  # it has ended already
        return "", ""
