"""What happens to one exchange, turned into frames. Knows the log's records, no sockets.

A small exchange is two frames: OPENED before its request is forwarded, DONE with the whole response before its last
byte is released. Larger bodies are frames of their own, so that damage to one costs that piece and not the exchange
(P4).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, Protocol

from google_crc32c import extend as crc32c_extend

from wiretape.log.format import (
    MAX_CHUNK,
    BodyChunk,
    Done,
    DoneFlag,
    EndState,
    Flag,
    FrameType,
    MessageSeen,
    Opened,
    Record,
    ResponseBegun,
    SentOn,
    TrailersSeen,
)
from wiretape.wire.websocket import Part

INLINE_MAX: Final = 32 * 1024
"""Bodies up to this size share a frame with their head."""
UNPARSED_MAX: Final = 64 * 1024
"""Bytes that are kept of what came where a head should be."""
_clock = time.perf_counter_ns
# Plain numbers, as in the writer: members of an IntEnum are slow to look up and to encode.
_OPENED: Final = int(FrameType.OPENED)
_DONE: Final = int(FrameType.DONE)
_RESPONSE_HEAD: Final = int(FrameType.RESPONSE_HEAD)
_REQUEST_BODY: Final = int(FrameType.REQUEST_BODY)
_RESPONSE_BODY: Final = int(FrameType.RESPONSE_BODY)
_SENT: Final = int(FrameType.SENT)
_MESSAGE: Final = int(FrameType.MESSAGE)
_FROM_SERVER: Final = Flag.RESPONSE
_LAST: Final = Flag.LAST
_COMPLETE: Final = int(EndState.COMPLETE)


class Stream(Protocol):
    """What an exchange needs of a session's stream.

    Attributes:
        keep: how many bytes of each body are recorded.
    """

    keep: int

    @property
    def epoch(self) -> int:
        """Changes when frames were lost; an exchange begun in another epoch is not recorded whole."""

    @property
    def accepting(self) -> bool:
        """Whether a new exchange can be recorded now."""

    @property
    def full(self) -> bool:
        """Whether only ends and reports of what was dropped are written."""

    def take_seq(self) -> int:
        """Return the next exchange's number."""

    def begin(self) -> None:
        """Count an exchange as begun."""

    def end(self, *, dropped: bool = False, seq: int = 0) -> None:
        """Count an exchange as ended; ``dropped`` when it is not in the log whole."""

    def count_unrecorded(self, count: int = 1) -> None:
        """Count exchanges that cannot be recorded."""

    def append(self, kind: int, seq: int, record: Record, data: bytes = b"", flags: int = 0) -> None:
        """Gather a frame."""

    def release(self, action: Callable[[Any], None], argument: Any) -> None:
        """Do ``action(argument)`` once all frames gathered so far are written."""

    def release_last(self, action: Callable[[Any], None], argument: Any) -> None:
        """As ``release``, for an exchange's last bytes: these may wait for the disk, too (P9)."""


class ConnectTimes(NamedTuple):
    """Nanoseconds that the parts of connecting took, -1 where there was none."""

    dns: int
    connect: int
    tls: int


class Server(NamedTuple):
    """What the log says of a connection to a server.

    Attributes:
        connection: its number.
        address: the server's address.
        sent_from: our own.
    """

    connection: int
    address: str
    sent_from: str


class Act(NamedTuple):
    """What a rule did to a message.

    Attributes:
        rule: its id.
        stage: one of ``rules.values.Stage``.
        description: the rule's.
        note: what it could not do, and why; empty where it did all.
    """

    rule: str
    stage: str
    description: str = ""
    note: str = ""


def _sent(elapsed_ns: int, act: Act, head_size: int = 0, position: int = 0) -> SentOn:
    return SentOn(elapsed_ns, act.rule, head_size, position, act.stage, act.description, act.note)


NOT_CONNECTED: Final = ConnectTimes(-1, -1, -1)
NO_SERVER: Final = Server(0, "", "")


class ExchangeLog:
    """One exchange's way to the log, and when each part of it happened.

    Attributes:
        seq: its number, 0 when it is not recorded.
        status: that of the final response, 0 when there was none.
        request_size, response_size: body bytes seen so far, transfer coding removed.
        started, sent, first, last: perf_counter nanoseconds: the beginning, the last bytes that went to the server,
            the response's head, the last piece of its body or interim response; 0 where there was none.
        times: how long connecting took.
        server: the connection to the server that serves the exchange.
        flags: bits of DoneFlag.
        messages: how many messages of an upgraded connection have passed whole.
    """

    __slots__ = (
        "_cut",
        "_epoch",
        "_keep",
        "_request_crc",
        "_request_recorded",
        "_response_crc",
        "_response_recorded",
        "first",
        "flags",
        "last",
        "messages",
        "request_size",
        "response_size",
        "sent",
        "seq",
        "server",
        "started",
        "status",
        "stream",
        "times",
    )

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.seq = 0
        self._epoch = -1
        self._keep = stream.keep
        self.request_size = self.response_size = 0
        self._request_crc = self._response_crc = 0
        self._request_recorded = self._response_recorded = 0
        self._cut = False
        self.status = 0
        self.started = _clock()
        self.sent = self.first = self.last = 0
        self.times = NOT_CONNECTED
        self.server = NO_SERVER
        self.flags = 0
        self.messages = 0

    @property
    def _recording(self) -> bool:
        return self.seq > 0 and self._epoch == self.stream.epoch

    def opened(self, record: Opened, head: bytes, body: bytes, complete: bool) -> None:
        """Record the request's head and what of its body has come with it."""
        stream = self.stream
        stream.begin()
        if not stream.accepting:
            stream.count_unrecorded()
            self.request_size = len(body)
            return
        self.seq = seq = stream.take_seq()
        self._epoch = stream.epoch
        if not body:
            stream.append(_OPENED, seq, record, head, Flag.REQUEST_COMPLETE if complete else 0)
        elif complete and len(body) <= INLINE_MAX and len(body) <= self._keep:
            self.request_size = self._request_recorded = len(body)
            self._request_crc = crc32c_extend(0, body)
            stream.append(_OPENED, seq, record, head + body, Flag.REQUEST_COMPLETE)
        else:
            stream.append(_OPENED, seq, record, head)
            self.request_body(body)

    def request_body(self, piece: bytes) -> None:
        """Record bytes of the request's body."""
        position = self.request_size
        self.request_size = position + len(piece)
        self._request_crc = crc32c_extend(self._request_crc, piece)
        self._request_recorded += self._body(_REQUEST_BODY, position, piece, _clock())

    def response_head(self, head: bytes, status: int, *, interim: bool = False) -> None:
        """Record a response's head before its body is complete."""
        if interim:
            self.last = _clock()
        else:
            self.status = status
        if self._recording:
            record = ResponseBegun(_clock() - self.started, status, len(head))
            self.stream.append(_RESPONSE_HEAD, self.seq, record, head, Flag.INTERIM if interim else 0)

    def unparsed(self, data: bytes) -> None:
        """Record bytes that came where a response's head should be: of a failure they are all there is to see."""
        if self._recording:
            data = data[:UNPARSED_MAX]
            record = ResponseBegun(_clock() - self.started, 0, len(data))
            self.stream.append(_RESPONSE_HEAD, self.seq, record, data, Flag.UNPARSED)

    def response_body(self, piece: bytes) -> None:
        """Record bytes of the response's body."""
        self.last = _clock()
        position = self.response_size
        self.response_size = position + len(piece)
        self._response_crc = crc32c_extend(self._response_crc, piece)
        self._response_recorded += self._body(_RESPONSE_BODY, position, piece, self.last)

    def _body(self, kind: int, position: int, piece: bytes, arrived: int) -> int:
        room = self._keep - position
        if room <= 0 or not self._recording:
            return 0
        if self._cut or self.stream.full:  # what follows a piece that was left out is left out, too
            self._cut = True
            return 0
        piece = piece[:room] if room < len(piece) else piece
        for at in range(0, len(piece), MAX_CHUNK):
            part = piece[at : at + MAX_CHUNK] if len(piece) > MAX_CHUNK else piece
            self.stream.append(kind, self.seq, BodyChunk(position + at, arrived - self.started), part)
        return len(piece)

    def message(self, part: Part, at: int, *, from_server: bool) -> bool:
        """Record bytes of a message that came at ``at``, perf_counter nanoseconds.

        Returns:
            False where they had to be left out because the disk is full: the exchange counts as dropped then.
        """
        if not self._recording:
            return True
        stream, position, data = self.stream, part.position, part.data
        if stream.full:
            self._cut = True
            return False
        last = part.last
        if position + len(data) > self._keep:
            data, last = data[: max(0, self._keep - position)], False
            if not data and position:
                return True
        flags = _FROM_SERVER if from_server else 0
        elapsed, fault = at - self.started, part.fault
        while len(data) > MAX_CHUNK:
            seen = MessageSeen(elapsed, part.number, part.opcode, "", part.size, position, part.reserved, fault)
            stream.append(_MESSAGE, self.seq, seen, data[:MAX_CHUNK], flags)
            data, position, fault = data[MAX_CHUNK:], position + MAX_CHUNK, ""
        seen = MessageSeen(elapsed, part.number, part.opcode, "", part.size, position, part.reserved, fault)
        stream.append(_MESSAGE, self.seq, seen, data, flags | _LAST if last else flags)
        return True

    def trailers(self, raw: bytes, *, response: bool) -> None:
        """Record a trailer section."""
        if self._recording:
            self.stream.append(
                FrameType.TRAILERS, self.seq, TrailersSeen(raw.count(b"\n")), raw, Flag.RESPONSE if response else 0
            )

    def acts(
        self, acts: Sequence[Act], head: bytes = b"", body: bytes | None = None, *, response: bool = False
    ) -> None:
        """Record what rules did to a message, and what goes on in its place.

        Args:
            acts: who did what, in order; at least one.
            head: the head that goes on, empty where nothing was changed.
            body: the body that goes on with it, None for the one that came.
            response: of the response, from the server.
        """
        if head:
            self.flags |= DoneFlag.CHANGED
        if not self._recording:
            return
        stream, seq, elapsed = self.stream, self.seq, _clock() - self.started
        side = Flag.RESPONSE if response else 0
        *others, last = acts
        for act in others:
            stream.append(_SENT, seq, _sent(elapsed, act), flags=side)
        if not head or body is None:
            flags = side | Flag.LAST | (Flag.SAME_BODY if head else 0)
            stream.append(_SENT, seq, _sent(elapsed, last, len(head)), head, flags)
            return
        for at in range(0, max(len(body), 1), MAX_CHUNK):
            flags = side if at + MAX_CHUNK < len(body) else side | Flag.LAST
            record = _sent(elapsed, last, 0 if at else len(head), at)
            stream.append(_SENT, seq, record, (b"" if at else head) + body[at : at + MAX_CHUNK], flags)

    def whole_response(self, head: bytes, body: bytes, status: int, state: int = _COMPLETE) -> None:
        """Record a response that has come whole, and with it the end of the exchange."""
        size = len(body)
        if size > INLINE_MAX or size > self._keep:
            self.response_head(head, status)
            self.response_body(body)
            self.done(state)
            return
        self.status = status
        self.response_size = self._response_recorded = size
        if size:
            self._response_crc = crc32c_extend(0, body)
        self.done(state, head, body)

    def done(self, state: int, head: bytes = b"", body: bytes = b"", *, code: str = "", error: str = "") -> None:
        """Record the end; nothing may be recorded for this exchange after it.

        The parts of the time add up to the whole: what came before the first byte of the final response is connecting,
        sending (100 (Continue) included) and waiting. A server that answers before it has the whole request ends the
        sending, and nobody waited.
        """
        stream = self.stream
        if not self._recording:
            stream.end(dropped=self.seq > 0, seq=self.seq)
            return
        now = _clock()
        started, sent, first = self.started, self.sent, self.first
        dns, connect, tls = times = self.times
        if first and (sent > first or not sent):
            sent = first
        busy = 0 if times is NOT_CONNECTED else max(0, dns) + max(0, connect) + max(0, tls)
        record = Done(
            now - started,
            state,
            self.status,
            len(head),
            self.request_size,
            self.response_size,
            self._request_recorded,
            self._response_recorded,
            self._request_crc,
            self._response_crc,
            dns,
            connect,
            tls,
            max(sent - started - busy, 0) if sent else -1,
            first - sent if first else -1,
            now - first if first else -1,
            self.server.address,
            self.server.connection,
            code,
            error,
            self.messages,
            self.flags,
            self.server.sent_from,
        )
        if head:
            stream.append(_DONE, self.seq, record, head + body if body else head, Flag.HAS_RESPONSE)
        else:
            stream.append(_DONE, self.seq, record)
        stream.end(dropped=self._cut, seq=self.seq)
