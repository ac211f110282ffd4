"""Responses that clients live with, through a real recorder: what the client gets, and what is recorded."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from harness.origin import Origin
from harness.recorder import RecorderProcess, only
from wiretape.session.catalogue import Catalogue

LF_ONLY = b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello"
LF_CHUNKS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\n0\n\n"
SPACED = b"HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\nhello"


@pytest.fixture(scope="module")
def strict_recorder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RecorderProcess]:
    with RecorderProcess(tmp_path_factory.mktemp("strict"), strict_http=True) as process:
        yield process


@pytest.mark.parametrize(
    ("answer", "status"), [(LF_ONLY, b"502"), (b"HTTP/2 200\r\n\r\n", b"502"), (LF_CHUNKS, b"502"), (SPACED, b"200")]
)
def test_strict_http_refuses_what_a_proxy_need_not_mend(
    strict_recorder: RecorderProcess, http_origin: Origin, answer: bytes, status: bytes
) -> None:
    http_origin.script("/odd", answer, then="close")
    strict_recorder.record()
    with socket.create_connection(strict_recorder.address, timeout=30) as client:
        request = f"GET {http_origin.url('/odd')} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        client.sendall(request.encode())
        got = b""
        while data := client.recv(65536):
            got += data
    assert got.split(b" ")[1] == status
    exchange = only(strict_recorder)
    assert exchange.state == ("complete" if status == b"200" else "failed")
    strict_recorder.clear()


@pytest.mark.parametrize(
    ("answer", "sent", "note"),
    [
        (b"HTTP/1.1 200 OK\r\nX-A : one\r\nContent-Length: 5\r\n\r\nhello", b"X-A: one\r\n", "space before its colon"),
        (b"HTTP/1.1 200 OK\nX-A: one\nContent-Length: 5\n\nhello", b"X-A: one\r\n", "LF alone"),
        (
            b"HTTP/1.1  200 OK\nTransfer-Encoding: chunked\n\n5 \nhello\n0\n\n",
            b"\r\n5\r\nhello\r\n0\r\n\r\n",
            "LF alone",
        ),
        (b"HTTP/2 200\r\nX Y: 1\r\nA: \x01\r\n\r\nhello", b"\r\nX Y: 1\r\nA: \x01\r\n", "status line"),
    ],
)
def test_p12_what_clients_live_with_is_sent_on_well_formed_and_recorded_as_it_came(
    recorder: RecorderProcess, http_origin: Origin, answer: bytes, sent: bytes, note: str
) -> None:
    http_origin.script("/odd", answer, then="close")
    with socket.create_connection(recorder.address, timeout=30) as client:
        request = (
            f"GET {http_origin.url('/odd')} HTTP/1.1\r\nHost: {http_origin.authority}\r\nConnection: close\r\n\r\n"
        )
        client.sendall(request.encode())
        got = b""
        while data := client.recv(65536):
            got += data
    assert sent in got
    exchange = only(recorder)
    assert (exchange.state, recorder.body(exchange)) == ("complete", b"hello")
    assert exchange.response is not None
    assert answer.startswith(exchange.response.head)
    recorder.close()
    with Catalogue(recorder.root).open("last") as session:
        detail = session.exchange(exchange.seq)
    assert detail.response is not None
    assert (detail.response.status_code, detail.response.body) == (200, "hello")
    assert len(detail.notes) == 1
    assert note in detail.notes[0]
