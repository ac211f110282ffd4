"""Rules on exchanges of HTTP/2: the same as on those of HTTP/1.1, whatever each side speaks (P15)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from harness.bodies import body_for
from harness.h2_peers import WINDOW, H2Client, H2Origin
from harness.recorder import RecorderProcess, done_count, only, trusting
from tests.recorder.conftest import Recording
from wiretape.cli.demo.certificates import OriginCA


@pytest.fixture
def recorder(recording: Recording) -> Iterator[RecorderProcess]:
    with recording("asyncio") as process:
        process.record()
        yield process
        process.ask("rules", rules=[])


@pytest.fixture
def origin(origin_ca: OriginCA) -> Iterator[H2Origin]:
    with H2Origin(origin_ca.issue().server_context(alpn=("h2", "http/1.1"))) as server:
        yield server


def put(recorder: RecorderProcess, *rules: dict[str, Any]) -> None:
    """Have the recorder follow these rules."""
    recorder.ask("rules", rules=[{"id": f"rule_{n}", "number": n, **rule} for n, rule in enumerate(rules, 1)])


def connect(recorder: RecorderProcess, origin: H2Origin) -> H2Client:
    return H2Client.tunnel(recorder.address, "localhost", origin.port, tls=trusting(recorder), window=WINDOW)


def test_p15_a_mock_and_a_block_answer_over_h2_and_the_connection_goes_on(
    recorder: RecorderProcess, origin: H2Origin
) -> None:
    mock = {"type": "mock", "status": 201, "body": "made", "headers": {"X-Mine": "1"}}
    put(
        recorder,
        {"matcher": {"pathPattern": "^/mock"}, "handler": mock},
        {"matcher": {"headers": {"x-bad": "1"}}, "handler": {"type": "block"}},
    )
    with connect(recorder, origin) as client:
        answer = client.get("/mock")
        assert (answer.status, bytes(answer.body)) == (201, b"made")
        assert (b"x-mine", b"1") in answer.fields
        assert client.get("/bytes/5", [(b"x-bad", b"1")]).status == 403
        assert bytes(client.get("/bytes/5").body) == body_for("/bytes/5", 5)
    assert [exchange.state for exchange in done_count(recorder, 3)] == ["mocked", "blocked", "complete"]


def test_p15_both_sides_are_changed_over_h2_and_recorded(recorder: RecorderProcess, origin: H2Origin) -> None:
    changes = {"updateHeaders": {"X-Got": "1"}, "replaceStatus": 500}
    put(
        recorder,
        {"handler": {"type": "passthrough", "transformRequest": {"updateHeaders": {"X-Sent": "1", "x-gone": None}}}},
        {
            "matcher": {"filter": "~c 200"},
            "handler": {"type": "passthrough", "transformResponse": changes},
        },
    )
    with connect(recorder, origin) as client:
        answer = client.get("/bytes/1000", [(b"x-gone", b"1"), (b"x-stays", b"2")])
    assert (answer.status, bytes(answer.body)) == (500, body_for("/bytes/1000", 1000))
    assert (b"x-got", b"1") in answer.fields
    sent = dict(origin.requests[0].message.fields)
    assert (sent[b"x-sent"], sent[b"x-stays"]) == (b"1", b"2")
    assert b"x-gone" not in sent
    assert (sent[b":path"], sent[b":method"]) == (b"/bytes/1000", b"GET")
    exchange = only(recorder)
    assert (exchange.state, exchange.rules) == ("complete", ("rule_1", "rule_2"))
    assert exchange.sent_request is not None
    assert exchange.sent_request.url == origin.url("/bytes/1000")
    assert exchange.received_response is not None
    assert exchange.response is not None
    assert (exchange.received_response.status, exchange.response.status) == (200, 500)


def test_p15_a_body_is_changed_over_h2(recorder: RecorderProcess, origin: H2Origin) -> None:
    put(recorder, {"handler": {"type": "passthrough", "transformRequest": {"matchReplaceBody": [["needle", "x"]]}}})
    with connect(recorder, origin) as client:
        client.answer(client.send("POST", "/bytes/1", None, b"needle " * 3))
    assert bytes(origin.requests[0].message.body) == b"x needle needle "
    exchange = only(recorder)
    assert exchange.request.body.read() == b"needle " * 3
    assert exchange.sent_request is not None
    assert exchange.sent_request.body.read() == b"x needle needle "
