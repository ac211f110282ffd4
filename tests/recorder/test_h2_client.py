"""One connection to a server of HTTP/2, against python-hyper's h2, without sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, cast

import h2.settings
import pytest
from hyperframe.frame import GoAwayFrame

from harness.h2_peers import h2_connection
from wiretape.recorder.dial import SERVER_LIMITS
from wiretape.recorder.exchange_log import Server
from wiretape.recorder.h2_client import H2ClientConnection, H2ClientStream
from wiretape.recorder.ports import AnyResponseHead, NotLookedAtError, Pieces, Request
from wiretape.recorder.protocols import H2, Protocols
from wiretape.recorder.route import Route
from wiretape.wire.h2 import Limits
from wiretape.wire.h2_head import h2_request_head
from wiretape.wire.h2_ngh2 import Ngh2Engine

ROUTE = Route("https", "example.com", 443, protocol=H2)
FIELDS = [(b":method", b"POST"), (b":scheme", b"https"), (b":authority", b"example.com"), (b":path", b"/")]
ANY_STREAM = (1 << 31) - 1


class Transport:
    """Keeps what is written."""

    def __init__(self) -> None:
        self.written = bytearray()
        self.ended = False

    def write(self, data: bytes) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.ended

    def close(self) -> None:
        self.ended = True

    abort = close

    def set_write_buffer_limits(self, *, high: int) -> None:
        pass


class Keeper:
    """A pool of one connection."""

    def put(self, connection: H2ClientConnection) -> None:
        connection.running -= 1

    def discard(self, connection: H2ClientConnection) -> None:
        pass


class Heard:
    """An exchange that notes what it hears."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.errors: list[object] = []

    def response(self, head: AnyResponseHead, pieces: Pieces, end: bool, trailers: bytes) -> None:
        self.statuses.append(head.status)

    def server_left(self, error: Exception | None, untouched: bool, unparsed: bytes) -> None:
        self.errors.append(error)

    def response_data(self, pieces: Pieces, end: bool, trailers: bytes) -> None:
        pass

    def response_broken(self, error: Exception, head: object, unparsed: bytes) -> None:
        self.errors.append(error)


class Pair:
    """Our connection and its server, which lets so many requests run at a time."""

    def __init__(self, loop: asyncio.AbstractEventLoop, limits: Limits = SERVER_LIMITS, streams: int = 1) -> None:
        self.transport = Transport()
        self.connection = H2ClientConnection(loop, ROUTE, Server(1, "", ""), Keeper(), Ngh2Engine, Protocols(), limits)
        self.server = h2_connection(client=False)
        self.server.local_settings = h2.settings.Settings(
            client=False, initial_values={h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: streams}
        )
        self.connection.connection_made(cast(Any, self.transport))
        self.server.initiate_connection()
        self.pump()

    def pump(self) -> None:
        """Let both sides read what the other has written."""
        for _ in range(4):
            self.connection.flush()
            self.server.receive_data(bytes(self.transport.written))
            self.transport.written.clear()
            data = self.server.data_to_send()
            if data:
                self.connection.data_received(data)

    def ask(self, *, paused: bool = False) -> Heard:
        """Send a request; ``paused``: nobody reads the response."""
        heard = Heard()
        self.connection.running += 1
        stream: H2ClientStream = self.connection.lease(1)
        request = Request(h2_request_head(FIELDS, True), ROUTE, b"/", None)
        if paused:
            stream.pause()
        stream.send_request(request, [], True, b"", cast(Any, heard))
        return heard


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    made = asyncio.new_event_loop()
    yield made
    made.close()


@pytest.mark.parametrize("last", [1, ANY_STREAM])
def test_what_a_server_that_goes_away_was_not_sent_may_be_sent_again(
    loop: asyncio.AbstractEventLoop, last: int
) -> None:
    pair = Pair(loop)
    sent, waiting = pair.ask(), pair.ask()
    pair.pump()
    going = GoAwayFrame(0)
    going.last_stream_id = last
    pair.connection.data_received(going.serialize())
    pair.server.send_headers(1, [(b":status", b"200")], end_stream=True)
    pair.pump()
    assert (sent.statuses, sent.errors) == ([200], [])
    (error,) = waiting.errors
    assert isinstance(error, NotLookedAtError)
    assert pair.connection.closed
    assert pair.connection.running == 0


def test_p8_streams_that_nobody_reads_are_bounded_and_leave_room_for_the_others(
    loop: asyncio.AbstractEventLoop,
) -> None:
    window, count = SERVER_LIMITS.stream_window, 8
    together = SERVER_LIMITS.connection_window // SERVER_LIMITS.streams * count
    pair = Pair(loop, SERVER_LIMITS._replace(streams=count, connection_window=together), count)
    server = pair.server
    *unread, last = range(1, 2 * count, 2)
    for _ in unread:
        pair.ask(paused=True)
    pair.ask()
    pair.pump()
    for stream in unread:
        server.send_headers(stream, [(b":status", b"200")])
        for _ in range(window // 16384):
            server.send_data(stream, bytes(16384))
        pair.pump()
    server.send_headers(last, [(b":status", b"200")])
    for _ in range(2 * together // 16384):  # as much as it likes
        server.send_data(last, bytes(16384))
        pair.pump()
    assert [server.local_flow_control_window(stream) for stream in unread] == [0] * len(unread)
