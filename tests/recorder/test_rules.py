"""Rules in a real recorder, against a real origin: what the client gets, what the server gets, what the log has."""

from __future__ import annotations

import gzip
import json
import socket
import time
from typing import Any

import pytest

from harness.bodies import body_for
from harness.clients import RawClient, chunked_bytes, request_bytes
from harness.origin import Origin
from harness.recorder import RecorderProcess, done_count, only
from wiretape.errors import WiretapeError
from wiretape.log.format import FrameType
from wiretape.log.items import sound_record


@pytest.fixture(autouse=True)
def _no_rules_are_left(recorder: RecorderProcess) -> Any:
    yield
    recorder.ask("rules", rules=[])


def put(recorder: RecorderProcess, *rules: dict[str, Any]) -> None:
    """Have the recorder follow these rules, in their order."""
    made = [{"id": f"rule_{number}", "number": number, **rule} for number, rule in enumerate(rules, 1)]
    recorder.ask("rules", rules=made)


def notes_in(recorder: RecorderProcess) -> list[str]:
    """Return what rules said that they could not do."""
    return [sound_record(frame).note for frame in recorder.frames(FrameType.SENT)]  # type: ignore[attr-defined]


def get(recorder: RecorderProcess, origin: Origin, path: str, *, method: str = "GET", **more: Any) -> Any:
    """Ask for a path through the recorder."""
    with RawClient.plain(recorder.address) as client:
        client.send(request_bytes(method, origin.url(path), host=origin.authority, **more))
        return client.read_response(method)


def test_p15_a_mock_answers_without_the_server_keeps_the_connection_and_is_recorded(
    recorder: RecorderProcess, http_origin: Origin
) -> None:
    mock = {"type": "mock", "status": 418, "body": "é\n", "headers": {"Content-Type": "text/plain", "X-Mine": "1"}}
    put(recorder, {"matcher": {"pathPattern": "^/mocked"}, "handler": mock, "description": "teapot"})
    with RawClient.plain(recorder.address) as client:
        for _ in range(2):
            answer = client.get(http_origin.url("/mocked?x=1"), host=http_origin.authority)
            assert (answer.status, answer.body) == (418, "é\n".encode())
            assert (answer.header("Content-Length"), answer.header("X-Mine")) == ("3", "1")
    assert http_origin.requests_for("/mocked") == []
    for exchange in done_count(recorder, 2):
        assert (exchange.state, exchange.rules) == ("mocked", ("rule_1",))
        assert exchange.response is not None
        assert (exchange.response.status, exchange.response.body.read()) == (418, "é\n".encode())


@pytest.mark.parametrize("chunked", [True, False])
def test_p15_the_whole_request_that_a_mock_answers_is_recorded(
    recorder: RecorderProcess, http_origin: Origin, chunked: bool
) -> None:
    put(recorder, {"handler": {"type": "mock"}})
    body = body_for("mock", 3_000_000)
    with RawClient.plain(recorder.address) as client:
        if chunked:
            fields = [("Transfer-Encoding", "chunked")]
            client.send(request_bytes("POST", http_origin.url("/m"), host=http_origin.authority, headers=fields))
            client.send(chunked_bytes([body[at : at + 65_536] for at in range(0, len(body), 65_536)]))
        else:
            client.send(request_bytes("POST", http_origin.url("/m"), host=http_origin.authority, body=body))
        assert client.read_response("POST").status == 200
    assert recorder.body(only(recorder), "request") == body


def test_p15_a_blocked_request_gets_a_status_that_says_so(recorder: RecorderProcess, http_origin: Origin) -> None:
    put(recorder, {"handler": {"type": "block", "status": 451}, "description": "no ads"})
    answer = get(recorder, http_origin, "/bytes/3")
    assert (answer.status, answer.header("Wiretape-Error")) == (451, "blocked-by-rule")
    assert b"rule_1: no ads" in answer.body
    assert only(recorder).state == "blocked"
    assert http_origin.requests_for("/bytes/3") == []


def test_p15_a_dropped_request_breaks_the_connection_and_appears(
    recorder: RecorderProcess, http_origin: Origin
) -> None:
    put(recorder, {"matcher": {"method": "get"}, "handler": {"type": "drop"}})
    with RawClient.plain(recorder.address) as client:
        client.send(request_bytes("GET", http_origin.url("/bytes/3"), host=http_origin.authority))
        with pytest.raises((ConnectionError, EOFError)):
            client.read_exactly(1)
    exchange = only(recorder)
    assert (exchange.state, exchange.rules, exchange.response) == ("dropped", ("rule_1",), None)


def test_p15_headers_of_both_sides_are_changed_and_the_log_has_both(
    recorder: RecorderProcess, http_origin: Origin
) -> None:
    request = {
        "updateHeaders": {"X-Set": "new", "X-Gone": None},
        "removeHeaders": [{"name": "X-Many", "value": "b"}],
        "addHeaders": {"X-Many": "d"},
        "replaceInHeaders": [{"name": "Cookie", "find": "id=(\\w+)", "replaceWith": "id=<$1>", "regex": True}],
    }
    put(
        recorder,
        {"handler": {"type": "passthrough", "transformRequest": request}},
        {"handler": {"type": "passthrough", "transformResponse": {"updateHeaders": {"X-Answer": "ü", "Server": None}}}},
    )
    sent = [("x-set", "old"), ("X-Gone", "1"), ("X-Many", "a"), ("X-Many", "b"), ("X-Many", "c"), ("Cookie", "id=me")]
    answer = get(recorder, http_origin, "/headers", headers=sent)
    received = http_origin.requests_for("/headers")[0]
    assert received.header_values("x-set") == ["new"]
    assert received.header_values("X-Gone") == []
    assert received.header_values("X-Many") == ["a", "c", "d"]
    assert received.header_values("Cookie") == ["id=<me>"]
    assert answer.header("X-Answer") == "ü".encode().decode("latin-1")
    exchange = only(recorder)
    assert (exchange.state, exchange.rules) == ("complete", ("rule_1", "rule_2"))
    assert b"x-set: old" in exchange.request.head
    assert exchange.sent_request is not None
    assert exchange.sent_request.head.startswith(f"GET {http_origin.url('/headers')} HTTP/1.1\r\n".encode())
    assert ("x-set", "new") in exchange.sent_request.headers
    assert exchange.response is not None
    assert exchange.received_response is not None
    assert "X-Answer" in dict(exchange.response.headers)
    assert "X-Answer" not in dict(exchange.received_response.headers)
    assert exchange.received_response.body.read() == exchange.response.body.read() == answer.body


@pytest.mark.parametrize("size", [20, 40_000, 600_000])
@pytest.mark.parametrize("chunked", [False, True])
def test_p15_a_changed_request_body_is_framed_again_and_both_are_in_the_log(
    recorder: RecorderProcess, http_origin: Origin, size: int, chunked: bool
) -> None:
    changes = {
        "matchReplaceBody": [["needle", "$1$&"]],
        "replaceBody": [{"find": "x", "replaceWith": "yy", "all": True}],
    }
    put(recorder, {"handler": {"type": "passthrough", "transformRequest": changes}})
    body = b"needle needle " + b"x" * size
    with RawClient.plain(recorder.address) as client:
        if chunked:
            fields = [("Transfer-Encoding", "chunked")]
            client.send(request_bytes("POST", http_origin.url("/echo"), host=http_origin.authority, headers=fields))
            client.send(chunked_bytes([body[at : at + 9_000] for at in range(0, len(body), 9_000)]))
        else:
            client.send(request_bytes("POST", http_origin.url("/echo"), host=http_origin.authority, body=body))
        answer = client.read_response("POST")
    expected = b"$1$& needle " + b"yy" * size
    assert answer.body == expected
    exchange = only(recorder)
    assert exchange.request.body.read() == body
    assert exchange.sent_request is not None
    assert exchange.sent_request.body.read() == expected


def test_p15_a_coded_body_is_changed_inside_and_coded_again(recorder: RecorderProcess, http_origin: Origin) -> None:
    coded = gzip.compress(json.dumps({"price": 1, "items": [{"n": 1}]}).encode())
    http_origin.script(
        "/coded",
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b"
        % (len(coded), coded),
    )
    changes = {"jsonSet": {"/items/0/n": 7}, "jsonPatch": [{"op": "add", "path": "/more", "value": [True]}]}
    put(recorder, {"handler": {"type": "passthrough", "transformResponse": {**changes, "replaceStatus": 503}}})
    answer = get(recorder, http_origin, "/coded")
    assert answer.status == 503
    assert json.loads(gzip.decompress(answer.body)) == {"price": 1, "items": [{"n": 7}], "more": [True]}
    exchange = only(recorder)
    assert exchange.response is not None
    assert exchange.received_response is not None
    assert (exchange.response.status, exchange.received_response.status) == (503, 200)
    assert exchange.response.body.read() == answer.body
    assert exchange.received_response.body.read() == coded


@pytest.mark.parametrize(
    ("head", "body", "said"),
    [
        (b"Content-Encoding: gzip\r\n", b"no gzip", "cannot be decoded"),
        (b"Content-Encoding: made-up\r\n", b"abc", "is not known"),
        (b"", b"\xff\xfe\x00", "not text"),
        (b"Content-Type: application/json\r\n", b"{", "not JSON"),
        (b"", b"x" * 1_100_000, "longer than"),
    ],
)
def test_a_body_that_cannot_be_changed_goes_on_as_it_came_and_the_exchange_says_so(
    recorder: RecorderProcess, http_origin: Origin, head: bytes, body: bytes, said: str
) -> None:
    http_origin.script(
        "/odd", b"HTTP/1.1 200 OK\r\n%bTransfer-Encoding: chunked\r\n\r\n" % head + chunked_bytes([body])
    )
    put(recorder, {"handler": {"type": "passthrough", "transformResponse": {"jsonSet": {"/a": 1}}}})
    assert get(recorder, http_origin, "/odd").body == body
    exchange = only(recorder)
    assert exchange.received_response is None
    assert exchange.rules == ("rule_1",)
    assert any(said in note for note in notes_in(recorder))


def test_a_stream_of_events_is_never_held(recorder: RecorderProcess) -> None:
    put(recorder, {"handler": {"type": "passthrough", "transformResponse": {"matchReplaceBody": [["a", "b"]]}}})
    with socket.create_server(("127.0.0.1", 0)) as listener:
        authority = f"127.0.0.1:{listener.getsockname()[1]}"
        with RawClient.plain(recorder.address) as client:
            client.send(request_bytes("GET", f"http://{authority}/", host=authority))
            server, _ = listener.accept()
            with server:
                server.recv(65536)
                server.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: a\n\n")
                seen = b""
                while b"data: a\n\n" not in seen:
                    seen += client.read_exactly(1)


def test_p15_a_rewritten_url_goes_to_another_server_and_the_log_has_both_urls(
    recorder: RecorderProcess, http_origin: Origin
) -> None:
    rewrite = {"match": r"^http://old\.example/v1/(.*)$", "replaceWith": f"http://{http_origin.authority}/$1"}
    put(recorder, {"handler": {"type": "passthrough", "rewriteUrl": rewrite}})
    with RawClient.plain(recorder.address) as client:
        answer = client.get("http://old.example/v1/bytes/7?q=1", host="old.example")
    assert answer.status == 200
    received = http_origin.requests_for("/bytes/7")[0]
    assert received.header_values("Host") == [http_origin.authority]
    exchange = only(recorder)
    assert exchange.request.url == "http://old.example/v1/bytes/7?q=1"
    assert exchange.sent_request is not None
    assert exchange.sent_request.url == http_origin.url("/bytes/7?q=1")


def test_p15_forward_sends_the_same_path_to_another_server(recorder: RecorderProcess, http_origin: Origin) -> None:
    put(
        recorder,
        {"matcher": {"hostname": "API.example"}, "handler": {"type": "forward", "forwardTo": http_origin.authority}},
    )
    with RawClient.plain(recorder.address) as client:
        assert client.get("http://api.example/bytes/5", host="api.example").body == body_for("/bytes/5", 5)
    exchange = only(recorder)
    assert exchange.sent_request is not None
    assert exchange.sent_request.url == http_origin.url("/bytes/5")


def test_a_forward_to_ourselves_is_refused_and_no_loop(recorder: RecorderProcess) -> None:
    host, port = recorder.address
    put(recorder, {"handler": {"type": "forward", "forwardTo": f"{host}:{port}"}})
    with RawClient.plain(recorder.address) as client:
        answer = client.get("http://api.example/", host="api.example")
    assert answer.status in (502, 508)
    assert only(recorder).state == "failed"


def test_the_first_rule_of_a_stage_wins_and_a_passthrough_without_edits_is_an_exception(
    recorder: RecorderProcess, http_origin: Origin
) -> None:
    put(
        recorder,
        {"priority": 100, "handler": {"type": "mock", "body": "later"}},
        {"priority": 50, "handler": {"type": "mock", "body": "first"}},
        {"priority": 1, "matcher": {"pathPattern": "^/bytes"}, "handler": {"type": "passthrough"}},
    )
    assert get(recorder, http_origin, "/other").body == b"first"
    assert get(recorder, http_origin, "/bytes/4").body == body_for("/bytes/4", 4)
    assert [exchange.rules for exchange in done_count(recorder, 2)] == [("rule_2",), ("rule_3",)]


def test_times_counts_exchanges_then_the_next_rule_is_tried(recorder: RecorderProcess, http_origin: Origin) -> None:
    put(
        recorder, {"handler": {"type": "mock", "status": 503}, "times": 2}, {"handler": {"type": "mock", "status": 201}}
    )
    recorder.ask("hits")
    assert [get(recorder, http_origin, "/x").status for _ in range(4)] == [503, 503, 201, 201]
    assert recorder.ask("hits")["hits"] == {"rule_1": 2, "rule_2": 2}
    assert recorder.ask("hits")["hits"] == {}


def test_a_delay_holds_the_request(recorder: RecorderProcess, http_origin: Origin) -> None:
    put(recorder, {"handler": {"type": "passthrough", "delayMs": 300}})
    begun = time.monotonic()
    assert get(recorder, http_origin, "/bytes/1").status == 200
    assert time.monotonic() - begun >= 0.29


def test_a_rule_may_depend_on_the_response(recorder: RecorderProcess, http_origin: Origin) -> None:
    changes = {"updateHeaders": {"X-Was": "bad"}}
    put(recorder, {"matcher": {"filter": "~c 5xx"}, "handler": {"type": "passthrough", "transformResponse": changes}})
    assert get(recorder, http_origin, "/status/503").header("X-Was") == "bad"
    assert get(recorder, http_origin, "/status/404").header("X-Was") is None


def test_p16_an_invalid_set_is_refused_whole_and_the_one_before_stays(
    recorder: RecorderProcess, http_origin: Origin
) -> None:
    put(recorder, {"handler": {"type": "mock", "body": "stays"}})
    with pytest.raises(WiretapeError, match=r"rule_2: the rule's matcher\.urlPattern"):
        put(recorder, {"handler": {"type": "drop"}}, {"matcher": {"urlPattern": "("}, "handler": {"type": "drop"}})
    assert get(recorder, http_origin, "/x").body == b"stays"


def test_p16_a_change_of_rules_disturbs_no_byte_in_flight(recorder: RecorderProcess, http_origin: Origin) -> None:
    with http_origin.hold("/bytes/100000") as hold, RawClient.plain(recorder.address) as client:
        client.send(request_bytes("GET", http_origin.url("/bytes/100000"), host=http_origin.authority))
        hold.wait_reached()
        put(recorder, {"handler": {"type": "drop"}})
        with RawClient.plain(recorder.address) as other:
            other.send(request_bytes("GET", http_origin.url("/bytes/3"), host=http_origin.authority))
            with pytest.raises((ConnectionError, EOFError)):
                other.read_exactly(1)
        hold.release()
        assert client.read_response().body == body_for("/bytes/100000", 100_000)
    assert sorted(exchange.state for exchange in done_count(recorder, 2)) == ["complete", "dropped"]


def test_p15_a_kill_between_a_change_and_its_answer_leaves_what_went_to_the_server(
    new_recorder: RecorderProcess, http_origin: Origin
) -> None:
    new_recorder.record()
    put(new_recorder, {"handler": {"type": "passthrough", "transformRequest": {"updateHeaders": {"X-Mine": "1"}}}})
    with http_origin.hold("/bytes/9") as hold, RawClient.plain(new_recorder.address) as client:
        client.send(request_bytes("GET", http_origin.url("/bytes/9"), host=http_origin.authority))
        hold.wait_reached()
        new_recorder.kill()
        hold.release()
    (exchange,) = new_recorder.exchanges()
    assert (exchange.state, exchange.rules) == ("interrupted", ("rule_1",))
    assert exchange.sent_request is not None
    assert ("X-Mine", "1") in exchange.sent_request.headers
