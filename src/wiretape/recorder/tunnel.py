"""A tunnel: bytes that pass both ways and are counted, not understood (CONNECT without TLS, unknown upgrades).

Each side may end its own direction, and the other goes on (RFC 9293 section 3.6). TLS connections end whole.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from wiretape.log.format import EndState
from wiretape.recorder.exchange_log import Tap
from wiretape.recorder.upstream import Receiver, UpstreamConnection

if TYPE_CHECKING:
    from wiretape.recorder.client import ClientConnection


IDLE_SECONDS: Final = 300.0
"""How long a tunnel that one side has ended may pass no byte; then the other side has forgotten it, or is gone."""


class Tunnel(Receiver):
    """Takes an exchange's place on its client connection once both sides only exchange bytes."""

    __slots__ = (
        "_client",
        "_client_ended",
        "_client_full",
        "_client_gone",
        "_cut",
        "_passed",
        "_server_ended",
        "_server_full",
        "_status",
        "_tap",
        "_upstream",
        "_watch",
        "ended",
        "request_finished",
    )

    def __init__(self, client: ClientConnection, upstream: UpstreamConnection, tap: Tap, *, status: int) -> None:
        self._client = client
        self._upstream = upstream
        self._tap = tap
        self._status = status
        self._client_ended = self._client_gone = self._client_full = False
        self._server_ended = self._server_full = False
        self._cut = False
        self._passed = -1
        self._watch: asyncio.TimerHandle | None = None
        self.ended = False
        self.request_finished = False

    def begin(self) -> None:
        """Connect both sides."""
        client, upstream = self._client, self._upstream
        waiting = client.hand_over(self)
        if not upstream.closed:  # no limits: what is full is what has not been passed on
            upstream.transport.set_write_buffer_limits(high=0)
        if not client.lost:
            client.transport.set_write_buffer_limits(high=0)
        if waiting:
            self.request_data(waiting)
        upstream.serve(self)
        if client.lost:
            self.client_lost(None)
        elif client.input_ended:
            self.client_eof()

    def request_data(self, data: bytes) -> None:
        """Pass bytes to the server, unless it is gone and only the way to the client is still being emptied."""
        if self.ended or self._upstream.closed:
            return
        self._tap.count_request(len(data))
        self._upstream.transport.write(data)

    def upstream_data(self, data: bytes) -> None:
        """Pass bytes to the client, unless it is gone."""
        if self._client_gone:
            self._cut = True
            return
        self._tap.count_response(len(data))
        self._tap.tape.release(self._client.write, data)

    def upstream_full(self, full: bool) -> None:
        """The server does not read fast enough, or has everything."""
        self._server_full = full
        if full:
            self._client.pause_reading()
        else:
            self._client.resume_reading()
            self._settle()

    def client_full(self, full: bool) -> None:
        """The client does not read fast enough, or has everything."""
        self._client_full = full
        if self._upstream.closed:
            return
        if full:
            self._upstream.transport.pause_reading()
        else:
            self._upstream.transport.resume_reading()

    # -- ends ----------------------------------------------------------------------------------------------------

    def client_eof(self) -> bool:
        """Pass on that the client sends no more; return whether it may still be sent to."""
        if not self._client_ended and not self.ended:
            self._client_ended = True
            self._watch_over()
            transport = self._upstream.transport
            if not self._upstream.closed and transport.can_write_eof():
                transport.write_eof()
            self._settle()
        return self._client.transport.can_write_eof()

    def upstream_eof(self) -> bool:
        """Pass on that the server sends no more; return whether it may still be sent to."""
        if not self._upstream.transport.can_write_eof():
            return False  # TLS: all of the connection ends
        if not self._server_ended and not self.ended:
            self._server_ended = True
            self._watch_over()
            self._tap.tape.release(Tunnel._end_output, self)
        return True

    def _end_output(self) -> None:
        """Tell the client, which has been sent everything, that no more comes."""
        client = self._client
        if not client.lost and not self.ended:
            if client.transport.can_write_eof():
                client.transport.write_eof()
            else:
                client.transport.close()
        self._settle()

    def upstream_lost(self, error: Exception | None) -> None:
        """The server ended the tunnel, in order or in the middle of what it was sent."""
        if self.ended:
            return
        if error is not None or self._server_full:
            code = "server-reset" if isinstance(error, ConnectionResetError) else "server-closed"
            cause = f": {error}" if error is not None else ""
            self._end(EndState.FAILED, code, f"the server broke the tunnel off; its last bytes may be lost{cause}")
        else:
            self._end_in_order()
        self._tap.tape.release_last(_close, self._client)

    def client_lost(self, error: Exception | None) -> None:
        """The client is gone, which is how most tunnels end: the server still gets what the client has sent."""
        if self.ended:
            return
        self._client_gone = True
        if error is not None or self._client_full:
            self._cut = True
        if self._client.context.stopping:
            self._end(EndState.ABORTED, "recorder-stopped", "the recorder stopped while the tunnel was open")
            self._upstream.close()
            return
        if not self._upstream.closed:  # what the server still says is for nobody; unread it would reset the connection
            self._upstream.transport.resume_reading()
        self._watch_over()
        self._settle()

    def _settle(self) -> None:
        """End the tunnel if both sides have ended it and everything was passed on."""
        over = self._client_gone or (self._client_ended and self._server_ended)
        if self.ended or not over or self._server_full:
            return
        self._end_in_order()
        self._upstream.finish()
        self._tap.tape.release_last(_close, self._client)

    def _end_in_order(self) -> None:
        if self._cut:
            self._end(EndState.ABORTED, "client-left", "the client left the tunnel before it had been sent everything")
        else:
            self._end(EndState.COMPLETE)

    def _end(self, state: EndState, code: str = "", message: str = "") -> None:
        self.ended = True
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        self._tap.done(state, self._status, code=code, error=message)

    def _watch_over(self) -> None:
        if self._watch is None:
            self._watch = self._client.context.loop.call_later(IDLE_SECONDS, self._look)

    def _look(self) -> None:
        """Break the tunnel off if it has passed nothing since it was last looked at."""
        self._watch = None
        upstream, tap = self._upstream, self._tap
        unsent = 0 if upstream.closed else upstream.transport.get_write_buffer_size()
        passed = tap.request_size + tap.response_size - unsent
        if passed != self._passed:
            self._passed = passed
            self._watch_over()
            return
        message = f"one side ended the tunnel, and for {IDLE_SECONDS:.0f} s nothing more passed"
        self._end(EndState.ABORTED, "tunnel-idle", message)
        upstream.close()
        tap.tape.release_last(_close, self._client)


def _close(client: ClientConnection) -> None:
    client.exchange_ended(close=True)
