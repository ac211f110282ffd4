"""A client whose request is refused early sees the answer, however much it had still to send (RFC 9112 section 9.6)."""

from __future__ import annotations

import socket
import ssl

import pytest

from harness.clients import RawClient, request_bytes
from harness.origin import Origin
from harness.ports import refused_port
from harness.recorder import RecorderProcess, only

BODY = b"x" * 3_000_000
"""More than the sockets' buffers on the way take, so that the client still sends when it is refused."""


def refused(recorder: RecorderProcess, head: bytes) -> bytes:
    """Send a head and a large body, and only then read what the proxy says, to its end."""
    with socket.create_connection(recorder.address, timeout=20) as client:
        client.sendall(head)
        client.sendall(BODY)
        answer = b""
        while block := client.recv(65536):
            answer += block
    return answer


@pytest.mark.parametrize("attempt", range(5))
def test_a_client_that_sends_first_and_reads_later_sees_that_its_request_was_malformed(
    recorder: RecorderProcess, attempt: int
) -> None:
    head = b"POST http://example.com/ HTTP/1.1\r\nHost: example.com\r\nContent-Length: 1, 2\r\n\r\n"
    assert refused(recorder, head).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("attempt", range(5))
def test_a_client_that_sends_first_and_reads_later_sees_that_the_server_is_down(
    recorder: RecorderProcess, attempt: int
) -> None:
    holder, port = refused_port()
    with holder:
        authority = f"127.0.0.1:{port}"
        fields = [("Content-Length", str(len(BODY)))]
        head = request_bytes("POST", f"http://{authority}/", host=authority, headers=fields)
        assert refused(recorder, head).startswith(b"HTTP/1.1 502 ")
    assert only(recorder).state == "failed"


def test_over_tls_a_refused_client_sees_the_answer_and_is_left_in_the_end(
    recorder: RecorderProcess, https_origin: Origin
) -> None:
    context = ssl.create_default_context(cafile=str(recorder.root / "ca" / "ca.pem"))
    with RawClient.tunnel(recorder.address, "localhost", https_origin.port, tls=context) as client:
        client.send(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1, 2\r\n\r\n")
        client.send(BODY)
        assert client.read_response("POST").status == 400
        assert client.at_end()  # after LINGER_SECONDS: over TLS only one side cannot end
    assert https_origin.requests == []


def send_for_ever(client: socket.socket) -> None:
    while True:
        client.sendall(BODY)


def test_a_client_that_never_stops_sending_is_left(recorder: RecorderProcess) -> None:
    with socket.create_connection(recorder.address, timeout=20) as client:
        client.sendall(b"POST http://example.com/ HTTP/1.1\r\nContent-Length: 1, 2\r\n\r\n")
        with pytest.raises(OSError):  # noqa: PT011 -- a reset or a broken pipe, as it comes
            send_for_ever(client)


def test_a_client_that_only_waits_sees_the_end_at_once(recorder: RecorderProcess) -> None:
    with socket.create_connection(recorder.address, timeout=20) as client:
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        answer = b""
        while block := client.recv(65536):
            answer += block
    assert answer.startswith(b"HTTP/1.1 400 ")


def test_what_follows_a_refused_request_is_no_request(recorder: RecorderProcess, http_origin: Origin) -> None:
    with RawClient.plain(recorder.address) as client:
        client.send(b"POST http://example.com/ HTTP/1.1\r\nContent-Length: 1, 2\r\n\r\n")
        assert client.read_response("POST").status == 400
        client.send(request_bytes("GET", http_origin.url("/bytes/1"), host=http_origin.authority))
        assert client.at_end()
    assert recorder.exchanges() == []
    assert http_origin.requests == []
