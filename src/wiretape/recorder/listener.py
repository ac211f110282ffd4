"""The one port: look at a connection's first bytes, then decide what it is.

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
from typing import Any, Final

from wiretape.errors import NetworkError, ProtocolError
from wiretape.log.format import EndState, Event, FrameType, Opened, TlsSeen
from wiretape.recorder.client import ClientConnection
from wiretape.recorder.context import Context
from wiretape.recorder.exchange_log import Tap, Timer
from wiretape.recorder.ourselves import LOOP, LOOP_HINT
from wiretape.recorder.pages import error_page
from wiretape.recorder.tunnel import Tunnel
from wiretape.recorder.upstream import Route, UpstreamConnection
from wiretape.tls.client_hello import ClientHello, parse_client_hello
from wiretape.tls.contexts import tls_error, unused_connection_error
from wiretape.wire.http1 import MAX_HEAD, RequestHead, parse_authority, parse_request_head
from wiretape.wire.sniff import Kind, classify

ACCEPTS_PER_TURN: Final = 64
FIRST_BYTES_SECONDS: Final = 120.0  # browsers open connections ahead of need
SILENT_TUNNEL_SECONDS: Final = 1.0  # then the server is expected to speak first (SSH, SMTP)
HANDSHAKE_SECONDS: Final = 30.0
_ALPN: Final = ("http/1.1",)
_ESTABLISHED: Final = b"HTTP/1.1 200 Connection Established\r\n\r\n"


class Listener:
    """Accepts connections from a listening socket that the daemon bound."""

    def __init__(self, context: Context, sock: socket.socket) -> None:
        self._context = context
        self._sock = sock
        self._arrivals: set[asyncio.Task[None]] = set()
        self._stopped = False
        sock.setblocking(False)

    def start(self) -> None:
        """Begin to accept, unless stopped in the meantime."""
        if not self._stopped:
            self._context.loop.add_reader(self._sock.fileno(), self._accept)

    def stop(self) -> None:
        """Accept no more; connections that have not said anything yet are closed."""
        self._stopped = True
        self._context.loop.remove_reader(self._sock.fileno())
        for task in self._arrivals:
            task.cancel()

    def _accept(self) -> None:
        for _ in range(ACCEPTS_PER_TURN):
            try:
                sock, address = self._sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:  # out of descriptors: the connection waits in the backlog
                self._context.loop.remove_reader(self._sock.fileno())
                self._context.loop.call_later(0.1, self.start)
                return
            sock.setblocking(False)
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            host, port = address[:2]
            name = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            task = self._context.loop.create_task(Arrival(self._context, sock, name).run())
            self._arrivals.add(task)
            task.add_done_callback(self._arrivals.discard)


class Arrival:
    """A connection of which nobody knows yet what it is."""

    def __init__(self, context: Context, sock: socket.socket, name: str) -> None:
        self._context = context
        self._sock = sock
        self._name = name

    async def run(self) -> None:
        """Look at the first bytes and hand the socket to who understands them; never raises."""
        try:
            await self._sort_out()
        except ProtocolError as error:
            self._note("refused", error.message, error.code)
            self._answer(error_page(error.status, error.code, error.message, error.hint))
            self._sock.close()
        except (OSError, TimeoutError):
            self._sock.close()
        except asyncio.CancelledError:
            self._sock.close()
            raise

    async def _sort_out(self) -> None:
        data = await self._peek(lambda seen: classify(seen) is not None, FIRST_BYTES_SECONDS)
        kind = classify(data) if data else None
        if kind is Kind.HTTP1:
            if data.lstrip(b"\r\n").startswith(b"CONNECT "):
                await self._serve_connect()
            else:
                await self._serve(ClientConnection(self._context, self._name))
        elif kind is Kind.TLS:
            await self._serve_tls(None, None)
        else:
            if kind is not None:
                self._note(
                    "refused", f"the connection began with {kind.value}, which is not supported here", kind.value
                )
            self._sock.close()

    # -- CONNECT -------------------------------------------------------------------------------------------------

    async def _serve_connect(self) -> None:
        data = await self._peek(lambda seen: parse_request_head(seen) is not None, HANDSHAKE_SECONDS)
        head = parse_request_head(data)
        if head is None:
            self._sock.close()
            return
        host, port = parse_authority(head.target)
        self._sock.recv(head.consumed)
        if self._context.ourselves.named(host, port):
            raise ProtocolError(LOOP, hint=LOOP_HINT, code="loop", status=508)
        self._answer(_ESTABLISHED)
        try:
            data = await self._peek(lambda seen: classify(seen) is not None, SILENT_TUNNEL_SECONDS)
        except TimeoutError:
            await self._serve_silent(head, host, port)
            return
        await self._serve_inside(data, head, host, port)

    async def _serve_inside(
        self, data: bytes, head: RequestHead, host: str, port: int, upstream: UpstreamConnection | None = None
    ) -> None:
        """Serve what a client has begun inside its CONNECT; ``upstream`` is for a tunnel, and closed otherwise."""
        kind = classify(data) if data else None
        if upstream is not None:
            if kind is not Kind.TLS and kind is not Kind.HTTP1:
                await self._serve_tunnel(head, host, port, upstream)
                return
            upstream.close()
        if kind is Kind.TLS:
            await self._serve_tls(head, Route("https", host, port))
        elif kind is Kind.HTTP1:
            origin = Route("http", host, port)
            await self._serve(ClientConnection(self._context, self._name, origin=origin, source="connect"))
        elif kind is None:
            self._sock.close()
        else:
            await self._serve_tunnel(head, host, port)

    async def _serve_silent(self, head: RequestHead, host: str, port: int) -> None:
        """Wait for whoever speaks first: the server (SSH, SMTP), or a client that takes its time to begin TLS."""
        context = self._context
        try:
            upstream = await context.connector.connect(Route("tcp", host, port), context.pool)
        except NetworkError as error:
            tap = self._open_connect(ClientConnection(context, self._name, source="connect"), head, host, port)
            tap.done(EndState.FAILED, 0, code=error.code, error=error.message)
            self._sock.close()
            return
        try:
            client = asyncio.ensure_future(self._peek(lambda seen: classify(seen) is not None, FIRST_BYTES_SECONDS))
            server = asyncio.ensure_future(upstream.first_word())
            try:
                await asyncio.wait((client, server), return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (client, server):
                    task.cancel()
                await asyncio.wait((client, server))
        except BaseException:
            upstream.close()
            raise
        data = b"" if client.cancelled() or client.exception() is not None else client.result()
        await self._serve_inside(b"" if upstream.spoke_early else data, head, host, port, upstream)

    async def _serve(self, client: ClientConnection) -> None:
        await self._context.loop.connect_accepted_socket(lambda: client, self._sock)

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
            self._note("refused", "a TLS connection without a server name: where it leads is unknown", "no-sni")
            self._sock.close()
            return
        if route is None:
            route = Route("https", name, 443)
        elif hello.sni and hello.sni != route.host:
            route = route._replace(name=hello.sni)
        source = "connect" if head is not None else "transparent"
        client = ClientConnection(self._context, self._name, origin=route, source=source)
        client.on_lost_early = lambda error: self._lost_early(client, head, hello, error)
        context = self._context.server_contexts.for_host(name, _ALPN)
        try:
            transport, _ = await self._context.loop.connect_accepted_socket(
                lambda: client, self._sock, ssl=context, ssl_handshake_timeout=HANDSHAKE_SECONDS
            )
        except (OSError, ssl.SSLError, TimeoutError) as error:
            client.on_lost_early = None
            self._refused(client, head, hello, error)
            return
        self._shaken(client, hello, transport.get_extra_info("ssl_object"))

    async def _peek_hello(self) -> ClientHello | None:
        try:
            data = await self._peek(lambda seen: parse_client_hello(seen) is not None, HANDSHAKE_SECONDS)
            return parse_client_hello(data) if data else None
        except ProtocolError:
            return None

    # -- tunnels -------------------------------------------------------------------------------------------------

    async def _serve_tunnel(
        self, head: RequestHead, host: str, port: int, upstream: UpstreamConnection | None = None
    ) -> None:
        context = self._context
        client = ClientConnection(context, self._name, source="connect")
        client.hold()
        tap = self._open_connect(client, head, host, port)
        try:
            await self._join(client, tap, Route("tcp", host, port), upstream)
        except (OSError, asyncio.CancelledError) as error:
            tap.done(EndState.ABORTED, 0, code="client-left", error=str(error) or "the recorder stopped")
            raise

    async def _join(
        self, client: ClientConnection, tap: Tap, route: Route, upstream: UpstreamConnection | None
    ) -> None:
        context = self._context
        written: asyncio.Future[None] = context.loop.create_future()
        tap.tape.release(_resolve, written)
        await written
        try:
            upstream = upstream or await context.connector.connect(route, context.pool)
        except NetworkError as error:
            tap.done(EndState.FAILED, 0, code=error.code, error=error.message)
            self._sock.close()
            return
        tap.timer.server = upstream.server
        try:
            await context.loop.connect_accepted_socket(lambda: client, self._sock)
        except BaseException:
            upstream.close()
            raise
        Tunnel(client, upstream, tap, status=200).begin()

    def _open_connect(self, client: ClientConnection, head: RequestHead, host: str, port: int) -> Tap:
        tap = Tap(self._context.tape, Timer())
        record = Opened(time.time_ns(), client.number, "", host, port, client.name, len(head.raw), "connect")
        tap.opened(record, head.raw, b"", True)
        return tap

    # -- what is recorded of TLS ---------------------------------------------------------------------------------

    def _shaken(self, client: ClientConnection, hello: ClientHello, tls: Any) -> None:
        self._tls_frame(
            client, hello, alpn=tls.selected_alpn_protocol() or "", version=tls.version() or "", cipher=tls.cipher()[0]
        )

    def _lost_early(
        self, client: ClientConnection, head: RequestHead | None, hello: ClientHello, error: Exception | None
    ) -> None:
        """Record a connection that ended after its handshake without one byte of a request.

        Node, wget and git refuse a certificate like this (seen with their current releases); a browser's connection
        that was opened ahead of need looks the same, so it is ``aborted``, not ``failed``.
        """
        if not self._context.stopping:
            host = hello.sni or (client.origin.host if client.origin else "")
            self._record_refusal(client, head, hello, unused_connection_error(error, host=host))

    def _refused(
        self, client: ClientConnection, head: RequestHead | None, hello: ClientHello, error: BaseException
    ) -> None:
        """Record why there will be no exchanges: the user must be able to see why an app shows nothing."""
        host = hello.sni or (client.origin.host if client.origin else "")
        self._record_refusal(client, head, hello, tls_error(error, side="client", host=host))

    def _record_refusal(
        self, client: ClientConnection, head: RequestHead | None, hello: ClientHello, error: NetworkError
    ) -> None:
        sentence = str(error)
        self._tls_frame(client, hello, code=error.code, error=sentence)
        if head is not None and client.origin is not None:
            tap = self._open_connect(client, head, client.origin.host, client.origin.port)
            state = EndState.ABORTED if error.code == "client-left-unused" else EndState.FAILED
            tap.done(state, 0, code=error.code, error=sentence)

    def _tls_frame(
        self,
        client: ClientConnection,
        hello: ClientHello,
        *,
        alpn: str = "",
        version: str = "",
        cipher: str = "",
        code: str = "",
        error: str = "",
    ) -> None:
        route = client.origin
        assert route is not None
        record = TlsSeen(
            time.time_ns(),
            client.number,
            "client",
            route.host,
            route.port,
            hello.sni or "",
            alpn,
            version,
            cipher,
            code,
            error,
        )
        self._context.tape.append(FrameType.TLS, 0, record, hello.raw)

    def _note(self, kind: str, message: str, code: str) -> None:
        detail = {"client": self._name, "error": message, "code": code}
        self._context.tape.append(FrameType.EVENT, 0, Event(time.time_ns(), kind, detail))

    # -- the bare socket -----------------------------------------------------------------------------------------

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
                        data = self._sock.recv(MAX_HEAD + 1, socket.MSG_PEEK)
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

    async def _readable(self) -> None:
        loop = self._context.loop
        ready: asyncio.Future[None] = loop.create_future()
        loop.add_reader(self._sock.fileno(), _resolve, ready)
        try:
            await ready
        finally:
            loop.remove_reader(self._sock.fileno())


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
