"""The origin and the clients that every other test trusts, held against curl and against each other."""

from __future__ import annotations

import gzip
import hashlib
import socket
import ssl
import zlib

import brotli
import pytest
import zstandard

from harness.bodies import body_for, body_sha256, text_for
from harness.clients import RawClient, chunked_bytes, request_bytes, run_curl
from harness.origin import Origin
from harness.routes import DUPLICATES
from wiretape.cli.demo.certificates import OriginCA
from wiretape.cli.demo.waiting import wait_until


def client_of(origin: Origin, ca: OriginCA | None = None) -> RawClient:
    if origin.tls is None:
        return RawClient.plain((origin.host, origin.port))
    assert ca is not None
    return RawClient.tls((origin.host, origin.port), ca.client_context())


def test_many_answers_come_over_one_connection_and_every_head_is_kept_exactly(http_origin: Origin) -> None:
    with client_of(http_origin) as client:
        for size in (0, 1, 65535, 65536, 200_000):
            assert client.get(f"/bytes/{size}?a=b").body == body_for(f"/bytes/{size}?a=b", size)
        head = request_bytes("GET", "/headers", host="h", headers=[("X-oDD", "1"), ("x-odd", "2")])
        client.send(head)
        assert client.read_response().body == head
    assert http_origin.connections == 1
    assert http_origin.requests[-1].head == head
    assert http_origin.requests[-1].header_values("x-odd") == ["1", "2"]


def test_https_answers_are_the_same(https_origin: Origin, origin_ca: OriginCA) -> None:
    with client_of(https_origin, origin_ca) as client:
        assert client.get("/bytes/100000").body == body_for("/bytes/100000", 100_000)
        assert client.get("/until-close/1000").body == body_for("/until-close/1000", 1000)
        assert client.at_end()


def test_a_rude_close_under_tls_lacks_the_close_notify(https_origin: Origin, origin_ca: OriginCA) -> None:
    with client_of(https_origin, origin_ca) as client, pytest.raises(ssl.SSLEOFError):
        client.get("/until-close/10?rude=1")


def test_chunks_carry_extensions_and_trailers(http_origin: Origin) -> None:
    target = "/chunked/1000?size=7&trailers=1&extensions=1"
    with client_of(http_origin) as client:
        answer = client.get(target)
    assert answer.body == body_for(target, 1000)
    assert answer.trailers == [(b"X-Checksum", b"12345"), (b"X-Last", b"yes")]


def test_request_bodies_are_kept_whole_with_either_framing(http_origin: Origin) -> None:
    with client_of(http_origin) as client:
        assert client.request("POST", "/echo", body=b"x" * 100_000).body == b"x" * 100_000
        head = request_bytes("POST", "/echo", host="h", headers=[("Transfer-Encoding", "chunked")])
        client.send(head + chunked_bytes([b"ab", b"c"], [("X-T", "1")]))
        assert client.read_response("POST").body == b"abc"
    received = http_origin.requests[-1]
    assert (received.body, received.trailers, received.complete) == (b"abc", [(b"X-T", b"1")], True)
    assert received.body_sha256 == hashlib.sha256(b"abc").hexdigest()


def test_encoded_bodies_decode_to_the_text(http_origin: Origin) -> None:
    decoders = {
        "gzip": gzip.decompress,
        "deflate": zlib.decompress,
        "br": brotli.decompress,
        "zstd": zstandard.ZstdDecompressor().decompress,
    }
    with client_of(http_origin) as client:
        for name, decode in decoders.items():
            answer = client.get(f"/{name}/500")
            assert answer.header("content-encoding") == name
            assert decode(answer.body) == text_for(f"/{name}/500", 500)


def test_duplicate_headers_leave_as_they_are_listed(http_origin: Origin) -> None:
    with client_of(http_origin) as client:
        assert tuple(client.get("/duplicate-headers").headers[: len(DUPLICATES)]) == DUPLICATES


def test_interim_answers_come_before_the_final_one(http_origin: Origin) -> None:
    with client_of(http_origin) as client:
        assert [answer.status for answer in client.get("/early-hints").interim] == [103]
        headers = [("Expect", "100-continue"), ("Content-Length", "2")]
        client.send(request_bytes("POST", "/echo", host="h", headers=headers))
        wait_until(lambda: http_origin.requests_for("/echo"), what="the head")
        client.send(b"hi")
        answer = client.read_response("POST")
        assert ([part.status for part in answer.interim], answer.body) == ([100], b"hi")
        assert client.request("POST", "/expectation-failed", headers=[("Expect", "100-continue")]).status == 417


def test_head_and_bodiless_statuses_have_no_body(http_origin: Origin) -> None:
    with client_of(http_origin) as client:
        for target in ("/bytes/10", "/chunked/10", "/gzip/10"):
            assert client.request("HEAD", target).body == b""
        assert client.get("/status/204").body == b""
        assert client.get("/status/304").body == b""
        assert client.get("/status/404").status == 404
        assert client.get("/nothing-here").status == 404
    assert http_origin.connections == 1


def test_a_held_answer_waits_for_its_release(http_origin: Origin) -> None:
    with client_of(http_origin) as client, http_origin.hold("/bytes/10", at="part") as hold:
        client.send(request_bytes("GET", "/bytes/10", host="h"))
        hold.wait_reached()
        assert not http_origin.requests[0].answered
        hold.release()
        assert client.read_response().body == body_for("/bytes/10", 10)
    wait_until(lambda: http_origin.requests[0].answered, what="the account of the answer")


def test_broken_answers_break_as_announced(http_origin: Origin) -> None:
    with client_of(http_origin) as client, pytest.raises(ConnectionResetError):
        client.get("/reset-after/70000")
    with client_of(http_origin) as client, pytest.raises(EOFError):
        client.get("/hang-up")
    with client_of(http_origin) as client, pytest.raises(EOFError, match="without sending complete"):
        client.get("/short/100")
    assert [request.answered for request in http_origin.requests] == [False] * 3


def test_a_dead_keepalive_connection_dies_at_once_or_under_the_next_request(http_origin: Origin) -> None:
    with client_of(http_origin) as client:
        assert client.get("/dead-keepalive").header("connection") is None
        assert client.at_end()
    with client_of(http_origin) as client:
        client.get("/dead-keepalive?when=next")
        client.send(request_bytes("GET", "/bytes/1", host="h"))
        assert client.at_end()
    assert http_origin.swallowed == 1
    assert not http_origin.requests_for("/bytes/1")


def test_http10_and_close_end_their_connections(http_origin: Origin) -> None:
    for path, version in (("/http10", b"1.0"), ("/close", b"1.1")):
        with client_of(http_origin) as client:
            assert client.get(path).http_version == version
            assert client.at_end()


def test_an_upgraded_connection_echoes_bytes(http_origin: Origin) -> None:
    with client_of(http_origin) as client:
        assert client.get("/upgrade", headers=[("Upgrade", "echo"), ("Connection", "upgrade")]).status == 101
        client.send(b"\x00any bytes")
        assert client.read_exactly(10) == b"\x00any bytes"


def test_a_script_is_sent_as_it_is(http_origin: Origin) -> None:
    http_origin.script("/evil", b"HTTP/1.1 2", b"00\r\n\r\nx", then="close")
    with client_of(http_origin) as client:
        client.send(request_bytes("GET", "/evil?q", host="h"))
        assert client.read_to_end() == b"HTTP/1.1 200\r\n\r\nx"


def test_malformed_and_ambiguous_requests_are_refused(http_origin: Origin) -> None:
    both = [("Content-Length", "1"), ("Transfer-Encoding", "chunked")]
    for data in (b"nonsense\r\n\r\n", request_bytes("POST", "/echo", host="h", headers=both)):
        with client_of(http_origin) as client:
            client.send(data)
            assert client.read_response().status == 400
    assert len(http_origin.bad_requests) == 2


def test_closing_ends_the_requests_that_nobody_answers() -> None:
    with Origin() as origin:
        client = RawClient.plain((origin.host, origin.port))
        client.send(request_bytes("GET", "/no-answer", host="h"))
        origin.wait_for_requests(1)
    with client:
        assert client.at_end()


def test_curl_agrees(https_origin: Origin, origin_ca: OriginCA) -> None:
    result = run_curl("--compressed", https_origin.url("/gzip/5000"), cacert=origin_ca.pem)
    assert (result.returncode, result.status, result.body) == (0, 200, text_for("/gzip/5000", 5000))
    refused = run_curl(https_origin.url("/"))
    assert (refused.returncode, refused.status) == (60, 0)
    wait_until(lambda: https_origin.tls_failures, what="the refused handshake")


def test_certificates_can_be_made_wrong_on_purpose(origin_ca: OriginCA) -> None:
    for issued in (origin_ca.issue(expired=True), origin_ca.issue(("other.test",)), origin_ca.self_signed()):
        with Origin(tls=issued.server_context()) as origin, pytest.raises(ssl.SSLCertVerificationError):
            client_of(origin, origin_ca)


def test_an_origin_on_ipv6_serves() -> None:
    with Origin(host="::1") as origin, RawClient.plain(("::1", origin.port)) as client:
        assert client.get("/bytes/5").body == body_for("/bytes/5", 5)
        assert client.sock.family == socket.AF_INET6


def test_a_body_block_lost_or_swapped_changes_the_digest() -> None:
    whole = body_for("/x", 200_000)
    assert hashlib.sha256(whole).hexdigest() == body_sha256("/x", 200_000)
    blocks = [whole[start : start + 65536] for start in range(0, len(whole), 65536)]
    assert len(set(blocks)) == len(blocks)
    assert body_for("/y", 100)[8:] != whole[8:100]
