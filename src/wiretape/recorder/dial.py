"""Making a connection to a server: resolve, try the addresses in order, shake hands."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from typing import Final, cast

from wiretape.errors import NetworkError
from wiretape.recorder.exchange_log import ConnectTimes, Server
from wiretape.recorder.h1_client import H1ClientConnection, Keeper
from wiretape.recorder.handshake_log import server_handshake
from wiretape.recorder.ourselves import LOOP, LOOP_HINT, Ourselves
from wiretape.recorder.route import Route, address_text
from wiretape.tls.contexts import UpstreamContexts, tls_error

_clock: Final = time.perf_counter_ns


class Dialer:
    """Makes connections to servers.

    Args:
        loop: the loop they run on.
        contexts: how TLS is spoken to them.
        ourselves: where wiretape itself listens; a connection that comes out there is refused, by whatever name.
        numbers: the numbers that they get in the log.
        seconds: how long to wait for one address to answer, and again for the TLS handshake.
        strict_http: refuse responses that RFC 9112 forbids.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        contexts: UpstreamContexts,
        ourselves: Ourselves,
        numbers: Iterator[int],
        seconds: float,
        *,
        strict_http: bool = False,
    ) -> None:
        self._loop = loop
        self._contexts = contexts
        self._ourselves = ourselves
        self._numbers = numbers
        self._seconds = seconds
        self._strict_http = strict_http

    async def connect(self, route: Route, keeper: Keeper) -> tuple[H1ClientConnection, ConnectTimes]:
        """Connect to ``route``; ``keeper`` takes the connection when its lease ends.

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
        server = Server(next(self._numbers), *_ends(sock))
        connection = H1ClientConnection(route, server, keeper, sock, strict_http=self._strict_http)
        try:
            transport, _ = await self._loop.create_connection(
                lambda: connection,
                sock=sock,
                ssl=self._contexts.context() if secure else None,
                server_hostname=(route.name or route.host) if secure else None,
                ssl_handshake_timeout=self._seconds if secure else None,
            )
        except (OSError, ValueError, TimeoutError) as error:  # ValueError: a name that TLS cannot ask for
            sock.close()
            raise tls_error(error, side="server", host=route.name or route.host) from error
        shaken = -1
        if secure:
            shaken = _clock() - connected
            connection.handshake = server_handshake(route, transport.get_extra_info("ssl_object"))
        return connection, ConnectTimes(resolved - started, connected - resolved, shaken)

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
        last: Exception | None = None
        for family, address in addresses:
            sock = socket.socket(family, socket.SOCK_STREAM)
            sock.setblocking(False)
            try:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                async with asyncio.timeout(self._seconds):
                    await self._loop.sock_connect(sock, address)
            except (OSError, TimeoutError) as error:
                sock.close()
                last = error
            except BaseException:
                sock.close()
                raise
            else:
                return sock
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
