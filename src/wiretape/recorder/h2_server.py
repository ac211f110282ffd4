"""HTTP/2 towards a client: many requests at a time on one connection, each an exchange."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from wiretape.errors import ProtocolError
from wiretape.recorder.context import Context
from wiretape.recorder.exchange import Exchange
from wiretape.recorder.exchange_log import ExchangeLog, Stream
from wiretape.recorder.h2_connection import H2Connection, H2Stream
from wiretape.recorder.handshake_log import Handshake, note_handshake
from wiretape.recorder.pages import error_page
from wiretape.recorder.ports import AnyResponseHead, Client, FromClient, Pieces, Refusal, Request
from wiretape.recorder.protocols import H2, HTTP1
from wiretape.recorder.reverse import Servers
from wiretape.recorder.route import Route
from wiretape.wire.h2 import ErrorCode, Fields, MakeEngine, code_name
from wiretape.wire.h2_head import H2RequestHead, h2_request_head, h2_response_fields
from wiretape.wire.http1 import parse_response_head

LINGER_BYTES: Final = 64 * 1024 * 1024
"""How much of what a client still sends after its answer is thrown away before it is stopped."""


class H2ServerConnection(H2Connection):
    """One connection from a client, inside TLS.

    Attributes:
        client: what the log says of it.
        origin: where its requests go that are for none of ``servers`` by name.
        handshake: its TLS.
        on_lost_early: told when the connection ends without one byte from the client.
    """

    __slots__ = (
        "_context",
        "_h2_origin",
        "_heard",
        "_noted",
        "_servers",
        "client",
        "handshake",
        "on_lost_early",
        "origin",
    )

    streams: dict[int, H2ServerStream]  # type: ignore[assignment]

    def __init__(
        self, context: Context, client: Client, make: MakeEngine, *, origin: Route, servers: Servers | None = None
    ) -> None:
        super().__init__(context.loop, make, context.h2_limits, client=False)
        self.client = client
        self.origin = origin
        self._servers = servers
        self._h2_origin = origin._replace(protocol=H2)
        self.handshake: Handshake | None = None
        self.on_lost_early: Callable[[Exception | None], None] | None = None
        self._context = context
        self._noted: Stream | None = None
        self._heard = False

    # -- from the loop -----------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._context.clients.add(self)
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Take bytes."""
        self._heard = True
        super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """End what was running."""
        super().connection_lost(exc)
        self._context.clients.discard(self)
        self._context.pool.owner_left(self.client.connection)
        if not self._heard and self.on_lost_early is not None:
            self.on_lost_early(exc)
        self.on_lost_early = None

    # -- from the engine ---------------------------------------------------------------------------------------------

    def head_came(self, stream: int, fields: Fields, end: bool) -> None:
        """Take a new request."""
        new = self.streams[stream] = H2ServerStream(self, stream)
        new.head_came(fields, end)

    def interim_came(self, stream: int, fields: Fields) -> None:
        """There are none from a client."""

    def settings_came(self, streams: int) -> None:
        """Whatever a client takes concerns pushes alone."""

    def going_away(self, last: int, code: int, debug: bytes) -> None:
        """A client that goes away ends the connection itself, when its requests are answered."""

    def unheard_of(self, stream: int, code: int) -> None:  # noqa: ARG002 -- the event is about the connection
        """Record a request that was refused for what is in its head."""
        self._context.note_refused(self.client.name, f"a malformed HTTP/2 request ({code_name(code)})", "bad-http2")

    def broken(self, code: int, reason: str) -> None:
        """Record why a client is not understood any more."""
        if code:
            message = f"the client broke HTTP/2 off, or its rules: {reason or code_name(code)}"
            self._context.note_refused(self.client.name, message, "bad-http2")
        super().broken(code, reason)

    # -- requests ----------------------------------------------------------------------------------------------------

    def begin(self, stream: H2ServerStream, fields: Fields, pieces: Pieces, end: bool, trailers: bytes) -> None:
        """Begin an exchange with a request's head, and what came of its body with it."""
        context = self._context
        try:
            head = h2_request_head(fields, end and not pieces)
            stream.method = head.method
            route, authority = self._route(head)
            request = Request(head, route, head.target.encode("latin-1"), authority)
        except ProtocolError as error:
            context.note_refused(self.client.name, error.message, error.code)
            stream.refuse(Refusal(error.status, error.code, error.message, error.hint))
            return
        recording = context.stream
        if self.handshake is not None and self._noted is not recording:
            self.note_handshake(self.handshake)
        context.exchanges += 1
        if recording.refusing and not recording.accepting:
            recording.count_unrecorded()
            message = "this exchange cannot be recorded: the disk or the session is full"
            stream.refuse(Refusal(507, "disk-full", message))
            return
        exchange = Exchange(stream, request, context.pool, ExchangeLog(recording), context.decider)
        stream.listener = exchange
        exchange.start(pieces, end, trailers)

    def _route(self, head: H2RequestHead) -> tuple[Route, bytes | None]:
        if head.method == "CONNECT":
            raise ProtocolError(
                "CONNECT inside HTTP/2 is not served",
                hint="open a new connection to the proxy for each tunnel",
                status=501,
            )
        protocols = self._context.protocols
        if self._servers is not None:
            route, authority = self._servers.pick(head.host)
            return route if protocols.of(route) == HTTP1 else route._replace(protocol=H2), authority
        return self.origin if protocols.of(self.origin) == HTTP1 else self._h2_origin, None

    # -- from the arrival and the worker -----------------------------------------------------------------------------

    def note_handshake(self, handshake: Handshake) -> None:
        """Record how TLS began, here and in every session that the connection's requests belong to."""
        self.handshake = handshake
        self._noted = self._context.stream
        note_handshake(self._noted, self.client.connection, handshake)

    @property
    def idle(self) -> bool:
        """Whether nothing is running on this connection."""
        return not self.streams


class H2ServerStream(H2Stream):
    """One request and its response: the downstream port of an exchange.

    Attributes:
        client: whose connection it is.
        method: the request's method, once its head was read.
        listener: who hears what the client sends.
    """

    __slots__ = ("_thrown_away", "client", "listener", "method")

    protocol = "h2"
    connection: H2ServerConnection

    def __init__(self, connection: H2ServerConnection, number: int) -> None:
        super().__init__(connection)
        self.number = number
        self.client = connection.client
        self.method = ""
        self.listener: FromClient | None = None
        self._thrown_away = 0

    # -- from the connection -----------------------------------------------------------------------------------------

    def deliver(self, pieces: Pieces, end: bool, trailers: bytes) -> None:
        """Begin the exchange, or pass more of the body on."""
        fields, self.head = self.head, None
        if fields is not None:
            self.connection.begin(self, fields, pieces, end, trailers)
        elif self.listener is not None:
            self.listener.request_data(pieces, end, trailers)
        else:
            self._throw_away(pieces)

    def _throw_away(self, pieces: Pieces) -> None:
        """Read what a client sends after its answer, within bounds, then stop it (RFC 9113 section 8.1).

        Stopped at once, it could not tell that from a failure; and most servers read on, too.
        """
        self._thrown_away += sum(map(len, pieces))
        if self._thrown_away > LINGER_BYTES:
            self.connection.reset(self, ErrorCode.NO_ERROR)

    def peer_full(self, full: bool) -> None:
        """Pass on whether the client reads."""
        if self.listener is not None:
            self.listener.client_full(full)

    def closed(self, code: int) -> None:
        """Pass on that the client has broken the stream off, or the rules."""
        listener, self.listener = self.listener, None
        if listener is None:
            return
        if self._reset_code is None and code:
            message = f"the request broke the rules of HTTP/2 ({code_name(code)})"
            listener.request_broken(ProtocolError(message, hint="its stream was reset"))
        else:
            listener.client_left(_reset_by_client(self._reset_code))

    def lost(self, error: Exception | None) -> None:
        """Pass on that the client is gone."""
        listener, self.listener = self.listener, None
        if listener is not None:
            listener.client_left(error)

    # -- from the exchange -------------------------------------------------------------------------------------------

    def interim(self, head: AnyResponseHead) -> None:
        """Send a 1xx response; 101 has no meaning here (RFC 9113 section 8.6)."""
        if head.status != 101:
            self.connection.engine.send_interim(self.number, h2_response_fields(head))
            self.connection.mark()

    def respond(self, head: AnyResponseHead, pieces: Pieces, end: bool, trailers: bytes) -> None:
        """Send the final response's head and what there is of its body."""
        self._respond(h2_response_fields(head), pieces, end, trailers)

    def _respond(self, fields: Fields, pieces: Pieces, end: bool, trailers: bytes) -> None:
        if end and not pieces and not trailers:
            self.finished = True
            self.connection.engine.send_head(self.number, fields, True)
            self._answered()
            self.connection.sending(self)
            return
        self.connection.engine.send_head(self.number, fields, False)
        self.send_data(pieces, end, trailers)

    def send_data(self, pieces: Pieces, end: bool, trailers: bytes) -> None:
        """Send more of the body."""
        if end:
            self._answered()
        if pieces or end:
            self.send(pieces, end, trailers)

    def _answered(self) -> None:
        self.listener = None  # no cycle is left for the collector
        if not self.ended:
            self.resume()

    def refuse(self, refusal: Refusal) -> None:
        """Send an answer of our own."""
        page = error_page(*refusal, body=self.method != "HEAD")
        head = parse_response_head(page, self.method)
        assert head is not None
        body = page[head.consumed :]
        self._respond(h2_response_fields(head), [body] if body else [], True, b"")

    def reset(self) -> None:
        """Break the stream off, so that the response cannot look whole."""
        self.listener = None
        self.connection.reset(self, ErrorCode.INTERNAL_ERROR)

    def respond_switched(self, head: AnyResponseHead) -> None:
        """There is no such response, as nothing is switched."""
        raise NotImplementedError


def _reset_by_client(code: int | None) -> Exception | None:
    return None if code is None else ConnectionResetError(f"the client reset the stream ({code_name(code)})")
