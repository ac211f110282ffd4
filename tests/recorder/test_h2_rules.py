"""Rules do over HTTP/2 what they do over HTTP/1.1."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from harness.h2_peers import H2Client, H2Origin
from harness.recorder import RecorderProcess, only
from tests.recorder.conftest import Recording
from tests.recorder.test_h2 import connect, recorded
from tests.recorder.test_rules import put
from wiretape.cli.demo.certificates import OriginCA


@pytest.fixture
def recorder(recording: Recording) -> Iterator[RecorderProcess]:
    with recording("uvloop") as process:
        process.record()
        yield process
        process.ask("rules", rules=[])


@pytest.fixture
def origin(origin_ca: OriginCA) -> Iterator[H2Origin]:
    with H2Origin(origin_ca.issue().server_context(alpn=("h2",))) as server:
        yield server


@pytest.fixture
def client(recorder: RecorderProcess, origin: H2Origin) -> Iterator[H2Client]:
    with connect(recorder, origin.port) as made:
        yield made


def test_p15_a_mock_answers_its_stream_and_others_are_asked_of_the_server(
    recorder: RecorderProcess, origin: H2Origin, client: H2Client
) -> None:
    mock = {"type": "mock", "status": 418, "body": "é", "headers": {"X-Mine": "1"}}
    put(recorder, {"matcher": {"pathPattern": "^/mocked"}, "handler": mock})
    mocked, asked = client.send("POST", "/mocked", body=b"x" * 100_000), client.send("GET", "/bytes/10")
    answer = client.answer(mocked)
    assert (answer.status, bytes(answer.body), answer.headers["x-mine"]) == (418, "é".encode(), "1")
    assert client.answer(asked).status == 200
    assert [request.path for request in origin.requests] == ["/bytes/10"]
    assert sorted(exchange.state for exchange in recorded(recorder, 2)) == ["complete", "mocked"]


def test_p15_a_dropped_request_resets_its_stream_alone(recorder: RecorderProcess, client: H2Client) -> None:
    put(recorder, {"matcher": {"pathPattern": "^/gone"}, "handler": {"type": "drop"}})
    gone, good = client.send("GET", "/gone"), client.send("GET", "/bytes/10")
    assert client.answer(good).status == 200
    assert client.answer(gone).reset is not None


def test_p15_heads_and_bodies_of_both_sides_are_changed_and_the_log_has_what_came(
    recorder: RecorderProcess, origin: H2Origin, client: H2Client
) -> None:
    request: dict[str, Any] = {"updateHeaders": {"X-Set": "new", "x-gone": None}}
    response = {"updateHeaders": {"X-Back": "2"}, "replaceBody": [{"find": "came", "replaceWith": "went away"}]}
    put(recorder, {"handler": {"type": "passthrough", "transformRequest": request, "transformResponse": response}})
    fields = [(b"x-gone", b"1"), (b"cookie", b"a"), (b"cookie", b"b"), (b"content-type", b"text/plain")]
    answer = client.answer(client.send("POST", "/echo", fields, body=b"it came"))
    assert (answer.status, answer.headers["x-back"]) == (200, "2")
    headers = origin.requests[0].message.headers
    assert headers["x-set"] == "new"
    assert "x-gone" not in headers
    assert headers[":authority"] == f"localhost:{origin.port}"
    exchange = only(recorder)
    assert ("x-gone", "1") in exchange.request.headers
    assert exchange.request.body.read() == b"it came"
    assert exchange.received_response is not None
    assert exchange.received_response.body.read() == b"it came"
    assert exchange.response is not None
    assert exchange.response.body.read() == bytes(answer.body) == b"it went away"
    assert exchange.state == "complete"
