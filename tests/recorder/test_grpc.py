"""A real gRPC client and server, grpcio, through the recorder: what they say to each other, and what is recorded."""

from __future__ import annotations

import contextlib
import gzip
import queue
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest

from harness.recorder import RecorderProcess
from tests.recorder.conftest import Recording
from tests.recorder.test_h2 import recorded, the_one
from wiretape.cli.demo.certificates import IssuedCert, OriginCA
from wiretape.log import Exchange

BIG = bytes(range(256)) * 4000


class Handler(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Methods whose messages are bytes: what is called is what is done."""

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        return {
            "/t.T/Unary": grpc.unary_unary_rpc_method_handler(self.unary),
            "/t.T/Down": grpc.unary_stream_rpc_method_handler(self.down),
            "/t.T/Up": grpc.stream_unary_rpc_method_handler(self.up),
            "/t.T/Both": grpc.stream_stream_rpc_method_handler(self.both),
            "/t.T/Fail": grpc.unary_unary_rpc_method_handler(self.fail),
        }.get(details.method)

    def unary(self, message: bytes, context: grpc.ServicerContext) -> bytes:
        context.send_initial_metadata((("x-initial", "1"),))
        context.set_trailing_metadata((("x-last", "2"), ("x-bin", b"\x00\xff")))
        return message[::-1]

    def down(self, message: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        for at in range(int(message)):
            yield b"%d" % at

    def up(self, messages: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        return b",".join(messages)

    def both(self, messages: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        for message in messages:
            yield message.upper()

    def fail(self, message: bytes, context: grpc.ServicerContext) -> bytes:
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not today: é")
        raise AssertionError


@contextlib.contextmanager
def serve(issued: IssuedCert) -> Iterator[int]:
    """Serve on loopback; gives the port."""
    credentials = grpc.ssl_server_credentials([(issued.key.read_bytes(), issued.cert.read_bytes())])
    made = grpc.server(ThreadPoolExecutor(4), handlers=[Handler()], compression=grpc.Compression.NoCompression)
    port = made.add_secure_port("127.0.0.1:0", credentials)
    made.start()
    yield port
    made.stop(None)


@pytest.fixture(scope="module")
def server(origin_ca: OriginCA) -> Iterator[int]:
    with serve(origin_ca.issue()) as port:
        yield port


@pytest.fixture
def recorder(recording: Recording) -> Iterator[RecorderProcess]:
    with recording("uvloop") as process:
        process.record()
        yield process


@pytest.fixture
def channel(recorder: RecorderProcess, server: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[grpc.Channel]:
    monkeypatch.setenv("grpc_proxy", f"http://{recorder.address[0]}:{recorder.address[1]}")
    roots = (recorder.root / "ca" / "ca.pem").read_bytes()
    with grpc.secure_channel(f"localhost:{server}", grpc.ssl_channel_credentials(roots)) as made:
        yield made


def messages(body: bytes) -> list[tuple[int, bytes]]:
    """Return the messages of a body and their flags, which end with it."""
    found = []
    while body:
        size = int.from_bytes(body[1:5], "big")
        assert len(body) >= 5 + size
        found.append((body[0], body[5 : 5 + size]))
        body = body[5 + size :]
    return found


def said(exchange: Exchange) -> tuple[list[bytes], list[bytes], dict[str, str]]:
    """Return the messages both ways and the trailers."""
    assert exchange.response is not None
    up = [message for _, message in messages(exchange.request.body.read())]
    down = [message for _, message in messages(exchange.response.body.read())]
    return up, down, dict(exchange.response.trailers)


def test_unary(recorder: RecorderProcess, channel: grpc.Channel) -> None:
    answer, call = channel.unary_unary("/t.T/Unary").with_call(b"abc", metadata=(("x-mine", "3"),), timeout=20)
    assert answer == b"cba"
    assert ("x-initial", "1") in call.initial_metadata()
    assert ("x-bin", b"\x00\xff") in call.trailing_metadata()
    exchange = the_one(recorder)
    up, down, trailers = said(exchange)
    assert (up, down) == ([b"abc"], [b"cba"])
    assert trailers["grpc-status"] == "0"
    assert trailers["x-last"] == "2"
    assert exchange.opened is not None
    assert exchange.opened.protocol == "h2"
    headers = dict(exchange.request.headers)
    assert (headers["content-type"], headers["te"], headers["x-mine"]) == ("application/grpc", "trailers", "3")
    assert exchange.state == "complete"


def test_a_stream_down(recorder: RecorderProcess, channel: grpc.Channel) -> None:
    answers = list(channel.unary_stream("/t.T/Down")(b"500", timeout=20))
    assert answers == [b"%d" % at for at in range(500)]
    assert said(the_one(recorder))[1] == answers


def test_a_stream_up(recorder: RecorderProcess, channel: grpc.Channel) -> None:
    sent = [b"%d" % at for at in range(500)]
    assert channel.stream_unary("/t.T/Up")(iter(sent), timeout=20) == b",".join(sent)
    assert said(the_one(recorder))[:2] == (sent, [b",".join(sent)])


def test_both_ways_at_a_time(recorder: RecorderProcess, channel: grpc.Channel) -> None:
    turn: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    turn.put(b"")
    answers: list[bytes] = []

    def talk() -> Iterator[bytes]:
        for at in range(50):
            answers.append(turn.get(timeout=20))  # each is answered while the call goes on
            yield b"m%d" % at

    for answer in channel.stream_stream("/t.T/Both")(talk(), timeout=20):
        turn.put(answer)
    answers = [*answers[1:], turn.get(timeout=20)]
    assert answers == [b"M%d" % at for at in range(50)]
    up, down, trailers = said(the_one(recorder))
    assert [message.upper() for message in up] == down == answers
    assert trailers["grpc-status"] == "0"


def test_an_error_has_its_status_and_message(recorder: RecorderProcess, channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/t.T/Fail")(b"abc", timeout=20)
    error: Any = caught.value
    assert (error.code(), error.details()) == (grpc.StatusCode.FAILED_PRECONDITION, "not today: é")
    exchange = the_one(recorder)
    assert exchange.response is not None
    found = {**dict(exchange.response.headers), **dict(exchange.response.trailers)}
    assert found["grpc-status"] == "9"
    assert found["grpc-message"] == "not today: %C3%A9"


def test_compressed_messages_are_recorded_as_they_came(recorder: RecorderProcess, channel: grpc.Channel) -> None:
    call = channel.unary_unary("/t.T/Unary")
    assert call(BIG, timeout=20, compression=grpc.Compression.Gzip) == BIG[::-1]
    exchange = the_one(recorder)
    flag, message = messages(exchange.request.body.read())[0]
    assert (flag, gzip.decompress(message)) == (1, BIG)
    assert dict(exchange.request.headers)["grpc-encoding"] == "gzip"


def test_a_call_that_is_cancelled_is_aborted(recorder: RecorderProcess, channel: grpc.Channel) -> None:
    call = channel.unary_stream("/t.T/Down")(b"1000000", timeout=20)
    assert next(call) == b"0"
    call.cancel()
    assert the_one(recorder).state == "aborted"


def test_many_calls_share_a_connection(recorder: RecorderProcess, channel: grpc.Channel) -> None:
    unary = channel.unary_unary("/t.T/Unary")
    calls = [unary.future(b"%03d" % at, timeout=20) for at in range(200)]
    assert [call.result() for call in calls] == [(b"%03d" % at)[::-1] for at in range(200)]
    found = recorded(recorder, 200)
    assert len({exchange.opened.connection for exchange in found if exchange.opened}) == 1
    assert len({exchange.done.upstream_connection for exchange in found if exchange.done}) <= 2
