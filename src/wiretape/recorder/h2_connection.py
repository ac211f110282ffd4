"""What both sides of HTTP/2 share: a connection that drives an engine, and streams with flow control of their own.

Everything that one read brings for a stream is told at once, so that a small message is one call, one frame of the log
and one write, as over HTTP/1.1. What was sent in one turn of the loop goes out together.

Bodies are bounded stream by stream (P8). Towards us: a stream that is paused gets no window updates, so its peer stops
after ``Limits.stream_window`` bytes. From us: when more than ``SEND_MAX`` bytes of a stream wait for the peer's window
or the socket, whoever produces them is told to stop. Neither holds up the connection's other streams.
"""

from __future__ import annotations

import asyncio
from typing import Final, cast

from wiretape.errors import ProtocolError
from wiretape.recorder.ports import Pieces
from wiretape.wire.h2 import Engine, ErrorCode, Fields, Limits, MakeEngine
from wiretape.wire.h2_head import field_lines, h2_trailer_fields

WRITE_BUFFER: Final = 256 * 1024
"""Bytes in the socket's buffer above which nothing is taken from the engine."""
SEND_MAX: Final = 256 * 1024
SEND_LOW: Final = 64 * 1024
"""Bytes of one stream that wait to be sent, before its producer has to wait and may go on."""
OUTPUT: Final = 128 * 1024
"""Bytes that are taken from the engine at a time."""
FEW_STREAMS: Final = 2
"""Up to so many, what is sent goes out at once: a turn of the loop costs more than a second write now and then."""
LINGER_SECONDS: Final = 2.0
"""How long a peer may take to read our last words."""

_NOTHING: Final[Pieces] = []


class H2Stream:
    """One stream of a connection: what is heard of it, and what waits to be sent.

    Attributes:
        number: its number, 0 before it has one.
        full: the peer does not read as fast as it is sent to.
        ended: the peer's message has come to its end.
        finished: ours has; all of it is queued.
    """

    __slots__ = (
        "_heard",
        "_owed",
        "_paused",
        "_pieces",
        "_reset_code",
        "_trailers",
        "connection",
        "ended",
        "finished",
        "full",
        "head",
        "number",
    )

    def __init__(self, connection: H2Connection) -> None:
        self.connection = connection
        self.number = 0
        self.full = False
        self.ended = False
        self.finished = False
        self.head: Fields | None = None  # one that is not told yet
        self._pieces: Pieces = _NOTHING
        self._trailers = b""
        self._heard = False  # there is something to tell
        self._paused = False
        self._owed = 0  # bytes that the peer has not been given window for again
        self._reset_code: int | None = None  # the peer has broken the stream off

    # -- what the connection hears -----------------------------------------------------------------------------------

    def head_came(self, fields: Fields, end: bool) -> None:
        """Keep a head until the read's other events are known."""
        self.head = fields
        self.ended = end
        self._hear()

    def data_came(self, data: bytes, end: bool) -> None:
        """Keep a piece."""
        if data:
            if self._pieces:
                self._pieces.append(data)
            else:
                self._pieces = [data]
            self._owed += len(data)
        if end:
            self.ended = True
        self._hear()

    def trailers_came(self, fields: Fields) -> None:
        """Keep the trailers, which end the message; break a stream off whose trailers cannot be written down."""
        try:
            self._trailers = field_lines(fields)
        except ProtocolError:
            self.connection.reset(self, ErrorCode.PROTOCOL_ERROR)
            return
        self.ended = True
        self._hear()

    def reset_came(self, code: int) -> None:
        """Note that the peer breaks it off; ``closed`` follows."""
        self._reset_code = code

    def _hear(self) -> None:
        if not self._heard:
            self._heard = True
            self.connection.hear(self)

    def tell(self) -> None:
        """Tell the listener what has come since, and give the peer window for it unless paused."""
        if not self._heard:
            return
        self._heard = False
        pieces, self._pieces = self._pieces, _NOTHING
        self.deliver(pieces, self.ended, self._trailers)
        if self._owed and not self._paused:
            self._give_window()

    def deliver(self, pieces: Pieces, end: bool, trailers: bytes) -> None:
        """Pass on what has come; ``head`` is one that was not passed on before."""
        raise NotImplementedError

    def peer_full(self, full: bool) -> None:
        """Pass on that the peer does not read fast enough, or does again."""
        raise NotImplementedError

    def closed(self, code: int) -> None:
        """Take note that the stream is gone; what had come was told."""
        raise NotImplementedError

    def lost(self, error: Exception | None) -> None:
        """Take note that the connection is gone."""
        raise NotImplementedError

    # -- from the exchange -------------------------------------------------------------------------------------------

    def pause(self) -> None:
        """Give the peer no window for now."""
        self._paused = True

    def resume(self) -> None:
        """Give it again."""
        if self._paused:
            self._paused = False
            if self._owed:
                self._give_window()

    def _give_window(self) -> None:
        owed, self._owed = self._owed, 0
        self.connection.acknowledge(self.number, owed)

    def forget(self) -> None:
        """Give back the window that was held back: nobody is going to read what came."""
        self._paused = False
        if self._owed:
            self._give_window()

    def switch(self, listener: object) -> None:
        """HTTP/2 never switches: it has no Upgrade, and CONNECT is not served, nor asked for (RFC 8441 included)."""
        raise NotImplementedError

    def close(self) -> None:
        """There is nothing to end but after a switch."""
        raise NotImplementedError

    def send(self, pieces: Pieces, end: bool, trailers: bytes) -> None:
        """Queue bytes of our message."""
        connection = self.connection
        engine, number = connection.engine, self.number
        last = len(pieces) - 1
        fields = h2_trailer_fields(trailers) if trailers else ()
        for at, piece in enumerate(pieces):
            engine.send_data(number, piece, end and not fields and at == last)
        if end:
            self.finished = True
            if fields:
                engine.send_trailers(number, fields)
            elif not pieces:
                engine.send_data(number, b"", True)
        connection.sending(self)


class H2Connection(asyncio.Protocol):
    """One connection that speaks HTTP/2, either side; implements the engine's listener.

    Attributes:
        engine: what does the framing.
        transport: its transport; None before it has one.
        streams: those that run.
        gone: nothing can be sent or received any more.
    """

    __slots__ = (
        "_blocked",
        "_closing",
        "_code",
        "_ended",
        "_hearing",
        "_loop",
        "_reason",
        "_scheduled",
        "_sending",
        "engine",
        "gone",
        "streams",
        "transport",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, make: MakeEngine, limits: Limits, *, client: bool) -> None:
        self.transport: asyncio.Transport = cast(asyncio.Transport, None)
        self.engine: Engine = make(client, limits, self)
        self.streams: dict[int, H2Stream] = {}
        self.gone = False
        self._loop = loop
        self._hearing: list[H2Stream] = []
        self._sending: set[H2Stream] = set()
        self._blocked = False
        self._scheduled = False
        self._closing = False
        self._ended = False
        self._code = 0  # why the engine takes nothing any more
        self._reason = ""

    # -- from the loop -----------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport, and say how we speak."""
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=WRITE_BUFFER)
        self.engine.start()
        self.flush()

    def data_received(self, data: bytes) -> None:
        """Take bytes: tell the streams that they are about."""
        if self._ended:
            return
        scheduled, self._scheduled = self._scheduled, True  # what is queued meanwhile goes out below
        self.engine.receive(data)
        self._tell()
        self._scheduled = scheduled
        if not scheduled and (self._sending or self._closing or self.engine.wants_output):
            self.flush()

    def eof_received(self) -> bool:
        """Let the transport close: a peer that has ended its side hears nothing that we could say (TLS)."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell all streams."""
        self.gone = True
        self._tell()
        self._lose_streams(exc)

    def pause_writing(self) -> None:
        """Take nothing from the engine: what waits there is counted stream by stream."""
        self._blocked = True

    def resume_writing(self) -> None:
        """Go on."""
        self._blocked = False
        self.mark()

    # -- from the engine ---------------------------------------------------------------------------------------------

    def head_came(self, stream: int, fields: Fields, end: bool) -> None:
        """Take the head of a message."""
        raise NotImplementedError

    def interim_came(self, stream: int, fields: Fields) -> None:
        """Take the head of a 1xx response."""
        raise NotImplementedError

    def settings_came(self, streams: int) -> None:
        """Take the peer's settings."""
        raise NotImplementedError

    def going_away(self, last: int, code: int, debug: bytes) -> None:
        """Take note that the peer takes no more streams."""
        raise NotImplementedError

    def data_came(self, stream: int, data: bytes, end: bool) -> None:
        """Take a piece of a body."""
        found = self.streams.get(stream)
        if found is not None:
            found.data_came(data, end)
        elif data:
            self.engine.acknowledge(stream, len(data))

    def trailers_came(self, stream: int, fields: Fields) -> None:
        """Take the trailers of a message."""
        found = self.streams.get(stream)
        if found is not None:
            found.trailers_came(fields)

    def reset_came(self, stream: int, code: int) -> None:
        """Take note that the peer breaks a stream off."""
        found = self.streams.get(stream)
        if found is not None:
            found.reset_came(code)

    def stream_closed(self, stream: int, code: int) -> None:
        """Take note that a stream is gone."""
        found = self.streams.pop(stream, None)
        if found is None:
            if code:
                self.unheard_of(stream, code)
            return
        self._sending.discard(found)
        found.tell()
        found.forget()
        found.closed(code)

    def unheard_of(self, stream: int, code: int) -> None:
        """Take note that a stream had an end before anything of it was heard."""

    def broken(self, code: int, reason: str) -> None:
        """Take note that the peer cannot be understood any more, or has ended the connection in order."""
        if not self._closing:
            self._closing = True
            self._code, self._reason = code, reason
            self.mark()

    # -- from streams ------------------------------------------------------------------------------------------------

    def hear(self, stream: H2Stream) -> None:
        """Remember a stream that has something to tell."""
        self._hearing.append(stream)

    def _tell(self) -> None:
        hearing, self._hearing = self._hearing, []
        for stream in hearing:
            stream.tell()

    def acknowledge(self, stream: int, size: int) -> None:
        """Give the peer window."""
        if not self.gone:
            self.engine.acknowledge(stream, size)
            self.mark()

    def sending(self, stream: H2Stream) -> None:
        """Remember a stream that has queued bytes; with few others, nothing is gained by waiting for theirs."""
        self._sending.add(stream)
        if len(self.streams) > FEW_STREAMS:
            self.mark()
        elif not self._scheduled:
            self.flush()

    def reset(self, stream: H2Stream, code: int) -> None:
        """Break a stream off; the peer hears of it."""
        if not self.gone and stream.number in self.streams:
            stream.forget()
            self.engine.reset(stream.number, code)
            self.mark()

    def mark(self) -> None:
        """See to it that what is queued goes out at the end of this turn."""
        if not self._scheduled and not self.gone:
            self._scheduled = True
            self._loop.call_soon(self.flush)

    def flush(self) -> None:
        """Hand to the socket what the peer's windows and the socket's buffer have room for."""
        if self.gone:
            return
        self._scheduled = True  # what the engine tells meanwhile may queue more, but must not take it out before this
        output, transport = self.engine.output, self.transport
        while not self._blocked:
            data = output(OUTPUT)
            if not data:
                break
            transport.write(data)
            if len(data) < OUTPUT // 2:  # frames are smaller than that, so it was all
                break
        self._scheduled = False
        if self._hearing:
            self._tell()
        if self._sending:
            self._look_at_queues()
        if self._closing and not self._blocked:
            self._end()

    def _look_at_queues(self) -> None:
        queued = self.engine.queued
        all_sent = not queued()
        for stream in list(self._sending):
            waiting = 0 if all_sent else queued(stream.number)
            if not waiting and not self._blocked:
                self._sending.discard(stream)
                self.all_sent(stream)
            if waiting > SEND_MAX and not stream.full:
                stream.full = True
                stream.peer_full(True)
            elif waiting < SEND_LOW and stream.full:
                stream.full = False
                stream.peer_full(False)

    def all_sent(self, stream: H2Stream) -> None:
        """Take note that nothing of a stream waits any more."""

    def _end(self) -> None:
        """End the connection, all that could be said having been said.

        A peer that broke the rules may still be sending: closed with bytes unread, the kernel's RST would take our last
        word from it, so for a while they are read and thrown away.
        """
        if self._ended:
            return
        self._ended = True
        if self._code:
            self._lose_streams(None)
            self._loop.call_later(LINGER_SECONDS, self.transport.close)
            self._loop.call_later(2 * LINGER_SECONDS, self.abort)
        else:
            self.transport.close()
            self._loop.call_later(LINGER_SECONDS, self.abort)

    def _lose_streams(self, error: Exception | None) -> None:
        streams = list(self.streams.values())
        self.streams.clear()
        self._sending.clear()
        for stream in streams:
            stream.lost(error)

    # -- from the worker and the pool --------------------------------------------------------------------------------

    def close(self) -> None:
        """Say that nothing follows, send what is waiting, then end the connection."""
        if not self.gone and not self._closing:
            self.engine.go_away(ErrorCode.NO_ERROR)
            self._closing = True
            self.flush()

    def abort(self) -> None:
        """End the connection at once."""
        if not self.gone:
            self.transport.abort()
