"""HTTP/2 towards a server: one connection that carries many exchanges, each on a stream of its own."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Final, Protocol

from wiretape.errors import NetworkError, ProtocolError
from wiretape.recorder.exchange_log import Server, Stream
from wiretape.recorder.h2_connection import H2Connection, H2Stream
from wiretape.recorder.handshake_log import Handshake, after_handshake_error, note_handshake
from wiretape.recorder.ports import FromServer, NotLookedAtError, Pieces, Request, Timeouts
from wiretape.recorder.protocols import HTTP1, Protocols
from wiretape.recorder.route import Route
from wiretape.wire.h2 import ErrorCode, Fields, Limits, MakeEngine, code_name
from wiretape.wire.h2_head import field_lines, h2_request_fields, h2_response_head

MAX_INTERIM: Final = 100
"""1xx responses to one request; a server that sends more is broken or hostile."""


class Keeper(Protocol):
    """Where a connection goes when a lease ends."""

    def put(self, connection: H2ClientConnection) -> None:
        """Take a lease back."""

    def discard(self, connection: H2ClientConnection) -> None:
        """Forget a connection that is gone."""


class H2ClientConnection(H2Connection):
    """One connection to a server.

    Attributes:
        capacity: how many exchanges it can serve at a time: what the server allows, and no more than we ever ask for.
            The server may change it at any time.
        shared: always True: it serves several exchanges at a time.
        running: how many it serves.
        route, server: where it leads, and what the log says of it.
        owner: always 0: what authenticates a whole connection (NTLM) does not exist in HTTP/2.
        reused: it has served an exchange before.
        closed: it takes no more exchanges; those that run may go on.
        idle_since: loop time at which its last lease ended, 0 for a new one; any other may have died meanwhile.
        handshake: its TLS, None where there is none.
        noted: the session's stream in which that has been recorded last.
    """

    owner: Final = 0
    shared: Final = True

    __slots__ = (
        "_keeper",
        "_limits",
        "_protocols",
        "capacity",
        "closed",
        "handshake",
        "idle_since",
        "noted",
        "reused",
        "route",
        "running",
        "server",
    )

    streams: dict[int, H2ClientStream]  # type: ignore[assignment]

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        route: Route,
        server: Server,
        keeper: Keeper,
        make: MakeEngine,
        protocols: Protocols,
        limits: Limits,
    ) -> None:
        super().__init__(loop, make, limits, client=True)
        self.route = route
        self.server = server
        self.running = 0
        self.capacity = limits.streams
        self.reused = self.closed = False
        self.idle_since = 0.0
        self.handshake: Handshake | None = None
        self.noted: Stream | None = None
        self._keeper = keeper
        self._protocols = protocols
        self._limits = limits

    # -- from the loop -----------------------------------------------------------------------------------------------

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell who listens."""
        self.closed = True
        if isinstance(exc, ssl.SSLError):
            exc = after_handshake_error(exc, self.route)
        self._keeper.discard(self)
        super().connection_lost(exc)

    # -- from the engine ---------------------------------------------------------------------------------------------

    def head_came(self, stream: int, fields: Fields, end: bool) -> None:
        """Take a response's head."""
        found = self.streams.get(stream)
        if found is not None:
            found.head_came(fields, end)

    def interim_came(self, stream: int, fields: Fields) -> None:
        """Take a 1xx response."""
        found = self.streams.get(stream)
        if found is not None:
            found.interim_came(fields)

    def settings_came(self, streams: int) -> None:
        """Take note of how many streams the server allows."""
        self.capacity = max(1, min(streams, self._limits.streams))

    def going_away(self, last: int, code: int, debug: bytes) -> None:  # noqa: ARG002
        """Begin no more exchanges here; those that the server has not looked at may be sent again elsewhere.

        The pool still tells those that run the time: a server may go away and say nothing more.
        """
        self.closed = True
        for number, stream in self.streams.items():
            if number > last:
                stream.refused = True
        if not self.streams:
            self.close()

    def broken(self, code: int, reason: str) -> None:
        """Use it no more."""
        self.closed = True
        super().broken(code, reason)

    # -- from the pool -----------------------------------------------------------------------------------------------

    def lease(self, tenant: int) -> H2ClientStream:  # noqa: ARG002 -- it belongs to no one client
        """Return a port for one more exchange."""
        return H2ClientStream(self)

    def end_lease(self) -> None:
        """Take note that an exchange is done with its stream."""
        self.reused = True
        self._keeper.put(self)

    def listen_early(self, action: Callable[[], None]) -> None:
        """Call ``action`` at once: HTTP/2 has no server that speaks before it is asked, and needs nobody to listen."""
        action()

    def tick(self, now: int, timeouts: Timeouts) -> None:
        """Pass the time on."""
        for stream in list(self.streams.values()):
            if stream.listener is not None:
                stream.listener.tick(now, timeouts)

    def abort(self) -> None:
        """Break the connection; nobody is told."""
        self.closed = True
        for stream in self.streams.values():
            stream.listener = None
        super().abort()

    def break_off(self) -> None:
        """Break the connection and tell who listens: the recorder ends."""
        self.closed = True
        streams = list(self.streams.values())
        self.streams.clear()
        super().abort()
        for stream in streams:
            stream.lost(ConnectionAbortedError("the recorder stopped"))

    def note_http1(self) -> None:
        """Remember that the server wants HTTP/1.1: it is not asked for anything else from now on."""
        self._protocols.note(self.route, HTTP1)

    def explain(self) -> ProtocolError | None:
        """Return what the server did wrong where that has ended the connection."""
        if not self._code:
            return None
        text = self._reason or code_name(self._code)
        return ProtocolError(f"its HTTP/2 ended with {code_name(self._code)}: {text}", status=502, code="bad-http2")


class H2ClientStream(H2Stream):
    """One request and its response: the upstream port of an exchange.

    Attributes:
        server: what the log says of the connection.
        reused: it had served an exchange before.
        refused: the server says that it has not looked at the request.
        listener: who hears what the server sends.
    """

    __slots__ = ("_interims", "_leased", "_method", "_touched", "_whole", "listener", "refused", "reused", "server")

    connection: H2ClientConnection

    def __init__(self, connection: H2ClientConnection) -> None:
        super().__init__(connection)
        self.server = connection.server
        self.reused = connection.reused
        self.refused = False
        self.listener: FromServer | None = None
        self._method = ""
        self._interims = 0
        self._touched = False
        self._whole = False
        self._leased = True

    # -- from the connection -----------------------------------------------------------------------------------------

    def interim_came(self, fields: Fields) -> None:
        """Pass a 1xx response on."""
        self._touched = True
        self._interims += 1
        listener = self.listener
        if listener is None:
            return
        try:
            if self._interims > MAX_INTERIM:
                raise ProtocolError(f"more than {MAX_INTERIM} interim responses", status=502)
            listener.response_interim(h2_response_head(fields, self._method, False))
        except ProtocolError as error:
            self._refuse(error, fields)

    def deliver(self, pieces: Pieces, end: bool, trailers: bytes) -> None:
        """Pass on the response's head, or more of its body."""
        self._touched = True
        self._whole = end
        fields, self.head = self.head, None
        listener = self.listener
        if listener is None:
            return
        if fields is None:
            listener.response_data(pieces, end, trailers)
            return
        try:
            head = h2_response_head(fields, self._method, end and not pieces)
        except ProtocolError as error:
            self._refuse(error, fields)
            return
        listener.response(head, pieces, end, trailers)

    def _refuse(self, error: ProtocolError, fields: Fields) -> None:
        """Give up a response that HTTP/2 forbids; what came of it is recorded as far as it can be written down."""
        listener, self.listener = self.listener, None
        self.connection.reset(self, ErrorCode.PROTOCOL_ERROR)
        if listener is not None:
            try:
                unparsed = field_lines(fields, "response")
            except ProtocolError:
                unparsed = repr(list(fields)).encode("ascii")
            listener.response_broken(error, None, unparsed)

    def peer_full(self, full: bool) -> None:
        """Pass on whether the server reads."""
        if self.listener is not None:
            self.listener.server_full(full)

    def closed(self, code: int) -> None:
        """Pass on that the stream has ended before the response was whole."""
        listener, self.listener = self.listener, None
        if listener is None or self._whole:
            self._end_lease()
            return
        self._end_lease()
        # Refused without a reset: the library had not sent it when the server said that it goes away.
        if self.refused or (code == ErrorCode.REFUSED_STREAM and self._reset_code is None):
            listener.server_left(self._not_looked_at("is going away"), True, b"")
        elif self._reset_code is not None:
            listener.server_left(self._reset_by_server(self._reset_code), False, b"")
        elif code:
            message = f"the response broke the rules of HTTP/2 ({code_name(code)})"
            listener.response_broken(ProtocolError(message, status=502, code="bad-http2"), None, b"")
        else:
            listener.server_left(None, False, b"")

    def lost(self, error: Exception | None) -> None:
        """Pass on that the connection is gone."""
        listener, self.listener = self.listener, None
        self._leased = False
        if listener is None or self._whole:
            return
        explained = self.connection.explain()
        if self.refused:
            listener.server_left(self._not_looked_at("is going away"), True, b"")
        elif explained is not None:
            listener.response_broken(explained, None, b"")
        else:
            listener.server_left(error, self.connection.idle_since > 0 and not self._touched, b"")

    def _not_looked_at(self, why: str) -> NotLookedAtError:
        return NotLookedAtError(f"{self.connection.route.where} {why} and has not looked at the request")

    def _reset_by_server(self, code: int) -> NetworkError:
        """Say what a reset means: some say that nothing was done (RFC 9113 section 8.7)."""
        if code == ErrorCode.HTTP_1_1_REQUIRED:
            self.connection.note_http1()
            return self._not_looked_at("wants HTTP/1.1")
        if code == ErrorCode.REFUSED_STREAM:
            return self._not_looked_at("refused the stream")
        where = self.connection.route.where
        return NetworkError(f"{where} reset the stream ({code_name(code)})", code="server-reset")

    # -- from the exchange -------------------------------------------------------------------------------------------

    @property
    def noted(self) -> Stream | None:
        """The session's stream to which ``note`` was called last."""
        return self.connection.noted

    def note(self, stream: Stream) -> None:
        """Record in a session's stream what is known of the connection."""
        connection = self.connection
        connection.noted = stream
        if connection.handshake is not None:
            note_handshake(stream, connection.server.connection, connection.handshake)

    def send_request(self, request: Request, pieces: Pieces, end: bool, trailers: bytes, listener: FromServer) -> None:
        """Send the head and what there is of the body."""
        connection, head = self.connection, request.head
        self.listener = listener
        self._method = head.method
        fields = h2_request_fields(head, request.route.scheme, request.target, request.authority)
        only_head = end and not pieces and not trailers
        self.number = number = 0 if connection.gone else connection.engine.request(fields, only_head)
        if not number:
            connection.closed = True
            self.refused = True
            self._end_lease()
            self.lost(None)
            return
        connection.streams[number] = self
        if only_head:
            self.finished = True
            connection.sending(self)
        else:
            self.send(pieces, end, trailers)

    def send_data(self, pieces: Pieces, end: bool, trailers: bytes) -> None:
        """Send more of the body."""
        if not self.connection.gone:
            self.send(pieces, end, trailers)

    @property
    def sent(self) -> bool:
        """Whether what was to be sent has left this process."""
        connection = self.connection
        return self.finished and not connection.gone and not connection.engine.queued(self.number)

    def give_back(self) -> None:
        """End the lease: request and response are whole."""
        self.listener = None
        self._end_lease()

    def finish(self) -> None:
        """End the lease of an exchange that was answered early: such a server wants no more (RFC 9113 section 8.1)."""
        self.listener = None
        self.connection.reset(self, ErrorCode.NO_ERROR)
        self._end_lease()

    def reset(self) -> None:
        """End the lease in the middle."""
        self.listener = None
        self.connection.reset(self, ErrorCode.CANCEL)
        self._end_lease()

    def _end_lease(self) -> None:
        if self._leased:
            self._leased = False
            self.connection.end_lease()
