"""How tunnels end: each side for itself; what was sent arrives, and the record says what was cut."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Self

import pytest

from harness.bodies import body_for
from harness.clients import TIMEOUT, RawClient, request_bytes
from harness.recorder import RecorderProcess, only
from wiretape.cli.demo.waiting import wait_until

SIZE = 3_000_000
WAYS = ["connect", "upgrade"]


class Peer:
    """A server that does ``act`` with the one connection that it gets, once the tunnel through it is there."""

    def __init__(self, way: str, act: Callable[[socket.socket], None]) -> None:
        self._way = way
        self._act = act
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen()
        self.authority = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        connection.settimeout(TIMEOUT)
        with connection, contextlib.suppress(ConnectionError):
            if self._way == "upgrade":
                head = b""
                while not head.endswith(b"\r\n\r\n"):
                    head += connection.recv(1)
                connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n")
            self._act(connection)

    def wait(self) -> None:
        """Wait until it has done its part."""
        self._thread.join(TIMEOUT)
        assert not self._thread.is_alive()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(TIMEOUT)


@contextlib.contextmanager
def tunnel(recorder: RecorderProcess, way: str, peer: Peer) -> Iterator[RawClient]:
    """Open a tunnel to ``peer``; the bytes 00 01 have gone through it, so that it is nothing else."""
    host, _, port = peer.authority.partition(":")
    if way == "connect":
        client = RawClient.tunnel(recorder.address, host, int(port))
    else:
        client = RawClient.plain(recorder.address)
        fields = [("Connection", "Upgrade"), ("Upgrade", "raw")]
        client.send(request_bytes("GET", f"http://{peer.authority}/", host=peer.authority, headers=fields))
        assert client.read_response().status == 101
    with client:
        client.send(b"\x00\x01")
        yield client


def read_to_end(connection: socket.socket) -> bytes:
    out = bytearray()
    while data := connection.recv(65536):
        out += data
    return bytes(out)


def read_exactly(connection: socket.socket, size: int) -> bytes:
    out = bytearray()
    while len(out) < size:
        out += connection.recv(size - len(out))
    return bytes(out)


def reset(connection: socket.socket) -> None:
    """Close so that the peer sees a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@pytest.mark.parametrize("way", WAYS)
def test_everything_a_client_has_sent_through_a_tunnel_arrives_after_it_has_left(
    recorder: RecorderProcess, way: str
) -> None:
    left, got = threading.Event(), []

    def act(connection: socket.socket) -> None:
        left.wait(TIMEOUT)
        got.append(read_to_end(connection))

    with Peer(way, act) as peer:
        with tunnel(recorder, way, peer) as client:
            client.send(body_for("up", SIZE))
        left.set()
        peer.wait()
    assert got == [b"\x00\x01" + body_for("up", SIZE)]
    exchange = only(recorder)
    assert exchange.done is not None
    assert (exchange.state, exchange.done.error_code) == ("complete", "")
    assert exchange.done.request_size == SIZE + 2


@pytest.mark.parametrize("way", WAYS)
def test_a_server_that_has_ended_its_side_and_is_gone_since_does_not_keep_a_tunnel_open(
    recorder: RecorderProcess, way: str
) -> None:
    """asyncio does not look at a connection again whose server has ended its side, so it learns of the loss last."""
    seen = threading.Event()

    def act(connection: socket.socket) -> None:
        read_exactly(connection, 2)
        connection.shutdown(socket.SHUT_WR)
        seen.wait(TIMEOUT)
        reset(connection)

    with Peer(way, act) as peer, tunnel(recorder, way, peer) as client:
        assert client.read_to_end() == b""
        seen.set()
        peer.wait()
        client.sock.shutdown(socket.SHUT_WR)
        exchange = only(recorder)
    assert exchange.done is not None
    assert exchange.done.request_size == 2


@pytest.mark.parametrize("way", WAYS)
def test_a_client_that_ends_its_side_of_a_tunnel_still_gets_the_answer(recorder: RecorderProcess, way: str) -> None:
    got = []

    def act(connection: socket.socket) -> None:
        got.append(read_to_end(connection))
        connection.sendall(body_for("down", SIZE))

    with Peer(way, act) as peer, tunnel(recorder, way, peer) as client:
        client.send(body_for("up", SIZE))
        client.sock.shutdown(socket.SHUT_WR)
        assert client.read_to_end() == body_for("down", SIZE)
        peer.wait()
    assert got == [b"\x00\x01" + body_for("up", SIZE)]
    exchange = only(recorder)
    assert exchange.done is not None
    assert (exchange.state, exchange.done.error_code) == ("complete", "")
    assert (exchange.done.request_size, exchange.done.response_size) == (SIZE + 2, SIZE)


@pytest.mark.parametrize("way", WAYS)
def test_a_server_that_ends_its_side_of_a_tunnel_still_gets_what_the_client_sends(
    recorder: RecorderProcess, way: str
) -> None:
    got = []

    def act(connection: socket.socket) -> None:
        connection.sendall(b"that was all")
        connection.shutdown(socket.SHUT_WR)
        got.append(read_to_end(connection))

    with Peer(way, act) as peer, tunnel(recorder, way, peer) as client:
        assert client.read_to_end() == b"that was all"
        client.send(body_for("up", SIZE))
        client.sock.shutdown(socket.SHUT_WR)
        peer.wait()
    assert got == [b"\x00\x01" + body_for("up", SIZE)]
    exchange = only(recorder)
    assert exchange.done is not None
    assert (exchange.state, exchange.done.error_code) == ("complete", "")
    assert (exchange.done.request_size, exchange.done.response_size) == (SIZE + 2, 12)


@pytest.mark.parametrize("way", WAYS)
def test_a_tunnel_that_its_server_breaks_off_in_the_middle_is_not_recorded_as_complete(
    recorder: RecorderProcess, way: str
) -> None:
    def act(connection: socket.socket) -> None:
        read_exactly(connection, 2)
        reset(connection)

    with Peer(way, act) as peer, tunnel(recorder, way, peer) as client:
        with contextlib.suppress(ConnectionError):
            client.send(body_for("up", 20 * SIZE))
            client.read_to_end()
        exchange = only(recorder)
    assert exchange.state == "failed"
    assert exchange.done is not None
    assert exchange.done.error_code in ("server-reset", "server-closed")


@pytest.mark.parametrize("way", WAYS)
def test_a_tunnel_whose_client_left_before_it_had_everything_is_not_recorded_as_complete(
    recorder: RecorderProcess, way: str
) -> None:
    ended = threading.Event()

    def act(connection: socket.socket) -> None:
        try:
            while True:
                connection.sendall(body_for("down", SIZE))
        except ConnectionError:
            ended.set()

    with Peer(way, act) as peer, tunnel(recorder, way, peer) as client:
        assert client.read_exactly(1000) == body_for("down", SIZE)[:1000]
        reset(client.sock)
        wait_until(ended.is_set, what="the end of the server's connection")
        exchange = only(recorder)
    assert exchange.state == "aborted"
    assert exchange.done is not None
    assert exchange.done.error_code == "client-left"


@pytest.mark.parametrize("way", WAYS)
def test_a_tunnel_that_is_open_when_the_recorder_stops_is_not_recorded_as_complete(
    recorder: RecorderProcess, way: str
) -> None:
    def act(connection: socket.socket) -> None:
        connection.sendall(connection.recv(2))
        connection.recv(1)

    with Peer(way, act) as peer, tunnel(recorder, way, peer) as client:
        assert client.read_exactly(2) == b"\x00\x01"
        assert recorder.stop() == 0
        exchange = only(recorder)
    assert exchange.state in ("aborted", "failed")
    assert exchange.done is not None
    assert "the recorder stopped" in exchange.done.error
    assert (exchange.done.request_size, exchange.done.response_size) == (2, 2)
