"""A connection of which nobody knows yet what it is: look at its first bytes, then hand it to who understands them.

The bytes are looked at with MSG_PEEK on the bare socket and only then handed to the loop, so that TLS stays in
OpenSSL and the ClientHello (SNI, ALPN, fingerprints) is seen for free. A CONNECT is answered on the bare socket, too.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import Callable
from typing import Final

from wiretape.errors import NetworkError, ProtocolError
from wiretape.log.format import EndState, Opened
from wiretape.recorder.alpn import AlpnChoice
from wiretape.recorder.context import Context
from wiretape.recorder.exchange_log import ExchangeLog
from wiretape.recorder.h1_client import H1ClientConnection
from wiretape.recorder.h1_server import H1ServerConnection, H1ServerStream
from wiretape.recorder.h2_server import H2ServerConnection
from wiretape.recorder.handshake_log import client_handshake, note_handshake
from wiretape.recorder.ourselves import LOOP, LOOP_HINT
from wiretape.recorder.ports import Client
from wiretape.recorder.protocols import H2, HTTP1
from wiretape.recorder.route import Route, address_text
from wiretape.recorder.tunnel import Tunnel
from wiretape.tls.client_hello import ClientHello, parse_client_hello
from wiretape.tls.contexts import tls_error, unused_connection_error
from wiretape.wire.http1 import MAX_HEAD, RequestHead, parse_authority, parse_request_head
from wiretape.wire.sniff import Kind, classify

FIRST_BYTES_SECONDS: Final = 120.0  # browsers open connections ahead of need
SILENT_TUNNEL_SECONDS: Final = 1.0  # then it may be the server that speaks first (SSH, SMTP)
HANDSHAKE_SECONDS: Final = 30.0
_ALPN: Final = (HTTP1,)
_H2_ALPN: Final = (H2, HTTP1)
_ESTABLISHED: Final = b"HTTP/1.1 200 Connection Established\r\n\r\n"


class Arrival:
    """A client's connection before it is anything else; ``name`` is the client's address."""

    def __init__(self, context: Context, sock: socket.socket, name: str) -> None:
        self._context = context
        self._sock = sock
        self._name = name
        self._accepted_at = address_text(sock.getsockname())
        self._number = next(context.numbers)
        self._seen = b""

    async def run(self) -> None:
        """Look at the first bytes and hand the socket on; never raises."""
        try:
            try:
                await self._sort_out()
            except ProtocolError as error:
                await self._refuse(error)
        except (OSError, TimeoutError):
            self._sock.close()
        except asyncio.CancelledError:
            self._sock.close()
            raise

    async def _sort_out(self) -> None:
        data = await self._peek(lambda seen: classify(seen) is not None, FIRST_BYTES_SECONDS)
        kind = classify(data) if data else None
        if kind is Kind.HTTP1:
            if _is_connect(data):
                await self._serve_connect()
            else:
                await self._serve(self._connection("explicit"))
        elif kind is Kind.TLS:
            await self._serve_tls(None, None)
        else:
            if kind is not None:
                self._context.note_refused(
                    self._name, f"the connection began with {kind.value}, which is not supported here", kind.value
                )
            self._sock.close()

    def _connection(self, source: str, origin: Route | None = None) -> H1ServerConnection:
        return H1ServerConnection(self._context, self._client(source), origin=origin)

    def _client(self, source: str) -> Client:
        return Client(self._number, self._name, self._context.source or source, self._accepted_at)

    async def _serve(self, connection: H1ServerConnection) -> None:
        await self._context.loop.connect_accepted_socket(lambda: connection, self._sock)

    async def _refuse(self, error: ProtocolError) -> None:
        """Answer what is no HTTP, and read what the client still sends, or the answer would be lost to RST."""
        connection = self._connection("explicit")
        connection.hold()
        await self._serve(connection)
        connection.refuse(error, self._seen)

    # -- CONNECT -----------------------------------------------------------------------------------------------------

    async def _serve_connect(self) -> None:
        head = await self._take_head()
        if head is None:
            self._sock.close()
            return
        host, port = parse_authority(head.target)
        if self._context.ourselves.named(host, port):
            raise ProtocolError(LOOP, hint=LOOP_HINT, code="loop", status=508)
        self._answer(_ESTABLISHED)
        try:
            data = await self._peek(lambda seen: classify(seen) is not None, SILENT_TUNNEL_SECONDS)
        except TimeoutError:
            await self._wait_for_either(head, host, port)
        else:
            await self._serve_inside(head, host, port, data)

    async def _serve_inside(
        self, head: RequestHead, host: str, port: int, data: bytes, upstream: H1ClientConnection | None = None
    ) -> None:
        """Serve what the client begins with inside a CONNECT; ``upstream`` is a connection made in advance."""
        kind = classify(data) if data else None
        # A CONNECT inside is meant for another proxy; what passes there is not for us to terminate.
        if kind in (Kind.TLS, Kind.HTTP1, None) and not _is_connect(data) and upstream is not None:
            upstream.abort()
        if kind is Kind.TLS:
            await self._serve_tls(head, Route("https", host, port))
        elif kind is Kind.HTTP1 and not _is_connect(data):
            await self._serve(self._connection("connect", Route("http", host, port)))
        elif kind is None:
            self._sock.close()
        else:
            await self._serve_tunnel(head, host, port, upstream)

    async def _wait_for_either(self, head: RequestHead, host: str, port: int) -> None:
        """Connect to the server of a client that says nothing, and see which of the two speaks first."""
        context = self._context
        try:
            upstream, _ = await context.pool.connect_raw(Route("tcp", host, port))
        except NetworkError as error:
            log = self._open_connect(head, host, port)
            log.done(EndState.FAILED, code=error.code, error=error.message)
            self._sock.close()
            return
        spoken: asyncio.Future[None] = context.loop.create_future()
        upstream.listen_early(lambda: _resolve(spoken))
        peek = context.loop.create_task(self._peek(lambda seen: classify(seen) is not None, FIRST_BYTES_SECONDS))
        try:
            await asyncio.wait((peek, spoken), return_when=asyncio.FIRST_COMPLETED)
            if peek.done():
                await self._serve_inside(head, host, port, peek.result(), upstream)
            else:
                peek.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await peek
                await self._serve_tunnel(head, host, port, upstream)
        except BaseException:
            peek.cancel()
            upstream.abort()
            raise

    async def _serve_tls(self, head: RequestHead | None, route: Route | None) -> None:
        hello = await self._peek_hello()
        if hello is None:
            if head is None or route is None:
                self._sock.close()
            else:
                await self._serve_tunnel(head, route.host, route.port)
            return
        name = hello.sni or (route.host if route else "")
        if not name:
            self._context.note_refused(
                self._name, "a TLS connection without a server name: where it leads is unknown", "no-sni"
            )
            self._sock.close()
            return
        if route is None:
            route = Route("https", name, 443)
        elif hello.sni and hello.sni != route.host:
            route = route._replace(name=hello.sni)
        source = "connect" if head is not None else "transparent"
        made: list[H1ServerConnection | H2ServerConnection] = []

        def choose(protocol: str) -> H1ServerConnection | H2ServerConnection:
            engine = self._context.protocols.engine if protocol == H2 else None
            if engine is None:
                made.append(self._connection(source, route))
            else:
                made.append(H2ServerConnection(self._context, self._client(source), engine, origin=route))
            made[0].on_lost_early = lambda error: self._lost_early(head, hello, route, error)
            return made[0]

        alpn = await self._offer(hello, route)
        context = self._context.server_contexts.for_host(name, alpn)
        try:
            transport, _ = await self._context.loop.connect_accepted_socket(
                (lambda: AlpnChoice(choose)) if H2 in alpn else (lambda: choose("")),
                self._sock,
                ssl=context,
                ssl_handshake_timeout=HANDSHAKE_SECONDS,
            )
        except (OSError, ssl.SSLError, TimeoutError) as error:
            self._record_refusal(head, hello, route, tls_error(error, side="client", host=hello.sni or route.host))
            return
        made[0].note_handshake(client_handshake(route, hello, transport.get_extra_info("ssl_object")))

    async def _offer(self, hello: ClientHello, route: Route) -> tuple[str, ...]:
        """Return the protocols to offer a client: those that it would be offered by the server.

        Where the server cannot be reached nobody knows; then the client gets to hear why in what it likes best.
        """
        protocols = self._context.protocols
        if H2 not in hello.alpn or protocols.engine is None:
            return _ALPN
        if not protocols.of(route):
            await self._context.pool.ask(route._replace(protocol=H2))
        return _ALPN if protocols.of(route) == HTTP1 else _H2_ALPN

    async def _peek_hello(self) -> ClientHello | None:
        try:
            data = await self._peek(lambda seen: parse_client_hello(seen) is not None, HANDSHAKE_SECONDS)
            return parse_client_hello(data) if data else None
        except ProtocolError:
            return None

    # -- tunnels -----------------------------------------------------------------------------------------------------

    async def _serve_tunnel(
        self, head: RequestHead, host: str, port: int, upstream: H1ClientConnection | None = None
    ) -> None:
        log = self._open_connect(head, host, port)
        try:
            await self._join(head, log, Route("tcp", host, port), upstream)
        except (OSError, asyncio.CancelledError) as error:
            log.done(EndState.ABORTED, code="client-left", error=str(error) or "the recorder stopped")
            raise

    async def _join(
        self, head: RequestHead, log: ExchangeLog, route: Route, upstream: H1ClientConnection | None
    ) -> None:
        context = self._context
        written: asyncio.Future[None] = context.loop.create_future()
        log.stream.release(_resolve, written)
        await written
        if upstream is None:
            try:
                upstream, times = await context.pool.connect_raw(route)
            except NetworkError as error:
                log.done(EndState.FAILED, code=error.code, error=error.message)
                self._sock.close()
                return
            log.times = times
        log.server, log.status = upstream.server, 200
        connection = self._connection("connect")
        connection.hold()
        try:
            await self._serve(connection)
        except BaseException:
            upstream.abort()
            raise
        downstream = H1ServerStream(connection, head, None)
        tunnel = Tunnel(downstream, upstream, log)
        downstream.switch(tunnel)
        upstream.switch(tunnel)

    def _open_connect(self, head: RequestHead, host: str, port: int) -> ExchangeLog:
        log = ExchangeLog(self._context.stream)
        record = Opened(
            time.time_ns(),
            self._number,
            "",
            host,
            port,
            self._name,
            len(head.raw),
            "connect",
            accepted_at=self._accepted_at,
        )
        log.opened(record, head.raw, b"", True)
        return log

    # -- what is recorded of what failed -----------------------------------------------------------------------------

    def _lost_early(self, head: RequestHead | None, hello: ClientHello, route: Route, error: Exception | None) -> None:
        """Record a connection that ended after its handshake without one byte of a request.

        Node, wget and git refuse a certificate like this (seen with their current releases); a browser's connection
        that was opened ahead of need looks the same, so it is ``aborted``, not ``failed``.
        """
        if not self._context.stopping:
            reason = unused_connection_error(error, host=hello.sni or route.host)
            self._record_refusal(head, hello, route, reason)

    def _record_refusal(self, head: RequestHead | None, hello: ClientHello, route: Route, error: NetworkError) -> None:
        """Record why there will be no exchanges: the user must be able to see why an app shows nothing."""
        sentence = str(error)
        note_handshake(
            self._context.stream, self._number, client_handshake(route, hello, None, code=error.code, error=sentence)
        )
        if head is not None:
            log = self._open_connect(head, route.host, route.port)
            state = EndState.ABORTED if error.code == "client-left-unused" else EndState.FAILED
            log.done(state, code=error.code, error=sentence)

    # -- the bare socket ---------------------------------------------------------------------------------------------

    def _answer(self, data: bytes) -> None:
        """Send a few bytes; a fresh socket's send buffer always has room for them."""
        with contextlib.suppress(OSError):
            self._sock.send(data)

    async def _peek(self, enough: Callable[[bytes], bool], seconds: float) -> bytes:
        """Look at what has arrived until ``enough`` says so; b"" when the client left.

        SO_RCVLOWAT makes the socket readable only when there is more than was seen, so waiting costs nothing.
        """
        waited_for = 1
        try:
            async with asyncio.timeout(seconds):
                while True:
                    try:
                        data = self._seen = self._sock.recv(MAX_HEAD + 1, socket.MSG_PEEK)
                    except BlockingIOError:
                        data = None
                    if data is not None and (not data or enough(data)):
                        return data
                    if data is not None and len(data) < waited_for:
                        return b""  # readable without the bytes that were waited for: the client has ended its side
                    waited_for = len(data) + 1 if data else 1
                    self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, waited_for)
                    await self._readable()
        finally:
            if waited_for > 1:  # whoever has the socket then may want single bytes
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)

    async def _take_head(self) -> RequestHead | None:
        """Take a request's head off the socket, and nothing of what follows it; None when the client left.

        It is taken as it comes: what is only looked at stays in the socket's buffer, which a long head fills.
        """
        taken = b""
        async with asyncio.timeout(HANDSHAKE_SECONDS):
            while True:
                try:
                    data = self._sock.recv(MAX_HEAD + 1, socket.MSG_PEEK)
                except BlockingIOError:
                    await self._readable()
                    continue
                if not data:
                    return None
                self._seen = taken + data
                head = parse_request_head(self._seen)
                self._sock.recv((head.consumed if head else len(self._seen)) - len(taken))
                if head is not None:
                    return head
                taken = self._seen

    async def _readable(self) -> None:
        loop = self._context.loop
        ready: asyncio.Future[None] = loop.create_future()
        loop.add_reader(self._sock.fileno(), _resolve, ready)
        try:
            await ready
        finally:
            loop.remove_reader(self._sock.fileno())


def _is_connect(data: bytes) -> bool:
    return data.lstrip(b"\r\n").startswith(b"CONNECT ")


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
