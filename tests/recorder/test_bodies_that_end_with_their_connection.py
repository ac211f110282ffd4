"""A body without a length ends where its connection ends in order; where that is broken, the client has to see it."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Iterator

import pytest

from harness.clients import TIMEOUT, RawClient, request_bytes
from harness.recorder import RecorderProcess, only
from wiretape.cli.demo.certificates import OriginCA
from wiretape.cli.demo.waiting import wait_until

BODY = b"the first half"
HEADS = {
    "until the end": b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n" + BODY,
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n" % (len(BODY), BODY),
}


@contextlib.contextmanager
def server(answer: bytes, read: threading.Event, *, tls: ssl.SSLContext | None, reset: bool) -> Iterator[int]:
    """Answer the first connection, and end it, with a reset or in order, once the client has ``read`` the answer."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            connection, _ = listener.accept()
            connection.settimeout(TIMEOUT)
            with tls.wrap_socket(connection, server_side=True) if tls else connection as stream:
                stream.recv(65536)
                stream.sendall(answer)
                read.wait(TIMEOUT)
                if reset:
                    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                elif isinstance(stream, ssl.SSLSocket):
                    stream.unwrap()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(TIMEOUT)


def ask(recorder: RecorderProcess, port: int, *, tls: bool, version: str) -> RawClient:
    if tls:
        context = ssl.create_default_context(cafile=str(recorder.root / "ca" / "ca.pem"))
        client = RawClient.tunnel(recorder.address, "localhost", port, tls=context)
        client.send(request_bytes("GET", "/", host=f"localhost:{port}", version=version))
        return client
    client = RawClient.plain(recorder.address)
    client.send(request_bytes("GET", f"http://127.0.0.1:{port}/", host=f"127.0.0.1:{port}", version=version))
    return client


def read_until_body(client: RawClient) -> bytes:
    seen = b""
    while BODY not in seen:
        seen += client.read_exactly(1)
    return seen


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
@pytest.mark.parametrize(("framing", "version"), [("until the end", "HTTP/1.1"), ("chunked", "HTTP/1.0")])
def test_a_body_whose_connection_was_reset_is_no_end_for_the_client(
    recorder: RecorderProcess, origin_ca: OriginCA, framing: str, version: str, tls: bool
) -> None:
    read = threading.Event()
    context = origin_ca.issue().server_context() if tls else None
    with (
        server(HEADS[framing], read, tls=context, reset=True) as port,
        ask(recorder, port, tls=tls, version=version) as client,
    ):
        read_until_body(client)
        read.set()
        with pytest.raises((ConnectionResetError, ssl.SSLError)):
            client.read_to_end()
    exchange = only(recorder)
    assert exchange.done is not None
    assert (exchange.state, exchange.done.error_code) == ("failed", "server-reset")
    assert recorder.body(exchange) == BODY


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
def test_a_body_whose_connection_ended_in_order_ends_in_order_for_the_client(
    recorder: RecorderProcess, origin_ca: OriginCA, tls: bool
) -> None:
    read = threading.Event()
    context = origin_ca.issue().server_context() if tls else None
    with (
        server(HEADS["until the end"], read, tls=context, reset=False) as port,
        ask(recorder, port, tls=tls, version="HTTP/1.1") as client,
    ):
        read_until_body(client)
        read.set()
        assert client.at_end() if tls else client.read_to_end() == b""
    exchange = only(recorder)
    assert exchange.state == "complete"
    assert recorder.body(exchange) == BODY


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
@pytest.mark.parametrize("framing", ["a length", "chunked"])
def test_p12_a_body_that_is_cut_short_reaches_the_client_up_to_its_last_byte(
    recorder: RecorderProcess, origin_ca: OriginCA, framing: str, tls: bool
) -> None:
    read = threading.Event()
    read.set()
    much = bytes(300_000)
    heads = {"a length": b"Content-Length: 400000\r\n\r\n" + much}
    heads["chunked"] = b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n" % (len(much), much)
    context = origin_ca.issue().server_context() if tls else None
    with (
        server(b"HTTP/1.1 200 OK\r\n" + heads[framing], read, tls=context, reset=False) as port,
        ask(recorder, port, tls=tls, version="HTTP/1.1") as client,
    ):
        wait_until(lambda: only(recorder).state == "failed", what="the end that the server made")
        assert len(client.read_to_end()) > len(much)  # and the head
