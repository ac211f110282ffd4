"""What the proxy itself answers when it cannot pass a request on."""

from __future__ import annotations

import socket

import pytest

from harness.ports import refused_port
from harness.recorder import RecorderProcess
from wiretape.recorder.pages import asks_for_head, error_page


def test_an_answer_to_head_has_the_head_of_the_page_and_no_body() -> None:
    whole = error_page(502, "dns-failed", "no such <host>", "check it")
    head, _, body = whole.partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    assert b"&lt;host&gt;" in body
    assert error_page(502, "dns-failed", "no such <host>", "check it", body=False) == head + b"\r\n\r\n"


def test_a_malformed_request_with_the_method_head_is_told_from_others() -> None:
    assert asks_for_head(b"\r\n\r\nHEAD / HTTP/9.9\r\n")
    assert not asks_for_head(b"HEADER / HTTP/1.1\r\n")
    assert not asks_for_head(b"GET / HTTP/1.1\r\n")


@pytest.mark.parametrize("method", ["HEAD", "GET"])
@pytest.mark.parametrize(
    ("target", "rest", "status"),
    [
        ("http://127.0.0.1:{refused}/", b"Host: 127.0.0.1\r\n\r\n", b"502"),
        ("http://127.0.0.1:{proxy}/", b"Host: 127.0.0.1\r\n\r\n", b"508"),
        ("/", b"Host: 127.0.0.1\r\n\r\n", b"400"),
        ("http://127.0.0.1:{refused}/", b"Host: a\r\nHost: b\r\n\r\n", b"400"),
        ("http://127.0.0.1:{refused}/", b"A : b\r\n\r\n", b"400"),
    ],
)
def test_no_answer_of_the_proxys_own_to_head_has_a_body(
    recorder: RecorderProcess, method: str, target: str, rest: bytes, status: bytes
) -> None:
    holder, refused = refused_port()
    with holder, socket.create_connection(recorder.address, timeout=10) as client:
        url = target.format(refused=refused, proxy=recorder.address[1])
        client.sendall(f"{method} {url} HTTP/1.1\r\n".encode() + rest)
        answer = b""
        while data := client.recv(65536):
            answer += data
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.split(b" ")[1] == status
    assert bool(body) == (method == "GET")
