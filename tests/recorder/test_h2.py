"""HTTP/2 on both sides of the recorder: what goes through, and what is in the log of it."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

import pytest

from harness.bodies import body_for
from harness.clients import RawClient
from harness.h2_peers import WINDOW, H2Client, H2Origin, OriginWire, ReceivedRequest
from harness.origin import Origin
from harness.recorder import RecorderProcess, trusting
from wiretape.cli.demo.certificates import OriginCA
from wiretape.cli.demo.waiting import wait_until
from wiretape.log import Exchange


@pytest.fixture
def origin(origin_ca: OriginCA) -> Iterator[H2Origin]:
    with H2Origin(origin_ca.issue().server_context(alpn=("h2", "http/1.1"))) as server:
        yield server


def connect(recorder: RecorderProcess, port: int, *, window: int = WINDOW) -> H2Client:
    return H2Client.tunnel(recorder.address, "localhost", port, tls=trusting(recorder), window=window)


def recorded(recorder: RecorderProcess, count: int) -> list[Exchange]:
    def ended() -> list[Exchange]:
        found = [exchange for exchange in recorder.exchanges() if exchange.done is not None]
        return found if len(found) >= count else []

    found = wait_until(ended, what=f"{count} exchanges in the log")
    assert len(found) == count
    return found


def the_one(recorder: RecorderProcess) -> Exchange:
    return recorded(recorder, 1)[0]


def test_an_exchange_passes_and_is_recorded_as_what_it_is(recorder: RecorderProcess, origin: H2Origin) -> None:
    with connect(recorder, origin.port) as client:
        answer = client.get("/bytes/1000?x=1", [(b"x-a", b"1"), (b"cookie", b"a=1"), (b"cookie", b"b=2")])
    assert (answer.status, bytes(answer.body)) == (200, body_for("/bytes/1000?x=1", 1000))
    assert origin.requests[0].message.fields == [
        (b":method", b"GET"),
        (b":scheme", b"https"),
        (b":authority", f"localhost:{origin.port}".encode()),
        (b":path", b"/bytes/1000?x=1"),
        (b"x-a", b"1"),
        (b"cookie", b"a=1"),
        (b"cookie", b"b=2"),
    ]
    exchange = the_one(recorder)
    assert exchange.opened is not None
    assert (exchange.opened.protocol, exchange.opened.stream) == ("h2", 1)
    assert exchange.request.head == (
        b":method: GET\r\n:scheme: https\r\n:authority: localhost:%d\r\n:path: /bytes/1000?x=1\r\n"
        b"x-a: 1\r\ncookie: a=1\r\ncookie: b=2\r\n\r\n" % origin.port
    )
    assert exchange.request.url == origin.url("/bytes/1000?x=1")
    assert exchange.response is not None
    assert exchange.response.head == (
        b":status: 200\r\ncontent-type: application/octet-stream\r\ncontent-length: 1000\r\n\r\n"
    )
    assert exchange.response.body.read() == body_for("/bytes/1000?x=1", 1000)


def test_a_client_is_offered_what_its_server_offers(
    recorder: RecorderProcess, origin: H2Origin, https_origin: Origin
) -> None:
    for port, agreed in ((origin.port, "h2"), (https_origin.port, "http/1.1")):
        for offer in (["h2", "http/1.1"], ["http/1.1", "h2"]):
            context = trusting(recorder)
            context.set_alpn_protocols(offer)
            with RawClient.tunnel(recorder.address, "localhost", port, tls=context) as client:
                assert isinstance(client.sock, ssl.SSLSocket)
                assert client.sock.selected_alpn_protocol() == agreed
    assert len(origin.wires) == 1  # asked once, remembered
    context = trusting(recorder)
    with RawClient.tunnel(recorder.address, "localhost", https_origin.port, tls=context) as client:
        assert client.get("/bytes/5").status == 200


def test_many_streams_run_at_a_time_on_one_connection_each_an_exchange(
    recorder: RecorderProcess, origin: H2Origin
) -> None:
    with connect(recorder, origin.port) as client:
        streams = {client.send("GET", f"/bytes/{size}"): size for size in range(1, 101)}
        for stream, size in streams.items():
            assert bytes(client.answer(stream).body) == body_for(f"/bytes/{size}", size)
    exchanges = recorded(recorder, 100)
    assert sorted(exchange.opened.stream for exchange in exchanges if exchange.opened) == list(range(1, 200, 2))
    assert len({request.connection for request in origin.requests}) == 1


def test_large_bodies_pass_both_ways(recorder: RecorderProcess, origin: H2Origin) -> None:
    body = body_for("up", 3_000_000)
    with connect(recorder, origin.port) as client:
        answer = client.answer(client.send("POST", "/echo", body=body))
    assert bytes(answer.body) == body
    exchange = the_one(recorder)
    assert exchange.request.body.read() == body
    assert exchange.response is not None
    assert exchange.response.body.read() == body


def test_trailers_pass_both_ways_and_are_recorded(recorder: RecorderProcess, origin: H2Origin) -> None:
    with connect(recorder, origin.port) as client:
        answer = client.answer(client.send("POST", "/trailers", body=b"abc", trailers=[(b"x-end", b"1")]))
    assert answer.trailers == [(b"x-sum", b"42"), (b"x-more", b"a")]
    assert origin.requests[0].message.trailers == [(b"x-end", b"1")]
    exchange = the_one(recorder)
    assert exchange.request.trailers == (("x-end", "1"),)
    assert exchange.response is not None
    assert exchange.response.trailers == (("x-sum", "42"), ("x-more", "a"))


def test_interim_responses_pass_and_are_recorded(recorder: RecorderProcess, origin: H2Origin) -> None:
    with connect(recorder, origin.port) as client:
        answer = client.get("/hints")
    assert answer.interim == [[(b":status", b"103"), (b"link", b"</a.css>; rel=preload")]]
    response = the_one(recorder).response
    assert response is not None
    assert response.interim == (b":status: 103\r\nlink: </a.css>; rel=preload\r\n\r\n",)


def test_head_and_responses_without_a_body_pass(recorder: RecorderProcess, origin: H2Origin) -> None:
    with connect(recorder, origin.port) as client:
        answer = client.answer(client.send("HEAD", "/bytes/1000"))
        assert (answer.status, answer.headers["content-length"], bytes(answer.body)) == (200, "1000", b"")
    assert the_one(recorder).state == "complete"


def test_a_stream_that_the_server_resets_is_a_failed_exchange_and_the_others_go_on(
    recorder: RecorderProcess, origin: H2Origin
) -> None:
    with connect(recorder, origin.port) as client:
        broken, good = client.send("GET", "/reset/2"), client.send("GET", "/bytes/10")
        assert client.answer(good).status == 200
        answer = client.answer(broken)
        assert (answer.status, answer.headers["wiretape-error"]) == (502, "server-reset")
    failed = next(exchange for exchange in recorded(recorder, 2) if exchange.state == "failed")
    assert failed.done is not None
    assert "INTERNAL_ERROR" in failed.done.error


def test_a_stream_that_the_client_resets_is_an_aborted_exchange_and_the_server_hears_of_it(
    recorder: RecorderProcess, origin: H2Origin
) -> None:
    def half(wire: OriginWire, request: ReceivedRequest) -> None:
        wire.connection.send_headers(request.stream, [(b":status", b"200")])
        wire.send_body(request.stream, b"half", end=False)

    origin.on("/half", half)
    with connect(recorder, origin.port) as client:
        stream = client.send("GET", "/half")
        while not client.messages[stream].body:
            client.read()
        client.connection.reset_stream(stream, 8)
        client.flush()
        assert client.get("/bytes/10").status == 200
        wait_until(lambda: origin.requests[0].message.reset == 8, what="the reset at the origin")
    assert sorted(exchange.state for exchange in recorded(recorder, 2)) == ["aborted", "complete"]


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_request_that_the_server_has_not_looked_at_is_sent_again(
    recorder: RecorderProcess, origin: H2Origin, method: str
) -> None:
    def refuse_once(wire: OriginWire, request: ReceivedRequest) -> None:
        if len(origin.requests) == 1:
            wire.connection.reset_stream(request.stream, 7)
        else:
            wire.respond(request.stream, 200, [], bytes(request.message.body))

    origin.on("/once", refuse_once)
    with connect(recorder, origin.port) as client:
        answer = client.answer(client.send(method, "/once", body=b"twice" if method == "POST" else None))
    assert (answer.status, bytes(answer.body)) == (200, b"twice" if method == "POST" else b"")
    assert the_one(recorder).state == "complete"


def test_a_server_that_goes_away_ends_what_runs_and_new_requests_get_a_new_connection(
    recorder: RecorderProcess, origin: H2Origin
) -> None:
    def leave(wire: OriginWire, request: ReceivedRequest) -> None:
        wire.connection.send_headers(request.stream, [(b":status", b"200")])
        wire.send_body(request.stream, b"first, ", end=False)
        wire.connection.close_connection(last_stream_id=request.stream)
        wire.flush()

    origin.on("/leave", leave)
    with connect(recorder, origin.port) as client:
        leaving = client.send("GET", "/leave")
        while not client.messages[leaving].body:
            client.read()
        assert client.get("/bytes/10").status == 200
        assert origin.requests[-1].connection != origin.requests[0].connection


def test_a_client_of_http2_and_a_server_of_http1(recorder: RecorderProcess, https_origin: Origin) -> None:
    context = trusting(recorder)
    context.set_alpn_protocols(["h2"])  # nothing in common with the server: what the client has, it gets
    with RawClient.tunnel(recorder.address, "localhost", https_origin.port, tls=context) as raw:
        assert isinstance(raw.sock, ssl.SSLSocket)
        assert raw.sock.selected_alpn_protocol() is None
