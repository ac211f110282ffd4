"""The benchmark's load client: it counts whole answers with status 200 and nothing else."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from bench.load.client import Client
from bench.load.spec import LoadSpec, percentile

_GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


@contextmanager
def _server(answer: Callable[[bytes], bytes | None]) -> Iterator[tuple[int, list[bytes]]]:
    """A server that gives ``answer(request head)`` to each request and notes the head; None closes the connection."""
    heads: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve(sock: socket.socket) -> None:
            with sock:
                buffer = b""
                while piece := sock.recv(65536):
                    buffer += piece
                    while b"\r\n\r\n" in buffer:
                        head, _, buffer = buffer.partition(b"\r\n\r\n")
                        reply = answer(head)
                        heads.append(head)
                        if reply is None:
                            return
                        sock.sendall(reply)

        def accept() -> None:
            while True:
                try:
                    sock, _ = listener.accept()
                except OSError:
                    return
                thread = threading.Thread(target=serve, args=(sock,))
                threads.append(thread)
                thread.start()

        threads = [threading.Thread(target=accept)]
        threads[0].start()
        try:
            yield listener.getsockname()[1], heads
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join(10)


def _spec(port: int, **changes: object) -> LoadSpec:
    fields: dict[str, object] = {"connections": 3, "duration": 0.2, "warmup": 0.05, **changes}
    return LoadSpec(host=f"127.0.0.1:{port}", path="/x", port=port, **fields)  # type: ignore[arg-type]


def test_every_request_that_a_server_answers_is_counted_once() -> None:
    with _server(lambda head: _GOOD) as (port, heads):
        result = Client(_spec(port)).run()
    assert result.answered == len(heads) > 0
    assert 0 < result.measured <= result.answered
    assert not result.errors
    assert not result.unfinished


def test_an_answer_in_pieces_counts_when_its_last_byte_is_there() -> None:
    body = bytes(300_000)
    reply = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
    with _server(lambda head: reply) as (port, heads):
        result = Client(_spec(port, connections=1, requests=2, reconnect=False, duration=30.0, warmup=0.0)).run()
    assert result.answered == len(heads) == 2
    assert result.bytes == 2 * len(reply)


def test_an_error_page_is_an_error_and_not_an_answer() -> None:
    with _server(lambda head: b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n") as (port, _):
        result = Client(_spec(port, reconnect=False)).run()
    assert result.answered == 0
    assert sum(result.errors.values()) == 3
    assert "502" in next(iter(result.errors))


def test_a_connection_closed_before_the_answer_is_an_error() -> None:
    with _server(lambda head: None) as (port, _):
        result = Client(_spec(port, reconnect=False)).run()
    assert result.answered == 0
    assert sum(result.errors.values()) == 3


def test_targets_are_absolute_for_a_proxy_and_tunnels_come_first_where_asked_for() -> None:
    def answer(head: bytes) -> bytes:
        return b"HTTP/1.1 200 Connected\r\n\r\n" if head.startswith(b"CONNECT") else _GOOD

    with _server(answer) as (port, heads):
        Client(_spec(port, absolute=True, connections=1, requests=1, reconnect=False)).run()
        Client(_spec(port, connect=True, connections=1, requests=1, reconnect=False)).run()
    lines = [head.partition(b"\r\n")[0].decode() for head in heads]
    assert lines == [
        f"GET http://127.0.0.1:{port}/x HTTP/1.1",
        f"CONNECT 127.0.0.1:{port} HTTP/1.1",
        "GET /x HTTP/1.1",
    ]


def test_a_new_connection_is_opened_for_each_request_when_asked_for() -> None:
    with _server(lambda head: _GOOD) as (port, heads):
        result = Client(_spec(port, requests=1)).run()
    assert result.answered == len(heads) > 3


def test_a_percentile_is_a_value_that_was_measured() -> None:
    values = [float(n) for n in range(100)]
    assert percentile(values, 50) == 50
    assert percentile(values, 99) == 99
    assert percentile([7.0], 99) == 7
    assert percentile([], 50) == 0
