"""The tap: turns what happens to one exchange into frames. Knows the log's records, no sockets.

A small exchange is two frames: OPENED before its request is forwarded, DONE with the whole response before its last
byte is released. Larger bodies are frames of their own, so that damage to one costs that piece and not the exchange
(P4).
"""

from __future__ import annotations

import time
from typing import Final

from google_crc32c import extend as crc32c_extend

from wiretape.log.format import (
    MAX_CHUNK,
    BodyChunk,
    Done,
    EndState,
    Flag,
    FrameType,
    Opened,
    ResponseBegun,
    TrailersSeen,
)
from wiretape.recorder.session_stream import NullTape, Tape

INLINE_MAX: Final = 32 * 1024
"""Bodies up to this size share a frame with their head."""
_clock = time.perf_counter_ns
# Plain numbers, as in the writer: members of an IntEnum are slow to look up and to encode.
_OPENED: Final = int(FrameType.OPENED)
_DONE: Final = int(FrameType.DONE)
_REQUEST_BODY: Final = int(FrameType.REQUEST_BODY)
_RESPONSE_BODY: Final = int(FrameType.RESPONSE_BODY)
_COMPLETE: Final = int(EndState.COMPLETE)


class Timer:
    """When each part of an exchange happened: perf_counter nanoseconds; durations are -1 where there was none."""

    __slots__ = ("connect", "dns", "first", "sent", "server", "started", "tls")

    def __init__(self) -> None:
        self.started = _clock()
        self.dns = self.connect = self.tls = -1
        self.sent = self.first = 0
        self.server = ""


class Tap:
    """One exchange's way to the tape.

    Attributes:
        seq: its number, 0 when it is not recorded.
        request_size, response_size: body bytes seen so far, transfer coding removed.
    """

    __slots__ = (
        "_cut",
        "_epoch",
        "_keep",
        "_request_crc",
        "_request_recorded",
        "_response_crc",
        "_response_recorded",
        "request_size",
        "response_size",
        "seq",
        "tape",
        "timer",
    )

    def __init__(self, tape: Tape | NullTape, timer: Timer) -> None:
        self.tape = tape
        self.timer = timer
        self.seq = 0
        self._epoch = -1
        self._keep = tape.keep
        self.request_size = self.response_size = 0
        self._request_crc = self._response_crc = 0
        self._request_recorded = self._response_recorded = 0
        self._cut = False

    @property
    def _recording(self) -> bool:
        return self.seq > 0 and self._epoch == self.tape.epoch

    def opened(self, record: Opened, head: bytes, body: bytes, complete: bool) -> None:
        """Record the request's head and what of its body has come with it."""
        tape = self.tape
        tape.begin()
        if not tape.accepting:
            tape.count_unrecorded()
            self.request_size = len(body)
            return
        self.seq = seq = tape.take_seq()
        self._epoch = tape.epoch
        if not body:
            tape.append(_OPENED, seq, record, head, Flag.REQUEST_COMPLETE if complete else 0)
        elif complete and len(body) <= INLINE_MAX and len(body) <= self._keep:
            self.request_size = self._request_recorded = len(body)
            self._request_crc = crc32c_extend(0, body)
            tape.append(_OPENED, seq, record, head + body, Flag.REQUEST_COMPLETE)
        else:
            tape.append(_OPENED, seq, record, head)
            self.request_body(body)

    def request_body(self, piece: bytes) -> None:
        """Record bytes of the request's body."""
        position = self.request_size
        self.request_size = position + len(piece)
        self._request_crc = crc32c_extend(self._request_crc, piece)
        self._request_recorded += self._body(_REQUEST_BODY, position, piece)

    def response_head(self, head: bytes, status: int, *, interim: bool = False) -> None:
        """Record a response's head before its body is complete."""
        if self._recording:
            record = ResponseBegun(_clock() - self.timer.started, status, len(head))
            self.tape.append(FrameType.RESPONSE_HEAD, self.seq, record, head, Flag.INTERIM if interim else 0)

    def response_body(self, piece: bytes) -> None:
        """Record bytes of the response's body."""
        position = self.response_size
        self.response_size = position + len(piece)
        self._response_crc = crc32c_extend(self._response_crc, piece)
        self._response_recorded += self._body(_RESPONSE_BODY, position, piece)

    def _body(self, kind: int, position: int, piece: bytes) -> int:
        room = self._keep - position
        if room <= 0 or not self._recording:
            return 0
        if self._cut or self.tape.full:  # what follows a piece that was left out is left out, too
            self._cut = True
            return 0
        piece = piece[:room] if room < len(piece) else piece
        elapsed = _clock() - self.timer.started
        for at in range(0, len(piece), MAX_CHUNK):
            part = piece[at : at + MAX_CHUNK] if len(piece) > MAX_CHUNK else piece
            self.tape.append(kind, self.seq, BodyChunk(position + at, elapsed), part)
        return len(piece)

    def count_request(self, size: int) -> None:
        """Count bytes towards the server that are not recorded (tunnels)."""
        self.request_size += size

    def count_response(self, size: int) -> None:
        """Count bytes from the server that are not recorded (tunnels)."""
        self.response_size += size

    def trailers(self, raw: bytes, *, response: bool) -> None:
        """Record a trailer section."""
        if self._recording:
            self.tape.append(
                FrameType.TRAILERS, self.seq, TrailersSeen(raw.count(b"\n")), raw, Flag.RESPONSE if response else 0
            )

    def whole_response(self, head: bytes, body: bytes, status: int) -> None:
        """Record a response that has come whole, and with it the end of the exchange."""
        size = len(body)
        if size > INLINE_MAX or size > self._keep:
            self.response_head(head, status)
            self.response_body(body)
            self.done(_COMPLETE, status)
            return
        self.response_size = self._response_recorded = size
        if size:
            self._response_crc = crc32c_extend(0, body)
        self.done(_COMPLETE, status, head, body)

    def done(
        self, state: int, status: int, head: bytes = b"", body: bytes = b"", code: str = "", error: str = ""
    ) -> None:
        """Record the end; nothing may be recorded for this exchange after it."""
        tape = self.tape
        if not self._recording:
            tape.end(dropped=self.seq > 0, seq=self.seq)
            return
        timer = self.timer
        now = _clock()
        started = timer.started
        waited = timer.first - timer.sent if timer.sent and timer.first else -1
        busy = max(timer.dns, 0) + max(timer.connect, 0) + max(timer.tls, 0)
        record = Done(
            now - started,
            state,
            status,
            len(head),
            self.request_size,
            self.response_size,
            self._request_recorded,
            self._response_recorded,
            self._request_crc,
            self._response_crc,
            timer.dns,
            timer.connect,
            timer.tls,
            max(timer.sent - started - busy, 0) if timer.sent else -1,
            waited,
            now - timer.first if timer.first else -1,
            timer.server,
            0,
            code,
            error,
        )
        if head:
            tape.append(_DONE, self.seq, record, head + body if body else head, Flag.HAS_RESPONSE)
        else:
            tape.append(_DONE, self.seq, record)
        tape.end(dropped=self._cut, seq=self.seq)
