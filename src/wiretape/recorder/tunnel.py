"""A tunnel: bytes that pass both ways and are counted, not understood (CONNECT without TLS, unknown upgrades)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wiretape.log.format import EndState
from wiretape.recorder.exchange_log import Tap
from wiretape.recorder.upstream import Receiver, UpstreamConnection

if TYPE_CHECKING:
    from wiretape.recorder.client import ClientConnection


class Tunnel(Receiver):
    """Takes an exchange's place on its client connection once both sides only exchange bytes."""

    __slots__ = ("_client", "_status", "_tap", "_upstream", "ended", "request_finished")

    def __init__(self, client: ClientConnection, upstream: UpstreamConnection, tap: Tap, *, status: int) -> None:
        self._client = client
        self._upstream = upstream
        self._tap = tap
        self._status = status
        self.ended = False
        self.request_finished = False

    def begin(self) -> None:
        """Connect both sides."""
        waiting = self._client.hand_over(self)
        if waiting:
            self.request_data(waiting)
        if not self.ended:
            self._upstream.serve(self)

    def request_data(self, data: bytes) -> None:
        """Pass bytes to the server, unless it is gone and only the way to the client is still being emptied."""
        if self.ended or self._upstream.closed:
            return
        self._tap.count_request(len(data))
        self._upstream.transport.write(data)

    def upstream_data(self, data: bytes) -> None:
        """Pass bytes to the client."""
        self._tap.count_response(len(data))
        self._tap.tape.release(self._client.write, data)

    def upstream_full(self, full: bool) -> None:
        """The server does not read fast enough, or does again."""
        if full:
            self._client.pause_reading()
        else:
            self._client.resume_reading()

    def client_full(self, full: bool) -> None:
        """The client does not read fast enough, or does again."""
        if self._upstream.closed:
            return
        if full:
            self._upstream.transport.pause_reading()
        else:
            self._upstream.transport.resume_reading()

    def upstream_lost(self, error: Exception | None) -> None:  # noqa: ARG002 -- every end is an end
        """The server ended the tunnel."""
        if self.ended:
            return
        self._end()
        self._tap.tape.release_last(_close, self._client)

    def client_lost(self) -> None:
        """The client ended the tunnel, which is how most tunnels end."""
        if not self.ended:
            self._end()
            self._upstream.close()

    def _end(self) -> None:
        self.ended = True
        self._tap.done(EndState.COMPLETE, self._status)


def _close(client: ClientConnection) -> None:
    client.exchange_ended(close=True)
