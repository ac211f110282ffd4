"""A CONNECT after which the client says nothing for a while: who speaks first decides what it is, however late."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator

import pytest

from harness.bodies import body_for
from harness.clients import TIMEOUT, RawClient, request_bytes
from harness.origin import Origin
from harness.ports import refused_port
from harness.recorder import RecorderProcess, only, trusting
from wiretape.cli.demo.waiting import wait_until


@contextlib.contextmanager
def server(act: Callable[[socket.socket], None]) -> Iterator[tuple[int, threading.Event]]:
    """Have ``act`` done with the first connection; gives the port, and what is set once there is one."""
    accepted = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            connection, _ = listener.accept()
            accepted.set()
            connection.settimeout(TIMEOUT)
            with connection:
                act(connection)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()[1], accepted
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(TIMEOUT)


def shake_hands(sock: socket.socket, context: ssl.SSLContext, after: int, wait: Callable[[], None]) -> None:
    """Go through a handshake, and ``wait`` when ``after`` bytes of the ClientHello are sent."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    waited = False
    while True:
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:
            data = outgoing.read()
            if not waited:
                sock.sendall(data[:after])
                wait()
                waited, data = True, data[after:]
            sock.sendall(data)
            received = sock.recv(65536)
            assert received, "the connection ended in the middle of the handshake"
            incoming.write(received)
        else:
            return


def test_a_client_that_begins_tls_late_is_intercepted_and_recorded(
    recorder: RecorderProcess, https_origin: Origin
) -> None:
    port = https_origin.port
    with RawClient.tunnel(recorder.address, "localhost", port) as client:
        # Whoever asks the server meanwhile whether it wants to speak first has waited for the client long enough.
        wait_until(lambda: https_origin.connections, what="a look at the server")
        client.sock = trusting(recorder).wrap_socket(client.sock, server_hostname="localhost")
        assert client.get("/bytes/10", host=f"localhost:{port}").body == body_for("/bytes/10", 10)
    exchange = only(recorder)
    assert exchange.opened is not None
    assert (exchange.opened.scheme, exchange.opened.host, exchange.opened.port) == ("https", "localhost", port)


@pytest.mark.parametrize("after", [1, 5, 6, 50])
def test_a_client_hello_that_comes_in_two_parts_far_apart_is_intercepted(
    recorder: RecorderProcess, https_origin: Origin, after: int
) -> None:
    def wait() -> None:
        if after == 1:  # what TLS is to be is clear from the sixth byte on, and waited for
            wait_until(lambda: https_origin.connections, what="a look at the server")

    with RawClient.tunnel(recorder.address, "localhost", https_origin.port) as client:
        shake_hands(client.sock, trusting(recorder), after, wait)


def test_a_client_that_begins_http_late_is_recorded(recorder: RecorderProcess, http_origin: Origin) -> None:
    with RawClient.tunnel(recorder.address, "127.0.0.1", http_origin.port) as client:
        wait_until(lambda: http_origin.connections, what="a look at the server")
        assert client.get("/bytes/10", host=http_origin.authority).body == body_for("/bytes/10", 10)
    exchange = only(recorder)
    assert exchange.opened is not None
    assert exchange.opened.scheme == "http"


def test_a_server_that_speaks_first_is_served(recorder: RecorderProcess) -> None:
    def greet(connection: socket.socket) -> None:
        connection.sendall(b"220 mail\r\n")
        assert connection.recv(100) == b"QUIT\r\n"
        connection.sendall(b"221 bye\r\n")

    with server(greet) as (port, _), RawClient.tunnel(recorder.address, "127.0.0.1", port) as client:
        assert client.read_exactly(10) == b"220 mail\r\n"
        client.send(b"QUIT\r\n")
        assert client.read_to_end() == b"221 bye\r\n"
    exchange = only(recorder)
    assert exchange.done is not None
    assert (exchange.state, exchange.done.request_size, exchange.done.response_size) == ("complete", 6, 19)


def test_a_server_that_says_all_it_has_to_say_and_ends_its_side_is_served(recorder: RecorderProcess) -> None:
    got = []

    def greet(connection: socket.socket) -> None:
        connection.sendall(b"220 mail\r\n")
        connection.shutdown(socket.SHUT_WR)
        got.append(connection.recv(100))

    with server(greet) as (port, _), RawClient.tunnel(recorder.address, "127.0.0.1", port) as client:
        assert client.read_to_end() == b"220 mail\r\n"
        client.send(b"thanks")
    exchange = only(recorder)
    assert got == [b"thanks"]
    assert exchange.state == "complete"


def test_a_late_client_of_another_protocol_has_a_tunnel_in_which_single_bytes_pass(recorder: RecorderProcess) -> None:
    def echo(connection: socket.socket) -> None:
        while data := connection.recv(100):
            connection.sendall(data)

    with server(echo) as (port, accepted), RawClient.tunnel(recorder.address, "127.0.0.1", port) as client:
        client.send(b"G")  # may become GET
        assert accepted.wait(TIMEOUT)
        for byte in (b"\x00", b"\x01", b"\x02"):
            client.send(byte)
        assert client.read_exactly(4) == b"G\x00\x01\x02"
    assert only(recorder).state == "complete"


def test_a_client_whose_first_byte_says_nothing_gets_single_bytes_through_to_a_server_that_spoke_first(
    recorder: RecorderProcess,
) -> None:
    def greet_and_echo(connection: socket.socket) -> None:
        connection.sendall(b"hello")
        while data := connection.recv(100):
            connection.sendall(data)

    with server(greet_and_echo) as (port, _), RawClient.tunnel(recorder.address, "127.0.0.1", port) as client:
        client.send(b"G")  # may become GET
        assert client.read_exactly(6) == b"helloG"
        for byte in (b"\x00", b"\x01"):
            client.send(byte)
            assert client.read_exactly(1) == byte
    assert only(recorder).state == "complete"


def test_a_silent_client_of_a_server_that_is_not_there_is_recorded_as_failed(recorder: RecorderProcess) -> None:
    held, port = refused_port()
    with held, RawClient.tunnel(recorder.address, "127.0.0.1", port) as client:
        assert client.at_end()
    exchange = only(recorder)
    assert exchange.done is not None
    assert (exchange.state, exchange.done.error_code) == ("failed", "connect-refused")


def test_what_a_silent_client_asked_for_is_in_the_log_before_the_tunnel_begins(recorder: RecorderProcess) -> None:
    greeting = b"220 mail\r\n"
    with (
        server(lambda connection: connection.sendall(greeting)) as (port, _),
        RawClient.tunnel(recorder.address, "127.0.0.1", port) as client,
    ):
        assert client.read_exactly(len(greeting)) == greeting
        (exchange,) = recorder.exchanges()
        authority = f"127.0.0.1:{port}"
        assert exchange.request.head.startswith(request_bytes("CONNECT", authority, host=authority))
