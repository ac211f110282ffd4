"""HTTP/1.1 towards a client: requests one after another on one connection, each an exchange."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from functools import lru_cache
from typing import Final, cast

from wiretape.errors import ProtocolError
from wiretape.recorder.context import Context
from wiretape.recorder.exchange import Exchange
from wiretape.recorder.exchange_log import ExchangeLog, Stream
from wiretape.recorder.half_close import end_writing
from wiretape.recorder.handshake_log import Handshake, note_handshake
from wiretape.recorder.ourselves import LOOP, LOOP_HINT
from wiretape.recorder.pages import asks_for_head, error_page
from wiretape.recorder.ports import AnyResponseHead, BytesFromClient, Client, FromClient, Pieces, Refusal, Request
from wiretape.recorder.reverse import Picks
from wiretape.recorder.route import Route
from wiretape.wire.http1 import (
    CHUNKED,
    LENGTH,
    NO_BODY,
    UNTIL_CLOSE,
    BodyReader,
    RequestHead,
    body_reader,
    encode_last_chunk,
    parse_request_head,
    split_target,
)

PIPELINE_MAX: Final = 64 * 1024
"""Bytes of later requests that are held while one is answered; then the client is not read any more."""

LINGER_SECONDS: Final = 5.0
LINGER_BYTES: Final = 64 * 1024 * 1024
"""How long, and how much of what a refused client still sends, is thrown away before its connection is closed."""

WRITE_BUFFER: Final = 256 * 1024
JOIN_MAX: Final = 16 * 1024
"""Bytes that are rather copied into one than handed to the system in a list."""

_NOTHING: Final[Pieces] = []
_SECRET: Final = frozenset({"loop", "proxy-auth"})
"""Codes of errors whose requests are not recorded."""
_route: Final = lru_cache(256)(Route)
"""The few servers that are asked again and again; a look-up costs a third of making the value."""
_BREAK: Final = struct.pack("ii", 1, 0)  # SO_LINGER: close with RST


class H1ServerConnection(asyncio.Protocol):
    """One connection from a client: plain proxy requests, or what is inside a CONNECT.

    Attributes:
        client: what the log says of it.
        origin: where requests in origin-form go; None for a plain proxy connection.
        handshake: its TLS, None where there is none.
        on_lost_early: told when the connection ends without one byte of a request.
    """

    __slots__ = (
        "_buffer",
        "_context",
        "_full",
        "_holding",
        "_linger_left",
        "_linger_until",
        "_lost",
        "_noted",
        "_paused",
        "_raw",
        "_secure",
        "_served",
        "_servers",
        "_stream",
        "client",
        "handshake",
        "on_lost_early",
        "origin",
        "transport",
    )

    def __init__(
        self, context: Context, client: Client, *, origin: Route | None = None, servers: Picks | None = None
    ) -> None:
        self.client = client
        self.origin = origin
        self.handshake: Handshake | None = None
        self.on_lost_early: Callable[[Exception | None], None] | None = None
        self.transport: asyncio.Transport = cast(asyncio.Transport, None)
        self._context = context
        self._stream: H1ServerStream | None = None
        self._raw: BytesFromClient | None = None
        self._buffer = b""
        self._secure = False
        self._served = False
        self._paused = False
        self._full = False
        self._holding = False
        self._lost = False
        self._servers = servers
        self._noted: Stream | None = None
        self._linger_left = 0
        self._linger_until: asyncio.TimerHandle | None = None

    # -- from the loop -----------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=WRITE_BUFFER)
        self._secure = transport.get_extra_info("ssl_object") is not None
        self._context.clients.add(self)

    def data_received(self, data: bytes) -> None:
        """Take bytes: a new request, more of the running one, or a pipelined one that has to wait."""
        stream = self._stream
        if stream is not None:
            if stream.reading:
                stream.feed(data)
            else:
                self.keep_rest(data)
        elif self._raw is not None:
            self._raw.request_data([data], False, b"")
        elif self._linger_until is not None:
            self._throw_away(len(data))
        elif self._full or self._holding:
            self.keep_rest(data)
        else:
            self._buffer = self._buffer + data if self._buffer else data
            self._next_request()

    def eof_received(self) -> bool:
        """Take a client that ends its side as one that leaves, as nginx does; in a tunnel it may still listen."""
        if self._raw is None or self._secure:
            return False
        self._raw.request_data(_NOTHING, True, b"")
        return not self.transport.is_closing()

    def connection_lost(self, exc: Exception | None) -> None:
        """End what was running."""
        self._lost = True
        context = self._context
        context.clients.discard(self)
        context.pool.owner_left(self.client.connection)
        if self._linger_until is not None:
            self._linger_until.cancel()
        stream, self._stream = self._stream, None
        raw, self._raw = self._raw, None
        if stream is not None:
            stream.lost(exc)
        elif raw is not None:
            raw.client_left(exc)
        elif not self._served and not self._buffer and self.on_lost_early is not None:
            self.on_lost_early(exc)
        self.on_lost_early = None

    def pause_writing(self) -> None:
        """The client does not read fast enough."""
        self._client_full(True)

    def resume_writing(self) -> None:
        """The client reads again, and may have the next answer (P8)."""
        self._client_full(False)
        if self._stream is None and self._raw is None and not self._holding:
            self._go_on()

    def _client_full(self, full: bool) -> None:
        self._full = full
        if self._stream is not None:
            self._stream.client_full(full)
        elif self._raw is not None:
            self._raw.client_full(full)

    # -- from the stream that is running -------------------------------------------------------------------------------

    def write_one(self, data: bytes) -> None:
        """Send bytes; those of an exchange only once they were released."""
        if not self._lost:
            self.transport.write(data)

    def write(self, parts: list[bytes]) -> None:
        """Send bytes in several pieces; those of an exchange only once they were released."""
        if self._lost:
            return
        if len(parts) == 1:
            self.transport.write(parts[0])
        elif self._secure or sum(map(len, parts)) <= JOIN_MAX:
            self.transport.write(b"".join(parts))
        else:
            self.transport.writelines(parts)

    def keep_rest(self, data: bytes) -> None:
        """Hold bytes of the next request until the running one is answered."""
        if data:
            self._buffer += data
            if len(self._buffer) > PIPELINE_MAX:
                self.pause()

    def pause(self) -> None:
        """Do not read from the client for now."""
        if not self._paused and not self._lost:
            self._paused = True
            self.transport.pause_reading()

    def resume(self) -> None:
        """Read again."""
        if self._paused and not self._lost:
            self._paused = False
            self.transport.resume_reading()

    def stream_ended(self, *, close: bool, unread: bool) -> None:
        """Go on with the next request, or close; ``unread``: the client still sends."""
        self._stream = None
        if self._lost:
            return
        if self._context.stopping:
            self.transport.close()
        elif unread:
            self._linger()
        elif close:
            self.transport.close()
        elif self._full:
            pass  # a client that reads nothing could have answers piled up without end
        elif self._paused or self._buffer:
            self._go_on()

    def switch(self, listener: BytesFromClient) -> None:
        """Hand all bytes to ``listener`` from now on, and those that have come."""
        self._stream = None
        self._raw = listener
        self._holding = False
        waiting, self._buffer = self._buffer, b""
        self.resume()
        if waiting:
            listener.request_data([waiting], False, b"")
        if self._lost:
            self._raw = None
            listener.client_left(None)

    def end_writing(self) -> None:
        """End our side of a tunnel; over TLS, as the loops do it, only the whole connection can end."""
        if self._lost:
            return
        if self._secure:
            self.transport.close()
        else:
            end_writing(self.transport)

    def close(self) -> None:
        """Send what is waiting, then end the connection."""
        if not self._lost:
            self.transport.close()

    def reset(self) -> None:
        """Break the connection with RST, after what was released in this turn of the loop.

        A body that lasts until its connection ends is whole for a client that sees an orderly end; and what a server
        broke off must not look whole.
        """
        self._stream = None
        self._holding = True
        self._context.loop.call_soon(self._break)

    def _break(self) -> None:
        if not self._lost:
            sock = self.transport.get_extra_info("socket")
            if sock is not None:
                try:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _BREAK)
                except OSError:
                    pass  # it is gone already
            self.transport.abort()

    # -- from the arrival and the worker -------------------------------------------------------------------------------

    def note_handshake(self, handshake: Handshake) -> None:
        """Record how TLS began, here and in every session that the connection's requests belong to."""
        self.handshake = handshake
        self._noted = self._context.stream
        note_handshake(self._noted, self.client.connection, handshake)

    def hold(self) -> None:
        """Take bytes but no requests: a tunnel is about to be put here."""
        self._holding = True

    def abort(self) -> None:
        """End the connection at once."""
        if not self._lost:
            self.transport.abort()

    @property
    def idle(self) -> bool:
        """Whether nothing is running on this connection."""
        return self._stream is None and self._raw is None

    # -- requests ------------------------------------------------------------------------------------------------------

    def _go_on(self) -> None:
        if self._lost or self.transport.is_closing():
            return
        self.resume()
        if self._buffer:
            self._next_request()

    def _next_request(self) -> None:
        buffer = self._buffer
        context = self._context
        try:
            head = parse_request_head(buffer)
            if head is None:
                return
            request = self._address(head)
            rest = buffer[head.consumed :]
            if head.framing == NO_BODY:
                reader, pieces = None, _NOTHING
            elif head.framing == LENGTH and len(rest) == head.content_length:
                reader, pieces, rest = None, [rest], b""
            else:
                reader = body_reader(head)
                pieces = reader.feed(rest) if rest else _NOTHING
                rest = reader.rest
        except ProtocolError as error:
            self.refuse(error, buffer)
            return
        self._served = True
        context.exchanges += 1
        recording = context.stream
        if self.handshake is not None and self._noted is not recording:
            self._noted = recording
            note_handshake(recording, self.client.connection, self.handshake)
        if recording.refusing and not recording.accepting:
            recording.count_unrecorded()
            message = "this exchange cannot be recorded: the disk or the session is full"
            self._refuse(Refusal(507, "disk-full", message), buffer)
            return
        end = reader is None or reader.finished
        stream = H1ServerStream(self, head, reader)
        exchange = Exchange(stream, request, context.pool, ExchangeLog(recording), context.decider)
        stream.listener = exchange
        self._stream = stream
        self._buffer = rest
        exchange.start(pieces, end, b"" if reader is None else reader.trailers)

    def _address(self, head: RequestHead) -> Request:
        """Return the request with the server that it is for."""
        if head.method == "CONNECT":
            raise ProtocolError(
                "CONNECT must be the first request of a connection",
                hint="open a new connection to the proxy for each tunnel",
                status=501,
            )
        scheme, host, port, target, authority = split_target(head)
        if scheme:
            if self._context.ourselves.named(host, port):
                raise ProtocolError(LOOP, hint=LOOP_HINT, code="loop", status=508)
            if self._context.credentials is not None and self.origin is None:
                head = self._context.credentials.admit(head)
            return Request(head, _route(scheme, host, port), target, authority)
        if self.origin is None:
            return self._address_directly(head, target)
        return Request(head, self.origin, target, None)

    def _address_directly(self, head: RequestHead, target: bytes) -> Request:
        """Return a request that names no server with the one of those behind us that it is for."""
        servers = self._servers or self._context.servers
        if servers is None:
            raise ProtocolError(
                "this is a proxy: the request names no server",
                hint="set this address as HTTP proxy (curl -x http://ADDRESS URL), or tell wiretape which server "
                "stands behind it (wiretape serve --reverse URL)",
            )
        if self.client.source == "explicit":
            self.client = self.client._replace(source="reverse")
        route, authority = servers.pick(head.host)
        return Request(head, route, target, authority)

    def refuse(self, error: ProtocolError, seen: bytes) -> None:
        """Answer what is no request, and record it; ``seen`` are the bytes that should have been one."""
        # What was meant for the daemon's API may have its token in it, and who was asked who he is, a password: no
        # recording has them (P14).
        head = b"" if error.code in _SECRET else seen[:1024]
        self._context.note_refused(self.client.name, error.message, error.code, head)
        self._refuse(Refusal(error.status, error.code, error.message, error.hint), seen)

    def _refuse(self, refusal: Refusal, buffer: bytes) -> None:
        self._buffer = b""
        self.on_lost_early = None
        self.write_one(error_page(*refusal, body=not asks_for_head(buffer)))
        if not self._lost:
            self._linger()

    # -- lingering -----------------------------------------------------------------------------------------------------

    def _linger(self) -> None:
        """Close once the client has seen the answer (RFC 9112 section 9.6).

        Closing with bytes unread makes the kernel send RST, which takes from the client the answer that it has not read
        yet. So our side ends, and what it still sends is read and thrown away, within bounds.
        """
        self._holding = True
        self._buffer = b""
        self._linger_left = LINGER_BYTES
        self._linger_until = self._context.loop.call_later(LINGER_SECONDS, self.transport.close)
        self.resume()
        if self.transport.can_write_eof():  # over TLS the answer's Connection: close has to do
            end_writing(self.transport)

    def _throw_away(self, size: int) -> None:
        self._linger_left -= size
        if self._linger_left <= 0:
            self.transport.close()


class H1ServerStream:
    """One request and its response on a connection: the downstream port of an exchange.

    Attributes:
        client: whose connection it is.
        full: the client does not read as fast as it is sent to.
        listener: who hears what the client sends.
        reading: the request has not come to its end.
    """

    __slots__ = (
        "_chunked",
        "_close",
        "_connection",
        "_delimited",
        "_head",
        "_reader",
        "client",
        "full",
        "listener",
        "reading",
    )

    protocol: Final = ""
    number: Final = 0

    def __init__(self, connection: H1ServerConnection, head: RequestHead, reader: BodyReader | None) -> None:
        self.client = connection.client
        self.full = False
        self.listener: FromClient | None = None
        self.reading = reader is not None and not reader.finished
        self._connection = connection
        self._head = head
        self._reader = reader
        self._close = not head.keep_alive
        self._chunked = False
        self._delimited = False  # the response has begun, and says itself where its body ends

    # -- from the connection -------------------------------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """Take more of the request's body."""
        reader, listener = self._reader, self.listener
        if reader is None or listener is None:
            return  # what comes after a body that is broken has no meaning
        try:
            pieces = reader.feed(data)
        except ProtocolError as error:
            self._reader = None
            listener.request_broken(error)
            return
        if reader.finished:
            self.reading = False
            self._connection.keep_rest(reader.rest)
        listener.request_data(pieces, reader.finished, reader.trailers)

    def client_full(self, full: bool) -> None:
        """Pass on whether the client reads."""
        self.full = full
        if self.listener is not None:
            self.listener.client_full(full)

    def lost(self, error: Exception | None) -> None:
        """Pass on that the client is gone."""
        listener, self.listener = self.listener, None
        if listener is not None:
            listener.client_left(error)

    # -- from the exchange ---------------------------------------------------------------------------------------------

    def interim(self, head: AnyResponseHead) -> None:
        """Send a 1xx response, but not to an HTTP/1.0 client (RFC 9110 section 15.2)."""
        if self._head.minor:
            self._connection.write_one(head.forward())

    def respond(self, head: AnyResponseHead, pieces: Pieces, end: bool, trailers: bytes) -> None:
        """Send the final response's head and what there is of its body."""
        framing, minor = head.framing, self._head.minor
        chunked = framing == CHUNKED
        if chunked and minor:
            self._chunked = True
        if framing == UNTIL_CLOSE or self.reading or (chunked and not minor):
            self._close = True
        close = True if self._close else (None if minor else False)
        out = head.forward(close=close, upgrade=head.status == 426, dechunk=chunked and not minor)
        if end and not chunked and len(pieces) == 1 and len(pieces[0]) <= JOIN_MAX:
            self._connection.write_one(out + pieces[0])
            self._end()
        else:
            self._delimited = framing != UNTIL_CLOSE and bool(minor or not chunked)
            self._send([out], pieces, end, trailers)

    def send_data(self, pieces: Pieces, end: bool, trailers: bytes) -> None:
        """Send more of the body; after a switch, bytes as they are."""
        if self.listener is not None:
            self._send([], pieces, end, trailers)
            return
        if pieces:
            self._connection.write(pieces)
        if end:
            self._connection.end_writing()

    def _send(self, parts: list[bytes], pieces: Pieces, end: bool, trailers: bytes) -> None:
        if self._chunked:
            if pieces:
                parts += (b"%x\r\n" % sum(map(len, pieces)), *pieces, b"\r\n")
            if end:
                parts.append(encode_last_chunk(trailers))
        else:
            parts += pieces
        if parts:
            self._connection.write(parts)
        if end:
            self._end()

    def refuse(self, refusal: Refusal) -> None:
        """Send an answer of our own."""
        self._close = True
        self._connection.write_one(error_page(*refusal, body=self._head.method != "HEAD"))
        self._end()

    def _end(self) -> None:
        self.listener = None  # no cycle is left for the collector
        self._connection.stream_ended(close=self._close, unread=self.reading)

    def reset(self) -> None:
        """End the connection so that the response cannot look whole.

        Where it says itself where it ends, the client sees that it is short: it gets every byte that came, as it would
        from the server. A reset would throw away what it has not read yet.
        """
        if self._delimited:
            self._close = True
            self._end()
            return
        self.listener = None
        self._connection.reset()

    def pause(self) -> None:
        """Read no more of the request for now."""
        self._connection.pause()

    def resume(self) -> None:
        """Read again."""
        self._connection.resume()

    def switch(self, listener: BytesFromClient) -> None:
        """Hand all bytes after the request to ``listener``."""
        self.listener = None
        self._connection.switch(listener)

    def respond_switched(self, head: AnyResponseHead) -> None:
        """Send the head after which another protocol is spoken."""
        self._connection.write_one(head.forward(upgrade=True))

    def close(self) -> None:
        """End the connection once all is sent."""
        self._connection.close()
