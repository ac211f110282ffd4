"""Clients that come by SOCKS: served like those of a CONNECT, foreign commands refused with the proper reply."""

from __future__ import annotations

import socket
import ssl
import subprocess

import pytest

from harness.bodies import body_for
from harness.clients import TIMEOUT, RawClient, request_bytes
from harness.origin import Origin
from harness.recorder import RecorderProcess, only, refusals
from wiretape.cli.demo.waiting import wait_until

V4 = socket.inet_aton("127.0.0.1")


def greeted(recorder: RecorderProcess, methods: bytes = b"\x00") -> socket.socket:
    sock = socket.create_connection(recorder.address, TIMEOUT)
    sock.sendall(bytes((5, len(methods))) + methods)
    return sock


def request5(port: int, command: int = 1, address: bytes = b"\x01" + V4) -> bytes:
    return bytes((5, command, 0)) + address + port.to_bytes(2, "big")


def exactly(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size and (piece := sock.recv(size - len(data))):
        data += piece
    return data


@pytest.mark.parametrize("way", ["--socks5", "--socks5-hostname", "--socks4", "--socks4a"])
def test_curl_by_socks_is_recorded_with_the_servers_url(
    recorder: RecorderProcess, https_origin: Origin, way: str
) -> None:
    host, port = recorder.address
    command = ["curl", "-sS", "--fail", "--noproxy", "", "--cacert", str(recorder.root / "ca" / "ca.pem"), "-4"]
    url = https_origin.url("/bytes/1000")
    answer = subprocess.run([*command, way, f"{host}:{port}", url], capture_output=True, check=True, timeout=30)
    assert answer.stdout == body_for("/bytes/1000", 1000)
    opened = only(recorder).opened
    assert opened is not None
    assert (opened.scheme, opened.source, opened.port) == ("https", "socks", https_origin.port)
    assert opened.host == ("localhost" if way in {"--socks5-hostname", "--socks4a"} else "127.0.0.1")


def test_plain_http_inside_socks_keeps_its_connection(recorder: RecorderProcess, http_origin: Origin) -> None:
    with greeted(recorder) as sock:
        assert sock.recv(2) == b"\x05\x00"
        # The first request comes with the SOCKS request, as impatient clients send it.
        first = request_bytes("GET", "/bytes/5", host=http_origin.authority)
        sock.sendall(request5(http_origin.port) + first)
        assert exactly(sock, 10)[:2] == b"\x05\x00"
        client = RawClient(sock)
        assert client.read_response().body == body_for("/bytes/5", 5)
        assert client.get("/bytes/6", host=http_origin.authority).status == 200
    assert http_origin.connections == 1


@pytest.mark.parametrize("methods", [b"\x02", b"\x01\x02"])
def test_a_client_that_can_only_say_who_it_is_is_let_in_and_its_password_is_in_no_recording(
    recorder: RecorderProcess, http_origin: Origin, methods: bytes
) -> None:
    with greeted(recorder, methods) as sock:
        assert sock.recv(2) == b"\x05\x02"
        sock.sendall(b"\x01\x04user\x0dpass-word-123")
        assert sock.recv(2) == b"\x01\x00"
        sock.sendall(request5(http_origin.port))
        assert exactly(sock, 10)[:2] == b"\x05\x00"
        assert RawClient(sock).get("/bytes/5", host=http_origin.authority).status == 200
    only(recorder)
    logs = list((recorder.folder("one") / "log").iterdir())
    assert logs
    assert not any(b"pass-word-123" in path.read_bytes() for path in logs)


def test_the_opening_may_come_a_byte_at_a_time(recorder: RecorderProcess, http_origin: Origin) -> None:
    with socket.create_connection(recorder.address, TIMEOUT) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        name = b"\x03\x09localhost"
        for byte in b"\x05\x01\x00" + request5(http_origin.port, address=name):
            sock.sendall(bytes((byte,)))
        assert exactly(sock, 12)[:4] == b"\x05\x00\x05\x00"
        assert RawClient(sock).get("/bytes/5", host=http_origin.authority).status == 200


@pytest.mark.parametrize(
    ("command", "reply", "code"),
    [(2, b"\x05\x07", "socks-command"), (3, b"\x05\x07", "socks-command"), (0xF0, b"\x05\x07", "socks-command")],
)
def test_a_foreign_command_is_refused_with_the_proper_reply_and_counted(
    recorder: RecorderProcess, command: int, reply: bytes, code: str
) -> None:
    before = recorder.stats()["refused"]
    with greeted(recorder) as sock:
        assert sock.recv(2) == b"\x05\x00"
        sock.sendall(request5(80, command))
        assert exactly(sock, 10)[:2] == reply
        assert sock.recv(1) == b""
    wait_until(lambda: refusals(recorder) == [code], what="the refusal in the log")
    assert recorder.stats()["refused"] == before + 1


def test_no_method_in_common_is_said(recorder: RecorderProcess) -> None:
    with greeted(recorder, b"\x01") as sock:  # GSSAPI alone
        assert sock.recv(2) == b"\x05\xff"
        assert sock.recv(1) == b""
    wait_until(lambda: refusals(recorder) == ["socks-method"], what="the refusal in the log")


@pytest.mark.parametrize("version", [4, 5])
def test_a_loop_to_ourselves_is_not_allowed(recorder: RecorderProcess, version: int) -> None:
    port = recorder.address[1]
    if version == 5:
        sock = greeted(recorder)
        assert sock.recv(2) == b"\x05\x00"
        sock.sendall(request5(port))
    else:
        sock = socket.create_connection(recorder.address, TIMEOUT)
        sock.sendall(b"\x04\x01" + port.to_bytes(2, "big") + V4 + b"\x00")
    with sock:
        assert sock.recv(10)[:2] == (b"\x05\x02" if version == 5 else b"\x00\x5b")
        assert sock.recv(1) == b""
    wait_until(lambda: refusals(recorder) == ["loop"], what="the refusal in the log")


@pytest.mark.parametrize("opening", ["command", "method", "loop"])
def test_a_refused_client_that_has_sent_more_and_still_sends_gets_the_reply_and_no_reset(
    recorder: RecorderProcess, opening: str
) -> None:
    methods = b"\x01" if opening == "method" else b"\x00"
    request = request5(recorder.address[1], 2 if opening == "command" else 1)
    reply = {"command": b"\x05\x00\x05\x07", "method": b"\x05\xff", "loop": b"\x05\x00\x05\x02"}[opening]
    with socket.create_connection(recorder.address, TIMEOUT) as sock:
        sock.sendall(b"\x05\x01" + methods + request + b"x" * 100_000)
        assert exactly(sock, len(reply)) == reply
        assert len(exactly(sock, 8)) == (0 if opening == "method" else 8)
        assert sock.recv(1) == b""
        for _ in range(3):
            sock.sendall(b"more")
    wait_until(lambda: len(refusals(recorder)) == 1, what="the refusal in the log")


def test_a_server_that_speaks_first_is_tunnelled_by_socks_too(recorder: RecorderProcess) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, greeted(recorder) as sock:
        sock.recv(2)
        sock.sendall(request5(server.getsockname()[1]))
        assert exactly(sock, 10)[:2] == b"\x05\x00"
        peer, _ = server.accept()
        with peer:
            peer.sendall(b"220 smtp\r\n")
            assert exactly(sock, 10) == b"220 smtp\r\n"
            sock.shutdown(socket.SHUT_WR)
            assert peer.recv(10) == b""
        exchange = only(recorder)
    assert exchange.opened is not None
    assert exchange.opened.source == "socks"
    assert exchange.request.method == "CONNECT"
    assert exchange.done is not None
    assert exchange.done.response_size == 10


def test_a_client_that_refuses_our_certificate_shows_in_the_recording(
    recorder: RecorderProcess, https_origin: Origin
) -> None:
    with greeted(recorder) as sock:
        sock.recv(2)
        sock.sendall(request5(https_origin.port))
        exactly(sock, 10)
        context = ssl.create_default_context()
        with pytest.raises(ssl.SSLCertVerificationError):
            context.wrap_socket(sock, server_hostname="localhost")
    done = only(recorder).done
    assert done is not None
    assert done.error_code == "client-refused-certificate"
