"""HTTP/1.1 towards a server: the protocol on one connection, which carries one exchange at a time."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from typing import Final, Protocol, cast

from wiretape.recorder.exchange_log import Server, Stream
from wiretape.recorder.h1_response import ResponseReader
from wiretape.recorder.half_close import end_writing
from wiretape.recorder.handshake_log import Handshake, after_handshake_error, note_handshake
from wiretape.recorder.ports import BytesFromServer, FromServer, Pieces, Request, Timeouts
from wiretape.recorder.route import Route
from wiretape.wire.http1 import (
    CHUNKED,
    LENGTH,
    NO_BODY,
    encode_last_chunk,
)

JOIN_MAX: Final = 16 * 1024
"""Bytes that are rather copied into one than handed to the system in a list."""

FINISH_SECONDS: Final = 30.0
"""How long a server that has answered early may take to read what was still written to it."""

WRITE_BUFFER: Final = 256 * 1024
"""Bytes that wait to be sent before whoever produces them has to wait."""

_NOTHING: Final[Pieces] = []


class Keeper(Protocol):
    """Where a connection goes when its lease ends."""

    def put(self, connection: H1ClientConnection) -> None:
        """Take a lease back."""

    def discard(self, connection: H1ClientConnection) -> None:
        """Forget a connection that is gone."""


class H1ClientConnection(asyncio.Protocol):
    """One connection to a server; the upstream port of the exchange it serves, one at a time.

    Attributes:
        capacity: how many exchanges it can serve at a time.
        shared: always False: it serves one at a time.
        running: how many it serves.
        route, server: where it leads, and what the log says of it.
        owner: the client connection that alone may use it, because the server has authenticated the connection and not
            the request (NTLM, Negotiate); 0 when it may be shared.
        tenant: the client connection whose exchange it serves.
        reused: it has served an exchange before.
        closed: it is gone, or about to be.
        idle_since: loop time at which its last lease ended, 0 for a new one; any other may have died meanwhile.
        handshake: its TLS, None where there is none.
        noted: the session's stream in which that has been recorded last.
    """

    capacity: Final = 1
    shared: Final = False

    __slots__ = (
        "_chunked",
        "_closing",
        "_early",
        "_error",
        "_keeper",
        "_listener",
        "_on_early",
        "_paused",
        "_raw",
        "_reader",
        "_secure",
        "_socket",
        "_spare",
        "closed",
        "full",
        "handshake",
        "idle_since",
        "noted",
        "owner",
        "reused",
        "route",
        "running",
        "server",
        "tenant",
        "transport",
    )

    def __init__(
        self, route: Route, server: Server, keeper: Keeper, sock: socket.socket, *, strict_http: bool = False
    ) -> None:
        self.route = route
        self.server = server
        self.transport: asyncio.Transport = cast(asyncio.Transport, None)
        self.owner = self.tenant = 0
        self.running = 0
        self.reused = self.closed = self.full = False
        self.idle_since = 0.0
        self.handshake: Handshake | None = None
        self.noted: Stream | None = None
        self._on_early: Callable[[], None] | None = None
        self._keeper = keeper
        self._socket = sock
        self._secure = route.scheme == "https"
        self._listener: FromServer | None = None
        self._raw: BytesFromServer | None = None
        self._reader = ResponseReader(strict_http)
        self._chunked = False
        self._paused = False
        self._spare: socket.socket | None = None
        self._closing: asyncio.TimerHandle | None = None
        self._early = b""
        self._error: Exception | None = None

    # -- from the loop -----------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=WRITE_BUFFER)

    def data_received(self, data: bytes) -> None:
        """Tell who listens; bytes that nobody asked for mean that the connection cannot be trusted any more."""
        listener = self._listener
        if listener is not None:
            switched = self._reader.feed(data, listener)
            if switched is not None:
                self._listener = None
                self._raw, rest = switched
                if rest:
                    self._raw.response_data([rest], False, b"")
        elif self._raw is not None:
            self._raw.response_data([data], False, b"")
        elif self.reused:
            self.abort()
        else:  # the server speaks first, before whoever asked for the connection has it: uvloop reads that soon
            self._early += data
            self.pause()
            self._tell_early()

    def eof_received(self) -> bool:
        """After a switch only this direction has ended, and ours stays open; else let the transport close."""
        if self._raw is None or self._secure:
            return False
        self._raw.response_data(_NOTHING, True, b"")
        return not self.closed

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell who listens."""
        self.closed = True
        self._error = exc
        if exc is not None and self._listener is not None:
            self._error = self._read_last_words() or exc
        self._drop_spare()
        if self._closing is not None:
            self._closing.cancel()
            self._closing = None
        self._keeper.discard(self)
        self._tell_end()
        self._tell_early()

    def _tell_early(self) -> None:
        on_early, self._on_early = self._on_early, None
        if on_early is not None:
            on_early()

    def _keep_spare(self) -> None:
        """Keep a second descriptor of the socket while a request is sent that the server may not read to its end.

        It may say why (413, an alert that it wants a certificate) and close. Then a write fails, for which the loop
        closes the socket, and what the server said lies in its buffer and would be lost with it.
        """
        if self._spare is None:
            with contextlib.suppress(OSError):  # without one only such an answer is in danger
                self._spare = self._socket.dup()

    def _drop_spare(self) -> None:
        if self._spare is not None:
            self._spare.close()
            self._spare = None

    def _read_last_words(self) -> Exception | None:
        """Read what the server sent before a write to it failed; return its TLS alert if that was the last of it.

        No more than a socket's buffer holds.
        """
        if self._spare is None:
            return None
        raw = bytearray()
        with contextlib.suppress(OSError):
            while data := self._spare.recv(WRITE_BUFFER):
                raw += data
        tls = self.transport.get_extra_info("ssl_object")
        last, alert = (bytes(raw), None) if tls is None else tls.decrypt(raw)
        if last:
            self.data_received(last)
        return cast("Exception | None", alert)

    def _tell_end(self) -> None:
        listener, self._listener = self._listener, None
        raw, self._raw = self._raw, None
        error = self._error
        if isinstance(error, ssl.SSLError):
            error = after_handshake_error(error, self.route)
        if raw is not None:
            raw.server_left(error, False, b"")
        elif listener is not None:
            reader = self._reader
            if error is not None or not reader.end(listener):
                listener.server_left(error, self.idle_since > 0 and not reader.touched, reader.unparsed)

    def pause_writing(self) -> None:
        """The server does not read fast enough."""
        self.full = True
        listener = self._listener or self._raw
        if listener is not None:
            listener.server_full(True)

    def resume_writing(self) -> None:
        """The server reads again."""
        self.full = False
        listener = self._listener or self._raw
        if listener is not None:
            listener.server_full(False)

    # -- from the pool -----------------------------------------------------------------------------------------------

    def listen_early(self, action: Callable[[], None]) -> None:
        """Call ``action`` when bytes have come, or the end, although nobody has sent anything yet."""
        if self._early or self.closed:
            action()
        else:
            self._on_early = action

    def lease(self, tenant: int) -> H1ClientConnection:
        """Note whose exchange it serves next, the client connection ``tenant``, and return its port."""
        self.tenant = tenant
        return self

    def tick(self, now: int, timeouts: Timeouts) -> None:
        """Pass the time on."""
        listener = self._listener or self._raw
        if listener is not None:
            listener.tick(now, timeouts)

    def abort(self) -> None:
        """Break the connection; nobody is told."""
        self._listener = self._raw = None
        self.closed = True
        self._drop_spare()
        self.transport.abort()

    def break_off(self) -> None:
        """Break the connection and tell who listens: the recorder ends."""
        self.closed = True
        self._error = ConnectionAbortedError("the recorder stopped")
        self.transport.abort()
        self._tell_end()

    # -- from the exchange -------------------------------------------------------------------------------------------

    def send_request(self, request: Request, pieces: Pieces, end: bool, trailers: bytes, listener: FromServer) -> None:
        """Send the head and what there is of the body; ``listener`` hears what comes, maybe before this returns."""
        head = request.head
        self._listener = listener
        self._reader.begin(head)
        if head.authenticates_connection:
            self.owner = self.tenant
        if not self.reused:  # a new one may be refused at once: a client certificate, a full server
            self._keep_spare()
        out = head.forward(request.target, upgrade=head.upgrade is not None, host=request.authority)
        self._chunked = False
        if end and head.framing == NO_BODY:
            if not self.closed:
                self.transport.write(out)
        elif end and head.framing == LENGTH and len(pieces) == 1 and len(pieces[0]) <= JOIN_MAX:
            if not self.closed:
                self.transport.write(out + pieces[0])
        else:
            self._chunked = head.framing == CHUNKED
            if not end or sum(map(len, pieces)) > JOIN_MAX:
                self._keep_spare()
            self._send([out], pieces, end, trailers)
        if self._early:
            early, self._early = self._early, b""
            self.resume()
            self.data_received(early)
        if self.closed:
            self._tell_end()

    def send_data(self, pieces: Pieces, end: bool, trailers: bytes) -> None:
        """Send more of the body; after a switch, bytes as they are."""
        if self._raw is None:
            self._send([], pieces, end, trailers)
            return
        if pieces:
            self._write(pieces)
        if end and not self.closed:
            if self._secure:  # TLS as the loops do it cannot end one direction alone
                self.transport.close()
            else:
                end_writing(self.transport)

    def _send(self, parts: list[bytes], pieces: Pieces, end: bool, trailers: bytes) -> None:
        if not self._chunked:
            self._write([*parts, *pieces])
            return
        if pieces:
            size = sum(map(len, pieces))
            parts = [*parts, b"%x\r\n" % size, *pieces, b"\r\n"]
        if end:
            parts.append(encode_last_chunk(trailers))
        self._write(parts)

    def _write(self, parts: list[bytes]) -> None:
        if self.closed or not parts:
            return
        if len(parts) == 1:
            self.transport.write(parts[0])
        elif self._secure or sum(map(len, parts)) <= JOIN_MAX:
            self.transport.write(b"".join(parts))
        else:
            self.transport.writelines(parts)

    def pause(self) -> None:
        """Read no more for now."""
        if not self._paused and not self.closed:
            self._paused = True
            self.transport.pause_reading()

    def resume(self) -> None:
        """Read again."""
        if self._paused and not self.closed:
            self._paused = False
            self.transport.resume_reading()

    def give_back(self) -> None:
        """End the lease; keep the connection if it can serve another exchange."""
        self._listener = None
        reader = self._reader
        if reader.whole and reader.keep_alive and not self.closed:
            self.reused = True
            if reader.challenged:
                self.owner = self.tenant
            if self._paused:
                self.resume()
            if self._spare is not None:
                self._drop_spare()
            self._keeper.put(self)
        else:
            self.abort()

    @property
    def sent(self) -> bool:
        """Whether what was to be sent has left this process."""
        return not self.closed and not self.transport.get_write_buffer_size()

    def finish(self) -> None:
        """End the lease; close when the server has taken what was written, or does not within bounds."""
        self._listener = None
        if self.closed:
            return
        self.closed = True
        self._drop_spare()
        self.transport.close()
        self._closing = asyncio.get_running_loop().call_later(FINISH_SECONDS, self.transport.abort)

    def reset(self) -> None:
        """End the lease in the middle."""
        self.abort()

    def note(self, stream: Stream) -> None:
        """Record in a session's stream what is known of the connection."""
        self.noted = stream
        if self.handshake is not None:
            note_handshake(stream, self.server.connection, self.handshake)

    def switch(self, listener: BytesFromServer) -> None:
        """Hand all bytes to ``listener``."""
        self._raw = listener
        early, self._early = self._early, b""
        if early:
            self.resume()
            listener.response_data([early], False, b"")
        if self.closed:
            self._tell_end()

    def close(self) -> None:
        """Send what is waiting to be sent, then end the connection; ``server_left`` follows."""
        if not self.closed:
            self.resume()
            self.transport.close()
