"""Exchanges through a real recorder process, against a real origin: what goes through, and what the log then holds."""

from __future__ import annotations

import socket
import ssl
import threading

import h11
import pytest

from harness.bodies import body_for
from harness.clients import RawClient, chunked_bytes, request_bytes
from harness.origin import Origin
from harness.ports import refused_port
from harness.recorder import RecorderProcess, done_count, only
from wiretape.cli.demo.certificates import OriginCA
from wiretape.cli.demo.waiting import wait_until
from wiretape.log.format import FrameType

SIZES = [0, 1, 4096, 40_000, 300_000, 2_000_000]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("route", ["bytes", "chunked", "until-close"])
def test_p12_bodies_of_every_framing_arrive_and_are_recorded_byte_for_byte(
    recorder: RecorderProcess, http_origin: Origin, size: int, route: str
) -> None:
    path = f"/{route}/{size}"
    with RawClient.plain(recorder.address) as client:
        answer = client.get(http_origin.url(path), host=http_origin.authority)
    assert answer.status == 200
    assert answer.body == body_for(path, size)
    exchange = only(recorder)
    assert exchange.state == "complete"
    assert recorder.body(exchange) == answer.body
    assert exchange.response is not None
    assert exchange.response.body.size == size


@pytest.mark.parametrize("size", [0, 5, 50_000, 2_000_000])
@pytest.mark.parametrize("chunked", [False, True])
def test_p12_request_bodies_reach_the_server_and_the_log_byte_for_byte(
    recorder: RecorderProcess, http_origin: Origin, size: int, chunked: bool
) -> None:
    body = body_for("up", size)
    with RawClient.plain(recorder.address) as client:
        if chunked:
            head = request_bytes(
                "POST", http_origin.url("/echo"), host=http_origin.authority, headers=[("Transfer-Encoding", "chunked")]
            )
            client.send(head + chunked_bytes([body[at : at + 7000] for at in range(0, size, 7000)]))
        else:
            client.send(request_bytes("POST", http_origin.url("/echo"), host=http_origin.authority, body=body))
        answer = client.read_response("POST")
    assert answer.body == body
    exchange = only(recorder)
    assert recorder.body(exchange, "request") == body
    assert exchange.request.body.size == size


def test_https_goes_through_connect_with_a_certificate_for_the_host(
    recorder: RecorderProcess, https_origin: Origin, origin_ca: OriginCA
) -> None:
    context = ssl.create_default_context(cafile=str(recorder.root / "ca" / "ca.pem"))
    port = https_origin.port
    with RawClient.tunnel(recorder.address, "localhost", port, tls=context) as client:
        for _ in range(3):
            assert client.get("/bytes/10", host=f"localhost:{port}").body == body_for("/bytes/10", 10)
    found = done_count(recorder, 3)
    assert [exchange.seq for exchange in found] == [1, 2, 3]
    opened = found[0].opened
    assert opened is not None
    assert (opened.scheme, opened.host, opened.port, opened.source) == ("https", "localhost", port, "connect")
    handshakes = recorder.frames(FrameType.TLS)
    assert handshakes[0].record().sni == "localhost"  # type: ignore[attr-defined]


def test_a_client_that_refuses_our_certificate_is_recorded_with_its_sni(
    recorder: RecorderProcess, https_origin: Origin, origin_ca: OriginCA
) -> None:
    strict = ssl.create_default_context(cafile=str(origin_ca.pem))  # knows another authority than ours
    with pytest.raises(ssl.SSLError):
        RawClient.tunnel(recorder.address, "localhost", https_origin.port, tls=strict)
    exchange = only(recorder)
    assert exchange.state == "failed"
    assert exchange.done is not None
    assert exchange.done.error_code == "client-refused-certificate"
    assert recorder.frames(FrameType.TLS)[0].record().sni == "localhost"  # type: ignore[attr-defined]


def test_a_client_that_leaves_after_the_handshake_is_shown_because_git_and_wget_refuse_like_that(
    recorder: RecorderProcess, https_origin: Origin
) -> None:
    context = ssl.create_default_context(cafile=str(recorder.root / "ca" / "ca.pem"))
    RawClient.tunnel(recorder.address, "localhost", https_origin.port, tls=context).close()
    exchange = only(recorder)
    assert exchange.state == "aborted"
    assert exchange.done is not None
    assert exchange.done.error_code == "client-left-unused"


def test_p12_duplicate_headers_keep_their_order_and_case_both_ways(
    recorder: RecorderProcess, http_origin: Origin
) -> None:
    fields = [("X-One", "1"), ("x-oNE", "2"), ("Accept", "a"), ("X-One", "3")]
    with RawClient.plain(recorder.address) as client:
        client.send(
            request_bytes("GET", http_origin.url("/duplicate-headers"), host=http_origin.authority, headers=fields)
        )
        answer = client.read_response()
    assert len(answer.header_values("Set-Cookie")) >= 2
    received = http_origin.requests_for("/duplicate-headers")[0]
    assert received.header_values("X-One") == ["1", "2", "3"]
    exchange = only(recorder)
    assert b"X-One: 1\r\nx-oNE: 2\r\nAccept: a\r\nX-One: 3\r\n" in exchange.request.head
    assert exchange.response is not None
    assert exchange.response.head.lower().count(b"set-cookie:") == len(answer.header_values("Set-Cookie"))


def test_hop_by_hop_headers_stay_behind(recorder: RecorderProcess, http_origin: Origin) -> None:
    fields = [
        ("Connection", "keep-alive, X-Mine"),
        ("X-Mine", "1"),
        ("Proxy-Connection", "keep-alive"),
        ("X-Yours", "2"),
    ]
    with RawClient.plain(recorder.address) as client:
        client.send(request_bytes("GET", http_origin.url("/headers"), host=http_origin.authority, headers=fields))
        seen = client.read_response().body
    assert b"X-Yours: 2" in seen
    for gone in (b"X-Mine", b"Proxy-Connection", b"Connection:"):
        assert gone not in seen


def test_pipelined_requests_are_answered_in_order(recorder: RecorderProcess, http_origin: Origin) -> None:
    paths = [f"/bytes/{size}" for size in (10, 0, 5000, 1)]
    with RawClient.plain(recorder.address) as client:
        client.send(b"".join(request_bytes("GET", http_origin.url(p), host=http_origin.authority) for p in paths))
        for path in paths:
            assert client.read_response().body == body_for(path, int(path.split("/")[-1]))
    assert len(done_count(recorder, 4)) == 4


def test_a_request_split_at_every_byte_is_one_exchange(recorder: RecorderProcess, http_origin: Origin) -> None:
    request = request_bytes("POST", http_origin.url("/echo"), host=http_origin.authority, body=b"12345")
    with RawClient.plain(recorder.address) as client:
        for at in range(len(request)):
            client.send(request[at : at + 1])
        assert client.read_response("POST").body == b"12345"
    assert only(recorder).request.body.size == 5


def test_interim_responses_and_100_continue_are_passed_on(recorder: RecorderProcess, http_origin: Origin) -> None:
    with RawClient.plain(recorder.address) as client:
        answer = client.get(http_origin.url("/early-hints"), host=http_origin.authority)
        assert [interim.status for interim in answer.interim] == [103]
        head = request_bytes(
            "POST",
            http_origin.url("/100-continue"),
            host=http_origin.authority,
            headers=[("Expect", "100-continue"), ("Content-Length", "3")],
        )
        client.send(head)
        http_origin.wait_for_requests(1, "/100-continue")
        client.send(b"abc")
        answer = client.read_response("POST")
    assert answer.status == 200
    assert [interim.status for interim in answer.interim] == [100]


def test_a_flood_of_interim_responses_is_a_failed_exchange_and_no_hang(
    recorder: RecorderProcess, http_origin: Origin
) -> None:
    http_origin.script("/flood", b"HTTP/1.1 103 x\r\n\r\n" * 3000 + b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    with RawClient.plain(recorder.address) as client:
        client.send(request_bytes("GET", http_origin.url("/flood"), host=http_origin.authority))
        assert b" 502 " in client.read_to_end()
    assert only(recorder).state == "failed"


def test_empty_lines_before_connect_are_ignored(recorder: RecorderProcess, http_origin: Origin) -> None:
    with RawClient.plain(recorder.address) as client:
        client.send(f"\r\n\r\nCONNECT {http_origin.authority} HTTP/1.1\r\n\r\n".encode())
        assert client.read_exactly(12) == b"HTTP/1.1 200"


def test_head_204_and_304_have_no_body(recorder: RecorderProcess, http_origin: Origin) -> None:
    with RawClient.plain(recorder.address) as client:
        client.send(request_bytes("HEAD", http_origin.url("/bytes/99"), host=http_origin.authority))
        assert client.read_response("HEAD").header("Content-Length") == "99"
        for status in (204, 304):
            assert client.get(http_origin.url(f"/status/{status}"), host=http_origin.authority).status == status


def test_an_http10_client_gets_a_chunked_body_without_chunks(recorder: RecorderProcess, http_origin: Origin) -> None:
    target = http_origin.url("/chunked/5000")
    with RawClient.plain(recorder.address) as client:
        client.send(request_bytes("GET", target, host=http_origin.authority, version="HTTP/1.0"))
        raw = client.read_to_end()
    head, _, body = raw.partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head.lower()
    assert body == body_for("/chunked/5000", 5000)


def test_a_dead_pooled_connection_is_retried_once_for_a_get(recorder: RecorderProcess, http_origin: Origin) -> None:
    with RawClient.plain(recorder.address) as client:
        assert client.get(http_origin.url("/dead-keepalive"), host=http_origin.authority).status == 200
        assert client.get(http_origin.url("/bytes/3"), host=http_origin.authority).body == body_for("/bytes/3", 3)
    assert [exchange.state for exchange in done_count(recorder, 2)] == ["complete", "complete"]


def test_a_server_that_cannot_be_reached_is_a_502_and_a_failed_exchange(recorder: RecorderProcess) -> None:
    held, port = refused_port()
    with held, RawClient.plain(recorder.address) as client:
        answer = client.get(f"http://127.0.0.1:{port}/x", host=f"127.0.0.1:{port}")
    assert answer.status == 502
    assert answer.header("Wiretape-Error") == "connect-refused"
    exchange = only(recorder)
    assert exchange.state == "failed"
    assert exchange.done is not None
    assert exchange.done.error_code == "connect-refused"


def test_a_server_that_breaks_off_breaks_the_client_too_and_is_recorded(
    recorder: RecorderProcess, http_origin: Origin
) -> None:
    with RawClient.plain(recorder.address) as client:
        client.send(request_bytes("GET", http_origin.url("/reset-after/1000"), host=http_origin.authority))
        with pytest.raises((ConnectionError, EOFError, h11.RemoteProtocolError)):
            client.read_response()
    exchange = only(recorder)
    assert exchange.state == "failed"


def test_a_client_that_leaves_is_recorded_as_aborted_and_the_server_is_let_go(
    recorder: RecorderProcess, http_origin: Origin
) -> None:
    with http_origin.hold("/bytes/50") as hold:
        with RawClient.plain(recorder.address) as client:
            client.send(request_bytes("GET", http_origin.url("/bytes/50"), host=http_origin.authority))
            hold.wait_reached()
        exchange = only(recorder)
    assert exchange.state == "aborted"


def test_an_unknown_upgrade_is_tunnelled_and_its_bytes_are_counted(
    recorder: RecorderProcess, http_origin: Origin
) -> None:
    fields = [("Connection", "Upgrade"), ("Upgrade", "echo")]
    with RawClient.plain(recorder.address) as client:
        client.send(request_bytes("GET", http_origin.url("/upgrade"), host=http_origin.authority, headers=fields))
        head = b""
        while b"\r\n\r\n" not in head:
            head += client.read_exactly(1)
        assert head.startswith(b"HTTP/1.1 101")
        client.send(b"ping")
        assert client.read_exactly(4) == b"ping"
    exchange = only(recorder)
    assert exchange.done is not None
    assert (exchange.done.status, exchange.done.request_size, exchange.done.response_size) == (101, 4, 4)


SMUGGLING = [
    b"POST http://{h}/ HTTP/1.1\r\nHost: {h}\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST http://{h}/ HTTP/1.1\r\nHost: {h}\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    b"GET http://{h}/ HTTP/1.1\r\nHost : {h}\r\n\r\n",
    b"GET http://{h}/ HTTP/1.1\r\nHost: {h}\r\nX: a\r\n b\r\n\r\n",
]


@pytest.mark.parametrize("request_text", SMUGGLING)
def test_ambiguous_requests_are_refused_and_never_reach_the_server(
    recorder: RecorderProcess, http_origin: Origin, request_text: bytes
) -> None:
    with RawClient.plain(recorder.address) as client:
        client.send(request_text.replace(b"{h}", http_origin.authority.encode()))
        assert client.read_response().status == 400
    assert http_origin.requests_for("/") == []
    wait_until(lambda: recorder.frames(FrameType.EVENT), what="an event about the refusal")


BROKEN = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5\r\nhello\r\n3\r\nyou\r\nnonsense\r\n"
)


@pytest.mark.parametrize("at", [0, 30, 74, 84, 90, len(BROKEN)])
def test_p1_what_a_server_sent_before_it_broke_off_http_is_recorded(recorder: RecorderProcess, at: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(BROKEN[:at])
                connection.sendall(BROKEN[at:])
                connection.recv(1)

        server = threading.Thread(target=serve)
        server.start()
        authority = f"127.0.0.1:{listener.getsockname()[1]}"
        with RawClient.plain(recorder.address) as client:
            client.send(request_bytes("GET", f"http://{authority}/", host=authority))
            exchange = only(recorder)
        server.join()
    assert exchange.state == "failed"
    assert exchange.response is not None
    assert dict(exchange.response.headers)["Content-Type"] == "text/plain"
    assert recorder.body(exchange) == b"helloyou"


def test_p1_what_a_client_sent_before_it_broke_off_http_is_recorded(
    recorder: RecorderProcess, http_origin: Origin
) -> None:
    head = request_bytes(
        "POST", http_origin.url("/echo"), host=http_origin.authority, headers=[("Transfer-Encoding", "chunked")]
    )
    with RawClient.plain(recorder.address) as client:
        client.send(head + b"5\r\nhello\r\n")
        wait_until(lambda: recorder.frames(FrameType.OPENED), what="the request")
        client.send(b"3\r\nyou\r\nnonsense\r\n")
        exchange = only(recorder)
    assert exchange.state == "failed"
    assert recorder.body(exchange, "request") == b"helloyou"
