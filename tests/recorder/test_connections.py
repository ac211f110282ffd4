"""What the log says of connections: numbers, addresses and TLS of both ends, and how an exchange used them."""

from __future__ import annotations

import ssl
import threading
import time

import pytest

from harness.clients import RawClient, request_bytes
from harness.origin import Origin
from harness.recorder import RecorderProcess, done_count, only, trusting
from wiretape.cli.demo.certificates import OriginCA
from wiretape.log.format import DoneFlag, Flag, FrameType, TlsSeen


def handshakes(recorder: RecorderProcess, name: str = "one") -> list[tuple[TlsSeen, bytes]]:
    found = []
    for frame in recorder.frames(FrameType.TLS, name):
        record = frame.record()
        assert isinstance(record, TlsSeen)
        found.append((record, bytes(frame.data)))
    return found


def test_both_handshakes_are_recorded_once_in_every_session_that_uses_the_connections(
    recorder: RecorderProcess, https_origin: Origin, origin_ca: OriginCA
) -> None:
    host = f"localhost:{https_origin.port}"
    with RawClient.tunnel(recorder.address, "localhost", https_origin.port, tls=trusting(recorder)) as client:
        for _ in range(2):
            client.get("/bytes/1", host=host)
        recorder.record("two")
        for _ in range(2):
            client.get("/bytes/1", host=host)
        client_address = "{}:{}".format(*client.sock.getsockname()[:2])
    for name in ("one", "two"):
        exchanges = [exchange for exchange in recorder.exchanges(name) if exchange.done is not None]
        assert len(exchanges) == 2
        by_side = {record.side: (record, data) for record, data in handshakes(recorder, name)}
        assert len(handshakes(recorder, name)) == 2
        seen, hello = by_side["client"]
        assert (seen.sni, hello[0], seen.verified) == ("localhost", 0x16, "")
        server, certificates = by_side["server"]
        assert (server.host, server.port, server.verified) == ("localhost", https_origin.port, "ok")
        assert server.version.startswith("TLSv1.")
        assert server.certificates >= 1
        assert "localhost" in ssl.DER_cert_to_PEM_cert(certificates) or certificates[0] == 0x30
        for exchange in exchanges:
            assert exchange.opened is not None
            assert exchange.done is not None
            assert exchange.opened.connection == seen.connection
            assert exchange.done.upstream_connection == server.connection != seen.connection
            assert exchange.opened.client == client_address
            assert exchange.opened.accepted_at == "{}:{}".format(*recorder.address)
            assert exchange.done.sent_from.startswith("127.0.0.1:")


def test_an_exchange_says_whether_its_connection_was_used_before_and_its_request_was_whole(
    recorder: RecorderProcess, http_origin: Origin
) -> None:
    with RawClient.plain(recorder.address) as client:
        for _ in range(2):
            client.get(http_origin.url("/bytes/1"), host=http_origin.authority)
    flags = [exchange.done.flags for exchange in done_count(recorder, 2) if exchange.done is not None]
    assert flags == [DoneFlag.REQUEST_WHOLE, DoneFlag.REQUEST_WHOLE | DoneFlag.REUSED]


def test_an_exchange_says_that_its_request_was_sent_twice(recorder: RecorderProcess, http_origin: Origin) -> None:
    with RawClient.plain(recorder.address) as client:
        client.get(http_origin.url("/dead-keepalive"), host=http_origin.authority)
        client.get(http_origin.url("/bytes/3"), host=http_origin.authority)
    flags = [exchange.done.flags for exchange in done_count(recorder, 2) if exchange.done is not None]
    # The end of the first connection may have been seen before the second request needed one.
    assert flags[1] in (DoneFlag.REQUEST_WHOLE, DoneFlag.REQUEST_WHOLE | DoneFlag.RETRIED)


def test_the_times_of_an_exchange_with_100_continue_add_up_to_the_total(
    recorder: RecorderProcess, http_origin: Origin
) -> None:
    with RawClient.plain(recorder.address) as client:
        fields = [("Expect", "100-continue"), ("Content-Length", "3")]
        client.send(request_bytes("POST", http_origin.url("/100-continue"), host=http_origin.authority, headers=fields))
        http_origin.wait_for_requests(1, "/100-continue")
        threading.Event().wait(0.1)  # the time that is measured
        client.send(b"abc")
        assert client.read_response("POST").status == 200
    done = only(recorder).done
    assert done is not None
    parts = [done.dns_ns, done.connect_ns, done.send_ns, done.wait_ns, done.receive_ns]
    assert min(parts) >= 0
    assert sum(parts) == pytest.approx(done.elapsed_ns, abs=1000)
    assert done.send_ns > 100_000_000
    assert done.wait_ns + done.receive_ns < done.elapsed_ns - 100_000_000


@pytest.mark.parametrize("answer", [b"SSH-2.0-server\r\n", b"HTTP/1.1 200 OK\r\nContent-Le"])
def test_p2_what_a_server_sent_instead_of_a_head_is_in_the_log_and_marked(
    recorder: RecorderProcess, http_origin: Origin, answer: bytes
) -> None:
    http_origin.script("/odd", answer)
    with RawClient.plain(recorder.address) as client:
        client.send(request_bytes("GET", http_origin.url("/odd"), host=http_origin.authority))
        assert b" 502 " in client.read_to_end()
    assert only(recorder).state == "failed"
    (frame,) = recorder.frames(FrameType.RESPONSE_HEAD)
    assert frame.flags & Flag.UNPARSED
    assert bytes(frame.data) == answer


def test_a_body_whose_first_chunk_is_malformed_is_a_502_with_the_reason(
    recorder: RecorderProcess, http_origin: Origin
) -> None:
    http_origin.script("/odd", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n")
    with RawClient.plain(recorder.address) as client:
        client.send(request_bytes("GET", http_origin.url("/odd"), host=http_origin.authority))
        answer = client.read_to_end()
    assert answer.startswith(b"HTTP/1.1 502 ")
    assert b"chunk" in answer
    assert b"Transfer-Encoding: chunked" in (only(recorder).response or pytest.fail("no response")).head


def test_a_connect_inside_a_connect_is_tunnelled(recorder: RecorderProcess, http_origin: Origin) -> None:
    http_origin.script("/never", b"")
    with RawClient.tunnel(recorder.address, "127.0.0.1", http_origin.port) as client:
        client.send(b"CONNECT other.example:443 HTTP/1.1\r\nHost: other.example:443\r\n\r\n")
        assert client.read_exactly(9) == b"HTTP/1.1 "  # from the server inside, whatever it thinks of it
    exchange = only(recorder)
    assert exchange.opened is not None
    assert exchange.opened.source == "connect"
    assert exchange.done is not None
    assert exchange.done.request_size > 0


def test_a_server_that_never_answers_does_not_hold_the_recorders_end(
    recorder: RecorderProcess, http_origin: Origin
) -> None:
    with http_origin.hold("/bytes/9") as hold, RawClient.plain(recorder.address) as client:
        client.send(request_bytes("GET", http_origin.url("/bytes/9"), host=http_origin.authority))
        hold.wait_reached()
        began = time.monotonic()
        assert recorder.stop() == 0
        assert time.monotonic() - began < 15
    assert only(recorder).state == "aborted"
