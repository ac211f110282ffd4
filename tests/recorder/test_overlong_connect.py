"""A CONNECT that is refused: the client reads why, however much it has sent."""

from __future__ import annotations

import socket

import pytest

from harness.recorder import RecorderProcess
from wiretape.wire.http1 import MAX_HEAD

CONNECT = b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n"


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (CONNECT + b"X: " + b"x" * MAX_HEAD + b"\r\n\r\n", b"431"),
        (CONNECT + b"X: " + b"x" * (2 * MAX_HEAD), b"431"),
        (CONNECT + b"X : y\r\n\r\n" + b"z" * 1_000_000, b"400"),
        (b"CONNECT " + b"x" * 300_000 + b":443 HTTP/1.1\r\n\r\n", b"431"),
        (b"CONNECT nowhere HTTP/1.1\r\n\r\n" + b"z" * 1_000_000, b"400"),
    ],
)
def test_the_answer_to_a_connect_that_is_refused_arrives(
    recorder: RecorderProcess, request_: bytes, status: bytes
) -> None:
    with socket.create_connection(recorder.address, timeout=30) as client:
        client.sendall(request_)
        answer = b""
        while data := client.recv(65536):
            answer += data
    assert answer.split(b" ")[1] == status
    head, _, body = answer.partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
