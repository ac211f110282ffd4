"""A tunnel: bytes that pass both ways after a switch. What they are to the log, its ``Passing`` knows."""

from __future__ import annotations

import time
from typing import Final, Protocol

from wiretape.log.format import EndState
from wiretape.recorder.exchange_log import ExchangeLog
from wiretape.recorder.ports import Downstream, Pieces, Timeouts, Upstream

LINGER_SECONDS: Final = 5.0
"""How long a server may take to end its side once its client is gone and has nothing left to send."""

MANY_FRAMES: Final = 1_000
"""Frames of one call after which a side is not read before they are written: uvloop reads up to 32 times 256 KB in one
turn, and a million messages of 20 bytes made 180 MB of frames (P8)."""

_clock = time.perf_counter_ns


class Passing(Protocol):
    """What becomes of the bytes of a tunnel in the log.

    Attributes:
        closed: both sides have said, in their protocol, that they have no more to say.
    """

    @property
    def closed(self) -> bool:
        """Whether both sides have said so."""

    def take(self, pieces: Pieces, from_server: bool) -> int:
        """Record bytes, which go on once that is written; return how many frames they made."""

    def end(self, from_server: bool) -> None:
        """Take note that a side says no more; of the second call for a side nothing is kept."""

    def verdict(self) -> tuple[EndState, str, str]:
        """Return how a tunnel ended whose connections ended in order: state, code and sentence, both may be empty."""


class CountedBytes:
    """Bytes that nobody understands: they are counted (CONNECT without TLS, unknown upgrades)."""

    closed: Final = False

    def __init__(self, log: ExchangeLog) -> None:
        self._log = log

    def take(self, pieces: Pieces, from_server: bool) -> int:
        """Count bytes."""
        size = sum(map(len, pieces))
        if from_server:
            self._log.response_size += size
        else:
            self._log.request_size += size
        return 0

    def end(self, from_server: bool) -> None:
        """Keep nothing of it."""

    def verdict(self) -> tuple[EndState, str, str]:
        """Know of nothing that could be wrong."""
        return EndState.COMPLETE, "", ""


class Tunnel:
    """Takes an exchange's place between two ports. Hears raw bytes from both.

    Each direction ends by itself: a side that has said all it has to say may still be listening. The tunnel ends when
    the connection to the server is gone, which it is asked to be once both directions have ended. By then the server
    has what the client sent, or the error says that it has not.
    """

    __slots__ = (
        "_client_ended",
        "_client_full",
        "_client_gone",
        "_cut",
        "_downstream",
        "_ended",
        "_log",
        "_moved",
        "_passing",
        "_server_ended",
        "_server_full",
        "_upstream",
    )

    def __init__(self, downstream: Downstream, upstream: Upstream, log: ExchangeLog, passing: Passing) -> None:
        self._downstream = downstream
        self._upstream = upstream
        self._log = log
        self._passing = passing
        self._client_ended = False
        self._client_full = False
        self._server_full = False
        self._client_gone = False
        self._cut = False
        self._server_ended = False
        self._ended = False
        self._moved = _clock()

    # -- from the client ---------------------------------------------------------------------------------------------

    def request_data(self, pieces: Pieces, end: bool, trailers: bytes) -> None:  # noqa: ARG002 -- raw bytes have none
        """Pass bytes to the server."""
        if self._client_ended or self._ended:
            return
        self._moved = _clock()
        many = self._passing.take(pieces, False) > MANY_FRAMES
        self._client_ended = end
        if end:
            self._passing.end(False)
        self._log.stream.release(self._to_server, (pieces, end))
        if many:
            self._downstream.pause()
            self._log.stream.release(Tunnel._read_client, self)

    def _to_server(self, data: tuple[Pieces, bool]) -> None:
        if self._ended:
            return
        pieces, end = data
        self._upstream.send_data(pieces, end, b"")
        if end and self._server_ended:
            self._upstream.close()

    def client_left(self, error: Exception | None) -> None:
        """Send on what the client has sent, and wait for the server's end."""
        if self._ended or self._client_gone:
            return
        self._client_gone = True
        # A client that had ended its side and now refuses a last word (close_notify of TLS) has what it wanted.
        self._cut = self._downstream.full or (error is not None and not self._client_ended)
        if error is not None and not self._upstream.full:
            self._break_off()
            return
        self._upstream.resume()  # what the server still says is for nobody; unread it would reset the connection
        if not self._client_ended:
            self.request_data([], True, b"")

    def client_full(self, full: bool) -> None:
        """Let the server wait for a client that does not read, or go on."""
        self._client_full = full
        if full and not self._client_gone:
            self._upstream.pause()
        else:
            self._upstream.resume()

    # -- from the server ---------------------------------------------------------------------------------------------

    def response_data(self, pieces: Pieces, end: bool, trailers: bytes) -> None:  # noqa: ARG002
        """Pass bytes to the client."""
        if self._ended or self._server_ended:
            return
        self._server_ended = end
        if end:
            self._passing.end(True)
        if self._client_gone:
            if end:
                self._log.stream.release(Tunnel._close_server, self)
            return
        self._moved = _clock()
        if self._passing.take(pieces, True) > MANY_FRAMES:
            self._upstream.pause()
            self._log.stream.release(Tunnel._read_server, self)
        if end and self._client_ended:
            if pieces:
                self._log.stream.release(self._to_client, (pieces, False))
            self._log.stream.release(Tunnel._close_server, self)
        else:
            self._log.stream.release(self._to_client, (pieces, end))

    def _to_client(self, data: tuple[Pieces, bool]) -> None:
        pieces, end = data
        self._downstream.send_data(pieces, end, b"")

    def _read_client(self) -> None:
        if not self._ended and not self._server_full:
            self._downstream.resume()

    def _read_server(self) -> None:
        if not self._ended and (self._client_gone or not self._client_full):
            self._upstream.resume()

    def _close_server(self) -> None:
        """End the connection to a server that has been sent everything."""
        if not self._ended:
            self._upstream.close()

    def server_left(self, error: Exception | None, untouched: bool, unparsed: bytes) -> None:  # noqa: ARG002
        """End the tunnel."""
        if not self._ended:
            self._end(error)

    def server_full(self, full: bool) -> None:
        """Let the client wait for a server that does not read, or go on."""
        self._server_full = full
        if full:
            self._downstream.pause()
        else:
            self._downstream.resume()

    def tick(self, now: int, timeouts: Timeouts) -> None:
        """End a tunnel of which one side is gone and the other has forgotten it."""
        idle = (now - self._moved) / 1e9
        if self._ended or not (self._client_ended or self._server_ended):
            return
        if idle > timeouts.idle or (self._client_gone and not self._upstream.full and idle > LINGER_SECONDS):
            self._break_off()

    def _break_off(self) -> None:
        self._upstream.reset()
        self._end(None)

    def _end(self, error: Exception | None) -> None:
        self._ended = True
        log, passing = self._log, self._passing
        passing.end(True)
        if passing.closed:
            state, code, message = passing.verdict()
            log.done(state, code=code, error=message)
        elif self._upstream.full or (error is not None and not (self._client_ended and self._server_ended)):
            code = "server-reset" if isinstance(error, ConnectionResetError) else "server-closed"
            cause = f": {error}" if error is not None else ""
            message = f"the server broke the tunnel off; its last bytes may be lost{cause}"
            log.done(EndState.FAILED, code=code, error=message)
        elif self._cut:
            message = "the client left the tunnel before it had been sent everything"
            log.done(EndState.ABORTED, code="client-left", error=message)
        else:
            state, code, message = passing.verdict()
            log.done(state, code=code, error=message)
        log.stream.release_last(self._let_go, error)

    def _let_go(self, error: Exception | None) -> None:
        if error is not None:
            self._downstream.reset()
        else:
            self._downstream.close()
