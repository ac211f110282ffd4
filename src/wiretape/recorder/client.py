"""A client's connection: requests one after another, each an exchange."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
import time
from typing import Any, Final, cast

from wiretape.errors import ProtocolError
from wiretape.log.format import Event, FrameType
from wiretape.recorder.context import Context
from wiretape.recorder.exchange import Exchange
from wiretape.recorder.ourselves import LOOP, LOOP_HINT
from wiretape.recorder.pages import asks_for_head, error_page
from wiretape.recorder.pool import Pool
from wiretape.recorder.tunnel import Tunnel
from wiretape.recorder.upstream import Route, UpstreamConnection
from wiretape.wire.http1 import RequestHead, parse_request_head, split_target

PIPELINE_MAX: Final = 64 * 1024
"""Bytes of later requests that are held while one is answered; then the client is not read any more."""

LINGER_SECONDS: Final = 5.0
LINGER_BYTES: Final = 64 * 1024 * 1024
"""How long, and how much of what a refused client still sends, is thrown away before its connection is closed."""


class ClientConnection(asyncio.Protocol):
    """One connection from a client: plain proxy requests, or what is inside a CONNECT.

    Attributes:
        origin: where requests in origin-form go; None for a plain proxy connection.
        number: names this connection in the log.
        input_ended: the client has ended its side before the tunnel was there that is about to be put here.
        own_pool: connections to servers that authenticate the connection itself, which are this client's alone; None
            while it has none.
        name: the client's address.
        source: how it came: ``explicit``, ``connect`` or ``transparent``.
    """

    __slots__ = (
        "_buffer",
        "_exchange",
        "_full",
        "_holding",
        "_linger_left",
        "_linger_until",
        "_lost",
        "_paused",
        "context",
        "input_ended",
        "name",
        "number",
        "on_lost_early",
        "origin",
        "own_pool",
        "served",
        "source",
        "transport",
    )

    def __init__(
        self, context: Context, name: str, *, origin: Route | None = None, number: int = 0, source: str = "explicit"
    ) -> None:
        self.context = context
        self.name = name
        self.origin = origin
        self.number = number or context.next_connection()
        self.source = source
        self.transport: asyncio.Transport = cast(asyncio.Transport, None)
        self.served = 0
        self.own_pool: Pool | None = None
        self.on_lost_early: Any = None
        self._exchange: Exchange | Tunnel | None = None
        self.input_ended = False
        self._buffer = b""
        self._paused = False
        self._lost = False
        self._full = False
        self._holding = False
        self._linger_left = 0
        self._linger_until: asyncio.TimerHandle | None = None

    # -- from the loop -------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=256 * 1024)
        self.context.clients.add(self)

    def data_received(self, data: bytes) -> None:
        """Take bytes: a new request, more of the running one, or a pipelined one that has to wait."""
        exchange = self._exchange
        if exchange is None and (self._full or self._holding):
            if self._linger_until is not None:
                self._throw_away(len(data))
            else:
                self.keep_rest(data)
        elif exchange is None:
            self._buffer = self._buffer + data if self._buffer else data
            self._next_request()
        elif not exchange.request_finished:
            exchange.request_data(data)
        else:
            self.keep_rest(data)

    def eof_received(self) -> bool:
        """Take a client that ends its side as one that leaves, as nginx does; in a tunnel the other side goes on."""
        if self._exchange is not None:
            return self._exchange.client_eof()
        self.input_ended = self._holding and self._linger_until is None
        return self.input_ended

    def connection_lost(self, exc: Exception | None) -> None:
        """End what was running."""
        self._lost = True
        self.context.clients.discard(self)
        if self._linger_until is not None:
            self._linger_until.cancel()
        if self.own_pool is not None:
            self.own_pool.close()
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.client_lost(exc)
        elif not self.served and not self._buffer and self.on_lost_early is not None:
            self.on_lost_early(exc)
        self.on_lost_early = None

    def pause_writing(self) -> None:
        """The client does not read fast enough."""
        self._full = True
        if self._exchange is not None:
            self._exchange.client_full(True)

    def resume_writing(self) -> None:
        """The client reads again, and may have the next answer (P8)."""
        self._full = False
        if self._exchange is not None:
            self._exchange.client_full(False)
        elif not self._holding and not self._lost and not self.transport.is_closing():
            self._go_on()

    # -- from exchanges ------------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Send bytes whose frames are in the log."""
        if data and not self._lost:
            self.transport.write(data)

    def keep_rest(self, data: bytes) -> None:
        """Hold bytes of the next request until the running one is answered."""
        if data:
            self._buffer += data
            if len(self._buffer) > PIPELINE_MAX:
                self.pause_reading()

    def keep_to_itself(self, connection: UpstreamConnection) -> None:
        """Keep a connection that its server authenticates from other clients; it ends with this one.

        The server takes for its user whoever speaks on the connection (RFC 4559 section 6).
        """
        if self.own_pool is None:
            self.own_pool = Pool(self.context.loop)
            if self._lost:
                self.own_pool.close()
        connection.pool = self.own_pool

    def pause_reading(self) -> None:
        """Do not read from the client for now."""
        if not self._paused and not self._lost:
            self._paused = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        if self._paused and not self._lost:
            self._paused = False
            self.transport.resume_reading()

    def exchange_ended(self, *, close: bool, unread: bool = False) -> None:
        """The running exchange has had its last byte: go on with the next, or close; ``unread``: it still sends."""
        self._exchange = None
        if self._lost:
            return
        if self.context.stopping:
            self.transport.close()
            return
        if unread:
            self._linger()
            return
        if close:
            self.transport.close()
            return
        if not self._full:  # else a client that reads nothing could have answers piled up without end
            self._go_on()

    def _go_on(self) -> None:
        self.resume_reading()
        if self._buffer:
            self._next_request()

    def hold(self) -> None:
        """Take bytes but no requests: a tunnel is about to be put here."""
        self._holding = True

    def hand_over(self, tunnel: Tunnel) -> bytes:
        """Let a tunnel take the exchange's place; gives bytes that have come already."""
        self._exchange = tunnel
        self._holding = False
        waiting, self._buffer = self._buffer, b""
        self.resume_reading()
        return waiting

    def abort(self) -> None:
        """Break the connection with a reset: a body that ends with its connection would seem to end here."""
        self._exchange = None
        if not self._lost:
            sock = self.transport.get_extra_info("socket")
            with contextlib.suppress(OSError), socket.socket(fileno=os.dup(sock.fileno())) as same:
                same.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.transport.abort()

    @property
    def lost(self) -> bool:
        """Whether the connection has ended."""
        return self._lost

    @property
    def idle(self) -> bool:
        """Whether nothing is running on this connection."""
        return self._exchange is None

    # -- requests ------------------------------------------------------------------------------------------------

    def _next_request(self) -> None:
        buffer = self._buffer
        try:
            head = parse_request_head(buffer)
            if head is None:
                return
            route, target, authority = self._route(head)
            self.served += 1
            self.context.exchanges += 1
            tape = self.context.tape
            if tape.refusing and not tape.accepting:
                tape.count_unrecorded()
                full = "this exchange cannot be recorded: the disk or the session is full"
                self._refuse(error_page(507, "disk-full", full, body=head.method != "HEAD"))
                return
            exchange = Exchange(self, head, route)
            self._exchange = exchange
            self._buffer = b""
            rest = exchange.start(buffer[head.consumed :], target, authority)
            if rest:
                self._buffer = rest
        except ProtocolError as error:
            self._exchange = None
            self._note_refusal(error, buffer)
            body = not asks_for_head(buffer)
            self._refuse(error_page(error.status, error.code, error.message, error.hint, body=body))

    def _route(self, head: RequestHead) -> tuple[Route, bytes, bytes | None]:
        if head.method == "CONNECT":
            raise ProtocolError(
                "CONNECT must be the first request of a connection",
                hint="open a new connection to the proxy for each tunnel",
                status=501,
            )
        scheme, host, port, target, authority = split_target(head)
        if scheme:
            if self.context.ourselves.named(host, port):
                raise ProtocolError(LOOP, hint=LOOP_HINT, code="loop", status=508)
            return Route(scheme, host, port), target, authority
        if self.origin is None:
            raise ProtocolError(
                "this is a proxy: the request names no server",
                hint="set this address as HTTP proxy, for example curl -x http://ADDRESS URL",
            )
        return self.origin, target, None

    def _note_refusal(self, error: ProtocolError, buffer: bytes) -> None:
        # What was meant for the daemon's API may have its token in it, which no recording has (P14).
        head = b"" if error.code == "loop" else buffer[:1024]
        detail = {"client": self.name, "error": error.message, "code": error.code, "head": head}
        self.context.tape.append(FrameType.EVENT, 0, Event(time.time_ns(), "refused", detail))

    def _refuse(self, page: bytes) -> None:
        self._buffer = b""
        self.on_lost_early = None
        self.write(page)
        if not self._lost:
            self._linger()

    # -- lingering -----------------------------------------------------------------------------------------------

    def _linger(self) -> None:
        """Close once the client has seen the answer (RFC 9112 section 9.6).

        Closing with bytes unread makes the kernel send RST, which takes from the client the answer that it has not read
        yet. So our side ends, and what it still sends is read and thrown away, within bounds.
        """
        self._holding = True
        self._linger_left = LINGER_BYTES
        self._linger_until = self.context.loop.call_later(LINGER_SECONDS, self.transport.close)
        self.resume_reading()
        if self.transport.can_write_eof():  # over TLS the answer's Connection: close has to do
            self.transport.write_eof()

    def _throw_away(self, size: int) -> None:
        self._linger_left -= size
        if self._linger_left <= 0:
            self.transport.close()
