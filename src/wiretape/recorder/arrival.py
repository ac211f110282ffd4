"""A connection of which nobody knows yet what it is: look at its first bytes, then hand it to who understands them.

The bytes are looked at on the bare socket and only then handed to the loop. CONNECT and SOCKS are answered there, too.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time
from typing import Final, NamedTuple

from wiretape.errors import NetworkError, ProtocolError
from wiretape.log.format import EndState, Opened
from wiretape.recorder.alpn import AlpnChoice
from wiretape.recorder.bare_socket import BareSocket
from wiretape.recorder.context import Context
from wiretape.recorder.destination import Destination, destination
from wiretape.recorder.exchange_log import ExchangeLog
from wiretape.recorder.h1_client import H1ClientConnection
from wiretape.recorder.h1_server import H1ServerConnection, H1ServerStream
from wiretape.recorder.h2_server import H2ServerConnection
from wiretape.recorder.handshake_log import client_handshake, note_handshake, passed_handshake
from wiretape.recorder.original import AsAsked, Redirected, named_route, original_destination
from wiretape.recorder.ourselves import LOOP, LOOP_HINT
from wiretape.recorder.ports import Client
from wiretape.recorder.protocols import H2, HTTP1
from wiretape.recorder.reverse import Picks, Servers
from wiretape.recorder.route import Route
from wiretape.recorder.socks import ask_socks
from wiretape.recorder.tls_to_proxy import FirstUnderTls
from wiretape.recorder.tunnel import CountedBytes, Tunnel
from wiretape.tls.client_hello import ClientHello, parse_client_hello
from wiretape.tls.contexts import tls_error, unused_connection_error
from wiretape.wire.h2 import ErrorCode, farewell
from wiretape.wire.http1 import parse_authority, parse_request_head
from wiretape.wire.sniff import Kind, classify

FIRST_BYTES_SECONDS: Final = 120.0  # browsers open connections ahead of need
SILENT_TUNNEL_SECONDS: Final = 1.0  # then it may be the server that speaks first (SSH, SMTP)
HANDSHAKE_SECONDS: Final = 30.0
_ALPN: Final = (HTTP1,)
_H2_ALPN: Final = (H2, HTTP1)
_REDIRECTED: Final = (
    "the firewall redirects wiretape's own connections to its transparent port: except them by user or mark"
)
_ESTABLISHED: Final = b"HTTP/1.1 200 Connection Established\r\n\r\n"


class _Way(NamedTuple):
    """Where a client's TLS leads.

    Attributes:
        leads: the server; None where only the requests inside will say.
        source: how the client came.
        servers: those behind us, of which each request picks one; ``leads`` takes the rest.
        straight: the client came to the proxy's port and began with TLS, so that it may mean the proxy itself.
    """

    leads: Route | None
    source: str
    servers: Servers | None = None
    straight: bool = False


class Arrival:
    """A client's connection before it is anything else.

    Args:
        context: what the recorder's parts share.
        sock: the connection.
        name: the client's address.
        transparent: host and port of the listener, where its clients do not know that they speak with a proxy.
        accepted_at: the address that the client had connected to, where ``sock`` does not say it.
    """

    def __init__(
        self,
        context: Context,
        sock: socket.socket,
        name: str,
        transparent: tuple[str, int] | None = None,
        accepted_at: str = "",
    ) -> None:
        self._context = context
        self._bare = BareSocket(context.loop, sock)
        self._name = name
        self._accepted_at = accepted_at or self._bare.local
        self._number = next(context.numbers)
        self._transparent = transparent

    async def run(self) -> None:
        """Look at the first bytes and hand the socket on; never raises."""
        try:
            try:
                if self._transparent is not None:
                    await self._serve_redirected(self._transparent)
                else:
                    await self._sort_out()
            except ProtocolError as error:
                await self._refuse(error)
        except (OSError, TimeoutError):
            self._bare.close()
        except asyncio.CancelledError:
            self._bare.close()
            raise

    async def _sort_out(self) -> None:
        data = await self._bare.peek(_is_known, FIRST_BYTES_SECONDS)
        kind = classify(data) if data else None
        if kind is Kind.HTTP1:
            if _is_connect(data):
                await self._serve_asked(await self._take_connect())
            else:
                await self._serve(self._connection("explicit"))
        elif kind is Kind.TLS:
            await self._serve_tls(None)
        elif kind is Kind.HTTP2:
            await self._refuse_h2()
        elif kind is Kind.SOCKS5 or kind is Kind.SOCKS4:
            version = 5 if kind is Kind.SOCKS5 else 4
            await self._serve_asked(await ask_socks(self._bare, self._context, self._name, version=version))
        else:
            if kind is not None:
                message = f"the connection began with {kind.value}, which is not supported here"
                self._context.note_refused(self._name, message, kind.value)
            self._bare.close()

    def _connection(self, source: str, origin: Route | None = None, servers: Picks | None = None) -> H1ServerConnection:
        return H1ServerConnection(self._context, self._client(source), origin=origin, servers=servers)

    def _client(self, source: str) -> Client:
        return Client(self._number, self._name, self._context.source or source, self._accepted_at)

    async def _serve(self, connection: H1ServerConnection) -> None:
        await self._context.loop.connect_accepted_socket(lambda: connection, self._bare.sock)

    async def _refuse(self, error: ProtocolError) -> None:
        """Answer what is no HTTP, and read what the client still sends, or the answer would be lost to RST."""
        connection = self._connection("explicit")
        connection.hold()
        await self._serve(connection)
        connection.refuse(error, self._bare.seen)

    async def _refuse_h2(self) -> None:
        """Tell a client that begins with HTTP/2, without TLS, what is spoken here, in the words of HTTP/2."""
        message = "HTTP/2 without TLS is not spoken here: the proxy takes HTTP/1.1, and HTTP/2 inside https"
        self._context.note_refused(self._name, message, Kind.HTTP2.value)
        words = farewell(ErrorCode.HTTP_1_1_REQUIRED, message.encode("ascii"))
        await self._bare.close_with(words)

    # -- a client that does not know of us --------------------------------------------------------------------------

    async def _serve_redirected(self, listening: tuple[str, int]) -> None:
        """Serve a client that believes to speak with its server."""
        context = self._context
        original = original_destination(self._bare.sock, listening)
        if original is not None:
            if context.ourselves.named(*original):
                context.note_refused(self._name, LOOP, "loop")
                self._bare.close()
            else:
                await self._serve_asked(destination(*original, "transparent"))
            return
        data = await self._bare.peek(_is_known, FIRST_BYTES_SECONDS)
        kind = classify(data) if data else None
        if kind is Kind.TLS:
            await self._serve_tls(None)
        elif kind is Kind.HTTP1 and not _is_connect(data):
            await self._serve(self._connection("transparent", servers=AsAsked()))
        else:
            if kind is not None:
                message = f"the connection to the transparent port began with {kind.value}: where it leads is unknown"
                context.note_refused(self._name, message, kind.value)
            self._bare.close()

    # -- a client that said where it wants to go -----------------------------------------------------------------------

    async def _take_connect(self) -> Destination | None:
        """Answer a CONNECT; None when the client left.

        Raises:
            ProtocolError: it is none, or leads back here.
        """
        head = await self._bare.take(parse_request_head, HANDSHAKE_SECONDS)
        if head is None:
            return None
        if self._context.credentials is not None:
            head = self._context.credentials.admit(head)
        host, port = parse_authority(head.target)
        if self._context.ourselves.named(host, port):
            raise ProtocolError(LOOP, hint=LOOP_HINT, code="loop", status=508)
        self._bare.answer(_ESTABLISHED)
        return Destination(host, port, "connect", head)

    async def _serve_asked(self, asked: Destination | None) -> None:
        """Serve a client that has been told that it is connected; None for one that is not."""
        if asked is None:
            self._bare.close()
            return
        try:
            data = await self._bare.peek(_is_known, SILENT_TUNNEL_SECONDS)
        except TimeoutError:
            data = None
        # A rule of the firewall may redirect our own connections, too; who has been let in without asking is looked at.
        if self._transparent is not None and self._context.pool.is_ours(self._name):
            self._context.note_refused(self._name, _REDIRECTED, "loop")
            self._bare.close()
        elif data is None:
            await self._wait_for_either(asked)
        else:
            await self._serve_inside(asked, data)

    async def _serve_inside(self, asked: Destination, data: bytes, upstream: H1ClientConnection | None = None) -> None:
        """Serve what the client begins with; ``upstream`` is a connection to the server made in advance."""
        kind = classify(data) if data else None
        # A CONNECT inside is meant for another proxy; what passes there is not for us to terminate.
        if kind in (Kind.TLS, Kind.HTTP1, None) and not _is_connect(data) and upstream is not None:
            upstream.abort()
        if kind is Kind.TLS:
            await self._serve_tls(asked)
        elif kind is Kind.HTTP1 and not _is_connect(data):
            if asked.source == "transparent":
                await self._serve(self._connection(asked.source, servers=Redirected(asked.host, asked.port)))
            else:
                await self._serve(self._connection(asked.source, asked.route("http")))
        elif kind is None:
            self._bare.close()
        else:
            await self._serve_tunnel(asked, upstream)

    async def _wait_for_either(self, asked: Destination) -> None:
        """Connect to the server of a client that says nothing, and see which of the two speaks first."""
        context = self._context
        try:
            upstream, _ = await context.pool.connect_raw(asked.route("tcp"))
        except NetworkError as error:
            log = self._open_connect(asked)
            log.done(EndState.FAILED, code=error.code, error=error.message)
            self._bare.close()
            return
        spoken: asyncio.Future[None] = context.loop.create_future()
        upstream.listen_early(lambda: _resolve(spoken))
        peek = context.loop.create_task(self._bare.peek(_is_known, FIRST_BYTES_SECONDS))
        try:
            await asyncio.wait((peek, spoken), return_when=asyncio.FIRST_COMPLETED)
            if peek.done():
                await self._serve_inside(asked, peek.result(), upstream)
            else:
                peek.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await peek
                await self._serve_tunnel(asked, upstream)
        except BaseException:
            peek.cancel()
            upstream.abort()
            raise

    async def _serve_tls(self, asked: Destination | None) -> None:
        hello = await self._peek_hello()
        if hello is None:
            if asked is None:
                self._bare.close()
            else:
                await self._serve_tunnel(asked)
            return
        name = hello.sni or (asked.host if asked else "")
        way = self._way(asked, name)
        if way is None:
            self._bare.close()
            return
        name = name or self._bare.local_host
        passes = way.leads is not None and way.servers is None
        if passes and self._context.pass_through.takes(name, asked.host if asked else ""):
            await self._pass(asked or destination(name, 443, "transparent"), hello)
        else:
            await self._shake_hands(asked, hello, way, name)

    def _way(self, asked: Destination | None, name: str) -> _Way | None:
        """Return where TLS for ``name`` leads; None where that is nowhere, which is noted."""
        context = self._context
        if asked is not None:
            if asked.source == "transparent":
                return _Way(named_route("https", asked.host, asked.port, name), asked.source)
            route = asked.route("https")
            return _Way(route if name == route.host else route._replace(name=name), asked.source)
        straight = self._transparent is None
        if straight and context.servers is not None:
            # A client that asks by address sends no name.
            return _Way(context.servers.named(name), "reverse", context.servers, straight=True)
        if straight and _is_our_name(name):
            return _Way(None, "explicit", straight=True)
        if not name:
            message = "a TLS connection without a server name: where it leads is unknown"
            context.note_refused(self._name, message, "no-sni")
            return None
        if straight and context.credentials is not None:
            return _Way(None, "explicit", straight=True)  # who its user is only a proxy's requests can say
        return _Way(Route("https", name, 443), "transparent", straight=straight)

    async def _shake_hands(self, asked: Destination | None, hello: ClientHello, way: _Way, name: str) -> None:
        """Take TLS off with a certificate for ``name``, and hand over to who speaks what was agreed on."""
        route = way.leads or Route("https", name, self._bare.sock.getsockname()[1])
        made: list[H1ServerConnection | H2ServerConnection] = []

        def choose(protocol: str) -> asyncio.Protocol:
            connection = self._under_tls(protocol, way, route)
            made.append(connection)
            connection.on_lost_early = lambda error: self._lost_early(asked, hello, route, error)
            if way.straight and isinstance(connection, H1ServerConnection):
                return FirstUnderTls(connection, self._arrive_under_tls)
            return connection

        alpn = await self._offer(hello, way)
        context = self._context.server_contexts.for_host(name, alpn)
        try:
            transport, _ = await self._context.loop.connect_accepted_socket(
                (lambda: AlpnChoice(choose)) if H2 in alpn else (lambda: choose("")),
                self._bare.sock,
                ssl=context,
                ssl_handshake_timeout=HANDSHAKE_SECONDS,
            )
        except (OSError, ssl.SSLError, TimeoutError) as error:
            self._record_refusal(asked, hello, route, tls_error(error, side="client", host=hello.sni or route.host))
            return
        made[0].note_handshake(client_handshake(route, hello, transport.get_extra_info("ssl_object")))

    def _under_tls(self, protocol: str, way: _Way, route: Route) -> H1ServerConnection | H2ServerConnection:
        """Return what speaks ``protocol`` with the client."""
        engine = self._context.protocols.engine if protocol == H2 else None
        if engine is None:
            return self._connection(way.source, way.leads if way.servers is None else None)
        return H2ServerConnection(self._context, self._client(way.source), engine, origin=route, servers=way.servers)

    async def _pass(self, asked: Destination, hello: ClientHello) -> None:
        """Let TLS pass as it is; the log has the ClientHello, and a tunnel that counts the bytes."""
        self._context.pass_through.passed += 1
        note_handshake(self._context.stream, self._number, passed_handshake(asked.route("https"), hello))
        await self._serve_tunnel(asked)

    def _arrive_under_tls(self, sock: socket.socket) -> None:
        """Serve what lies under a client's TLS to the proxy as a connection of its own."""
        inner = Arrival(self._context, sock, self._name, accepted_at=self._accepted_at)
        task = self._context.loop.create_task(inner.run())
        self._context.arriving.add(task)
        task.add_done_callback(self._context.arriving.discard)

    async def _offer(self, hello: ClientHello, way: _Way) -> tuple[str, ...]:
        """Return the protocols to offer a client: those that it would be offered by the server.

        Where the server cannot be reached nobody knows; then the client gets to hear why in what it likes best. One
        that may mean a proxy is offered HTTP/1.1, in which a proxy is spoken to.
        """
        protocols, route = self._context.protocols, way.leads
        if route is None or H2 not in hello.alpn or route.scheme != "https" or protocols.engine is None:
            return _ALPN
        if protocols.of(route) == HTTP1 and HTTP1 not in hello.alpn:
            protocols.forget(route)  # whoever speaks HTTP/2 alone knows of a server that does; it may be a new one
        if not protocols.of(route):
            await self._context.pool.ask(route._replace(protocol=H2))
        known = protocols.of(route)
        maybe_proxy = way.straight and way.servers is None
        return _ALPN if known == HTTP1 or (maybe_proxy and not known) else _H2_ALPN

    async def _peek_hello(self) -> ClientHello | None:
        try:
            data = await self._bare.peek(lambda seen: parse_client_hello(seen) is not None, HANDSHAKE_SECONDS)
            return parse_client_hello(data) if data else None
        except ProtocolError:
            return None

    # -- tunnels -----------------------------------------------------------------------------------------------------

    async def _serve_tunnel(self, asked: Destination, upstream: H1ClientConnection | None = None) -> None:
        log = self._open_connect(asked)
        try:
            await self._join(asked, log, upstream)
        except (OSError, asyncio.CancelledError) as error:
            log.done(EndState.ABORTED, code="client-left", error=str(error) or "the recorder stopped")
            raise

    async def _join(self, asked: Destination, log: ExchangeLog, upstream: H1ClientConnection | None) -> None:
        context = self._context
        written: asyncio.Future[None] = context.loop.create_future()
        log.stream.release(_resolve, written)
        await written
        if upstream is None:
            try:
                upstream, times = await context.pool.connect_raw(asked.route("tcp"))
            except NetworkError as error:
                log.done(EndState.FAILED, code=error.code, error=error.message)
                self._bare.close()
                return
            log.times = times
        log.server, log.status = upstream.server, 200
        connection = self._connection(asked.source)
        connection.hold()
        try:
            await self._serve(connection)
        except BaseException:
            upstream.abort()
            raise
        downstream = H1ServerStream(connection, asked.head, None)
        tunnel = Tunnel(downstream, upstream, log, CountedBytes(log))
        downstream.switch(tunnel)
        upstream.switch(tunnel)

    def _open_connect(self, asked: Destination) -> ExchangeLog:
        log = ExchangeLog(self._context.stream)
        client, raw = self._client(asked.source), asked.head.raw
        record = Opened(
            time.time_ns(),
            client.connection,
            "",
            asked.host,
            asked.port,
            client.name,
            len(raw),
            client.source,
            accepted_at=client.accepted_at,
        )
        log.opened(record, raw, b"", True)
        return log

    # -- what is recorded of what failed -----------------------------------------------------------------------------

    def _lost_early(self, asked: Destination | None, hello: ClientHello, route: Route, error: Exception | None) -> None:
        """Record a connection that ended after its handshake without one byte of a request.

        Node, wget and git refuse a certificate like this (seen with their current releases); a browser's connection
        that was opened ahead of need looks the same, so it is ``aborted``, not ``failed``.
        """
        if not self._context.stopping:
            reason = unused_connection_error(error, host=hello.sni or route.host)
            self._record_refusal(asked, hello, route, reason)

    def _record_refusal(self, asked: Destination | None, hello: ClientHello, route: Route, error: NetworkError) -> None:
        """Record why there will be no exchanges: the user must be able to see why an app shows nothing."""
        if error.code == "client-refused-certificate":
            self._context.pass_through.refused(hello.sni or route.host)
        sentence = str(error)
        note_handshake(
            self._context.stream, self._number, client_handshake(route, hello, None, code=error.code, error=sentence)
        )
        if asked is not None:
            log = self._open_connect(asked)
            state = EndState.ABORTED if error.code == "client-left-unused" else EndState.FAILED
            log.done(state, code=error.code, error=sentence)


def _is_connect(data: bytes) -> bool:
    return data.lstrip(b"\r\n").startswith(b"CONNECT ")


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _is_our_name(name: str) -> bool:
    """Return whether a client that asks for this name may mean the proxy: by an address it asks for none."""
    return name in {"", "localhost", "ip6-localhost"} or name == socket.gethostname().lower()


def _is_known(data: bytes) -> bool:
    return classify(data) is not None
