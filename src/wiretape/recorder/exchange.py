"""One exchange: a request on its way to the server, the response on its way back, both on the tape first.

The order is the promise: OPENED is in the log before the server gets the first byte (P2), DONE before the client gets
the last (P1). Everything goes out through ``tape.release``; nothing here writes to a socket before that.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from typing import TYPE_CHECKING, Final

from wiretape.errors import NetworkError, ProtocolError
from wiretape.log.format import EndState, Opened
from wiretape.recorder.exchange_log import Tap, Timer
from wiretape.recorder.pages import error_page
from wiretape.recorder.tunnel import Tunnel
from wiretape.recorder.upstream import Receiver, Route, UpstreamConnection
from wiretape.tls.contexts import tls_error
from wiretape.wire.connection_auth import challenges_connection
from wiretape.wire.http1 import (
    CHUNKED,
    UNTIL_CLOSE,
    BodyReader,
    RequestHead,
    ResponseHead,
    body_reader,
    encode_chunk,
    encode_last_chunk,
    parse_response_head,
)

if TYPE_CHECKING:
    from wiretape.recorder.client import ClientConnection

# RFC 9110 section 9.2.2: only these may be sent again when nobody knows whether they were acted upon.
_IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
MAX_INTERIM: Final = 100
"""1xx responses to one request; a server that sends more is broken or hostile."""
_SMALL: Final = 16 * 1024
"""A request up to this size goes into a socket's buffer with one write, which cannot fail half-way."""
_EARLY: Final = "{} answered before it had been given the whole request: the end of the body may not have reached it"
_AFTER_HANDSHAKE: Final = frozenset({"upstream-wants-certificate", "upstream-refused-certificate"})
_clock = time.perf_counter_ns


class Exchange(Receiver):
    """A request and its response, from the parsed head to the last byte.

    Attributes:
        request_finished: the whole request has been read from the client.
        ended: the exchange is on the tape with its end; only released bytes may still be on their way.
    """

    __slots__ = (
        "_buffer",
        "_client",
        "_close",
        "_connecting",
        "_head",
        "_interims",
        "_large",
        "_late",
        "_outgoing",
        "_reader",
        "_response",
        "_response_reader",
        "_retried",
        "_route",
        "_tap",
        "_tape",
        "_timer",
        "_unsent",
        "_upstream",
        "ended",
        "request_finished",
    )

    def __init__(self, client: ClientConnection, head: RequestHead, route: Route) -> None:
        self._client = client
        self._head = head
        self._route = route
        self._tape = client.context.tape
        self._timer = Timer()
        self._tap = Tap(self._tape, self._timer)
        self._reader: BodyReader = body_reader(head)
        self._upstream: UpstreamConnection | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._outgoing = b""
        self._response: ResponseHead | None = None
        self._response_reader: BodyReader | None = None
        self._buffer = b""
        self._retried = False
        self._unsent = 0
        self._large = False
        self._late = False
        self._interims = 0
        self._close = not head.keep_alive
        self.request_finished = False
        self.ended = False

    # -- request -------------------------------------------------------------------------------------------------

    def start(self, rest: bytes, target: bytes, authority: bytes | None) -> bytes:
        """Begin with what came behind the head; gives the bytes that belong to the next request.

        Raises:
            ProtocolError: the body's first bytes break their framing; nothing was recorded or sent.
        """
        head, reader, client, route = self._head, self._reader, self._client, self._route
        pieces = reader.feed(rest) if rest else []
        self.request_finished = finished = reader.finished
        record = Opened(
            time.time_ns(),
            client.number,
            route.scheme,
            route.host,
            route.port,
            client.name,
            len(head.raw),
            client.source,
        )
        body = b"".join(pieces) if pieces else b""
        outgoing = head.forward(target, upgrade=head.upgrade is not None, host=authority)
        if body:
            outgoing += encode_chunk(pieces) if head.framing == CHUNKED else body
        self._tap.opened(record, head.raw, body, finished)
        if finished:
            if head.framing == CHUNKED:
                outgoing += self._end_of_request()
        else:
            client.pause_reading()
        self._outgoing = outgoing
        self._tape.release(Exchange._dispatch, self)
        return reader.rest

    def request_data(self, data: bytes) -> None:
        """Take more of the request's body; what comes behind the end of the exchange is nobody's (RFC 9112 9.6)."""
        if self.ended:
            return
        reader = self._reader
        try:
            pieces = reader.feed(data)
        except ProtocolError as error:
            for piece in error.pieces:
                self._tap.request_body(piece)
            self._fail(error.code, error.message, error.status)
            return
        for piece in pieces:
            self._tap.request_body(piece)
        chunked = self._head.framing == CHUNKED
        out = encode_chunk(pieces) if chunked else b"".join(pieces)
        if reader.finished:
            self.request_finished = True
            if chunked:
                out += self._end_of_request()
            self._client.keep_rest(reader.rest)
        self._unsent += 1
        self._tape.release(self._send, out)

    def _end_of_request(self) -> bytes:
        trailers = self._reader.trailers
        if trailers:
            self._tap.trailers(trailers, response=False)
        return encode_last_chunk(trailers)

    def _send(self, data: bytes) -> None:
        """Write a piece of the body, also of an exchange that has ended but not let go of its connection yet."""
        self._unsent -= 1
        upstream = self._upstream
        if upstream is not None and not upstream.closed:
            upstream.transport.write(data)
            self._timer.sent = _clock()

    def _dispatch(self) -> None:
        if self.ended:
            return
        client = self._client
        connection = client.own_pool.take(self._route) if client.own_pool is not None else None
        if connection is None:
            connection = client.context.pool.take(self._route)
        if connection is not None:
            self._attach(connection)
        else:
            self._connect()

    def _connect(self) -> None:
        self._connecting = self._client.context.loop.create_task(self._connect_fresh())

    async def _connect_fresh(self) -> None:
        context = self._client.context
        try:
            connection = await context.connector.connect(self._route, context.pool)
        except NetworkError as error:
            self._connecting = None
            self._fail(error.code, error.message, 504 if error.code.endswith("timeout") else 502, error.hint)
            return
        self._connecting = None
        if self.ended:
            context.pool.put(connection)
            return
        times = connection.times
        if times is not None:
            self._timer.dns, self._timer.connect, self._timer.tls = times
        self._attach(connection)

    def _attach(self, connection: UpstreamConnection) -> None:
        self._upstream = connection
        self._timer.server = connection.server
        if self._head.authenticates_connection:
            self._client.keep_to_itself(connection)
        self._large = not self.request_finished or len(self._outgoing) > _SMALL
        if (
            self._large or not connection.reused
        ):  # a new one may be refused at once: a client certificate, a full server
            connection.keep_spare()
        if not connection.closed:
            connection.transport.write(self._outgoing)
        self._timer.sent = _clock()
        if not self.request_finished:
            self._outgoing = b""
            self._client.resume_reading()
        connection.serve(self)

    # -- response ------------------------------------------------------------------------------------------------

    def upstream_data(self, data: bytes) -> None:
        """Take bytes from the server."""
        if self.ended:  # the last pieces of the body are on their way to a server that has answered already
            self._late = True
            return
        try:
            if self._response_reader is None:
                self._read_head(self._buffer + data if self._buffer else data)
            else:
                self._read_body(self._response_reader, data)
        except ProtocolError as error:
            for piece in error.pieces:
                self._tap.response_body(piece)
            self._fail(error.code, f"{self._route.host} sent what is not HTTP: {error.message}", 502)

    def _read_head(self, buffer: bytes) -> None:
        while True:
            head = parse_response_head(buffer, self._head.method)
            if head is None:
                self._buffer = buffer
                return
            if not self._timer.first:
                self._timer.first = _clock()
            rest = buffer[head.consumed :]
            self._buffer = b""
            if head.status >= 200:
                self._read_final(head, rest)
                return
            if head.status == 101:
                self._switch(head, rest)
                return
            self._read_interim(head)
            if not rest:
                return
            buffer = rest

    def _read_final(self, head: ResponseHead, rest: bytes) -> None:
        self._response = head
        if head.status == 401 and self._upstream is not None and challenges_connection(head.raw):
            self._client.keep_to_itself(self._upstream)
        reader = self._response_reader = body_reader(head)
        try:
            pieces = reader.feed(rest) if rest else []
        except ProtocolError:
            self._tap.response_head(head.raw, head.status)
            raise
        dechunk = head.framing == CHUNKED and self._head.minor == 0
        if head.framing == UNTIL_CLOSE or dechunk or not self.request_finished:
            self._close = True
        close = True if self._close else (False if self._head.minor == 0 else None)
        out = head.forward(close=close, upgrade=head.status == 426, dechunk=dechunk)
        if reader.finished and not reader.trailers and not self._early:
            body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
            self._tap.whole_response(head.raw, body, head.status)
            if body:
                out += body if head.framing != CHUNKED else self._encode(pieces)
            self._complete(out + b"0\r\n\r\n" if head.framing == CHUNKED and not dechunk else out)
            return
        self._tap.response_head(head.raw, head.status)
        self._pass_on(reader, pieces, out)

    def _read_interim(self, head: ResponseHead) -> None:
        self._interims += 1
        if self._interims > MAX_INTERIM:
            raise ProtocolError(f"more than {MAX_INTERIM} interim responses", status=502)
        self._tap.response_head(head.raw, head.status, interim=True)
        if self._head.minor:  # RFC 9110 section 15.2: a 1xx must not go to an HTTP/1.0 client
            self._tape.release(self._client.write, head.forward())

    def _read_body(self, reader: BodyReader, data: bytes) -> None:
        self._pass_on(reader, reader.feed(data), b"")

    def _pass_on(self, reader: BodyReader, pieces: list[bytes], out: bytes) -> None:
        """Record pieces of the body and send them after ``out``; end the exchange when it is whole."""
        for piece in pieces:
            self._tap.response_body(piece)
        out = out + self._encode(pieces) if out else self._encode(pieces)
        if not reader.finished:
            self._tape.release(self._client.write, out)
            return
        response = self._response
        assert response is not None
        if reader.trailers:
            self._tap.trailers(reader.trailers, response=True)
        if response.framing == CHUNKED and self._head.minor:
            out += encode_last_chunk(reader.trailers)
        if self._early:
            where = f"{self._route.host}:{self._route.port}"
            self._tap.done(EndState.COMPLETE, response.status, code="answered-early", error=_EARLY.format(where))
        else:
            self._tap.done(EndState.COMPLETE, response.status)
        self._complete(out)

    def _encode(self, pieces: list[bytes]) -> bytes:
        response = self._response
        if response is not None and response.framing == CHUNKED and self._head.minor:
            return encode_chunk(pieces)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    @property
    def _early(self) -> bool:
        """Whether the server has not been given the whole request yet, as far as can be seen from here."""
        upstream = self._upstream
        if not self.request_finished or self._unsent:
            return True
        return self._large and upstream is not None and not upstream.sent

    def _complete(self, out: bytes) -> None:
        """The end is on the tape: give the connection back and release the last bytes."""
        self.ended = True
        response, reader = self._response, self._response_reader
        if self._upstream is not None and response is not None and reader is not None:
            reusable = response.keep_alive and self.request_finished and not reader.rest
            if self._unsent:  # the rest of the body goes first: another request behind half a body would be its end
                self._tape.release(self._let_go, reusable)
            else:
                self._let_go(reusable)
        self._tape.release_last(self._finish, out)

    def _let_go(self, reusable: bool) -> None:
        """Give the connection back when another exchange may have it, else close it."""
        upstream, self._upstream = self._upstream, None
        if upstream is None:
            return
        if reusable and not self._late and not upstream.closed and (not self._large or upstream.sent):
            upstream.pool.put(upstream)
        elif self._large:
            upstream.finish()
        else:
            upstream.close()

    def _finish(self, out: bytes) -> None:
        self._client.write(out)
        self._client.exchange_ended(close=self._close, unread=not self.request_finished)

    def _switch(self, head: ResponseHead, rest: bytes) -> None:
        """Follow 101 (Switching Protocols): bytes pass both ways and are counted."""
        upstream = self._upstream
        if self._head.upgrade is None or upstream is None:
            raise ProtocolError("the server switched protocols unasked", status=502)
        self._tap.response_head(head.raw, 101)
        self.ended = True
        self._upstream = None
        tunnel = Tunnel(self._client, upstream, self._tap, status=101)
        self._tape.release(self._client.write, head.forward(upgrade=True) + rest)
        self._tap.count_response(len(rest))
        tunnel.begin()

    # -- ends ----------------------------------------------------------------------------------------------------

    def upstream_lost(self, error: Exception | None) -> None:
        """The server ended the connection: the end of the body, a dead pooled connection, or a failure."""
        upstream, self._upstream = self._upstream, None
        if self.ended:
            return
        reader = self._response_reader
        if reader is not None and error is None and reader.eof():
            self._close = True
            self._pass_on(reader, [], b"")
            return
        untouched = reader is None and not self._buffer and not self._timer.first
        # A body that came in pieces is not kept, so it cannot be sent again.
        whole = self.request_finished and bool(self._outgoing)
        retriable = whole and self._head.method in _IDEMPOTENT and not self._retried
        if upstream is not None and upstream.reused and untouched and retriable:
            self._retried = True
            self._connect()
            return
        if isinstance(error, ssl.SSLError):  # in TLS 1.3 a server says after the handshake that it wants a certificate
            reason = tls_error(error, side="server", host=self._route.host)
            if reason.code in _AFTER_HANDSHAKE:
                self._fail(reason.code, reason.message, 502, reason.hint)
                return
        when = "before the response" if untouched else "in the middle of the response"
        cause = f": {error}" if error is not None else ""
        code = "server-reset" if isinstance(error, ConnectionResetError) else "server-closed"
        self._fail(code, f"{self._route.host}:{self._route.port} closed the connection {when}{cause}", 502)

    def upstream_full(self, full: bool) -> None:
        """The way to the server is full, or free again: the client waits, or goes on (P8)."""
        if full:
            self._client.pause_reading()
        else:
            self._client.resume_reading()

    def client_full(self, full: bool) -> None:
        """The way to the client is full, or free again: the server waits, or goes on (P8)."""
        upstream = self._upstream
        if upstream is not None and not upstream.closed:
            if full:
                upstream.transport.pause_reading()
            else:
                upstream.transport.resume_reading()

    def client_eof(self) -> bool:
        """Take a client that ends its side as one that leaves."""
        return False

    def client_lost(self, _: Exception | None) -> None:
        """The client left before the end."""
        if self.ended:
            return
        self._end(EndState.ABORTED, "client-left", "the client closed the connection before the response was whole")

    def _fail(self, code: str, message: str, status: int, hint: str = "") -> None:
        if self.ended:
            return
        begun = self._response is not None
        self._end(EndState.FAILED, code, message)
        self._close = True
        if begun:
            self._tape.release_last(_abort, self._client)
        else:
            page = error_page(status, code, message, hint, body=self._head.method != "HEAD")
            self._tape.release_last(self._finish, page)

    def _end(self, state: EndState, code: str, message: str) -> None:
        self.ended = True
        if self._connecting is not None:
            self._connecting.cancel()
            self._connecting = None
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            upstream.close()
        status = self._response.status if self._response is not None else 0
        self._tap.done(state, status, code=code, error=message)


def _abort(client: ClientConnection) -> None:
    """Break the client's connection, because its response cannot be finished."""
    client.abort()
