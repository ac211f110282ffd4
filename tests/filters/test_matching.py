"""What filters say of exchanges; the first table is mitmproxy's own behaviour, run with its flowfilter."""

from __future__ import annotations

import pytest

from tests.filters.flows import Flow, request, response
from wiretape.filters.exchange import Verdict
from wiretape.filters.parse import parse

Q, S = request(), response()
JSON = response(response_headers=(("Content-Type", "application/json"),), response=b'{"data":{"state":"ok","n":[1,2]}}')
IMAGE = response(response_headers=(("content-type", "image/png"),), response=b"\x89PNG")
TYPED = request(request_headers=(("Content-Type", "text/json"),))
CYRILLIC = response(response="яч".encode())


@pytest.mark.parametrize(
    ("expression", "flow", "found"),
    [
        ("~http", Q, True), ("~all", Q, True),
        ("~q", Q, True), ("~q", S, False), ("~s", Q, False), ("~s", S, True),
        ("~a", S, False), ("~a", IMAGE, True), ("~a", JSON, False),
        ("~t content", Q, False), ("~t json", TYPED, True), ("~tq json", TYPED, True), ("~ts json", TYPED, False),
        ("~t json", JSON, True), ("~ts json", JSON, True), ("~tq json", JSON, False),
        ("~h nonexistent", Q, False), ("~h qvalue", Q, True), ("~h header", Q, True), ("~h 'header: qvalue'", Q, True),
        ("~h 'header: qvalue'", S, True), ("~h 'header-response: svalue'", S, True),
        ("~hq 'header: qvalue'", S, True), ("~hq 'header-response: svalue'", S, False),
        ("~hs 'header: qvalue'", S, False), ("~hs 'header-response: svalue'", S, True),
        ("~hs 'header: qvalue'", Q, False),
        ("~h '^content-length: 7'", Q, True), ("~h HEADER", Q, True),
        ("~b nonexistent", Q, False), ("~b content", Q, True), ("~b message", S, True), ("~b message", Q, False),
        ("~bq nomatch", S, False), ("~bq content", Q, True), ("~bq content", S, True), ("~bq message", S, False),
        ("~bs nomatch", S, False), ("~bs content", S, False), ("~bs message", Q, False), ("~bs message", S, True),
        ("~bs яч", CYRILLIC, True), ("~b MESSAGE", S, True), ("~b mes.age", S, True), ("~b ^message$", S, True),
        ("~m get", Q, True), ("~m post", Q, False), ("~m oink", Q, False), ("~m GE", Q, True),
        ("~d address", Q, True), ("~d none", Q, False), ("~d ADDR", Q, True),
        ("~u address", Q, True), ("~u address:22/path", Q, True), ("~u moo", Q, False), ("address", Q, True),
        ("~u ^https", Q, False), ("~u /path$", Q, True), ("moo", Q, False),
        ("~c 200", S, True), ("~c 201", S, False), ("~c 200", Q, False), ("!~c 200", Q, True), ("!~c 200", S, False),
        ("~src 127.0.0.1", Q, True), ("~src foobar", Q, False), ("~src :22", Q, True), ("~src :99", Q, False),
        ("~dst address:22", S, True), ("~dst :99", S, False),
        ("!~c 201 !~c 202", S, True), ("!~c 201 ~c 201", S, False),
        ("!~c 200 & ~c 200", S, False), ("!~c 200 | ~c 200", S, True), ("!~c 201 & !~c 202", S, True),
        ("(~c 200 | ~c 201) & ~m get", S, True), ("~c 200 | ~c 201 ~m post", S, False),
        ("~websocket", S, False), ("~replay", S, False), ("~e", S, False),
    ],
)  # fmt: skip
def test_what_users_of_mitmproxy_know_means_the_same(expression: str, flow: Flow, found: bool) -> None:
    assert parse(expression).matches(flow) is found


NOT_FOUND = response(status=404)
SLOW = response(milliseconds=1500.0)
RUNNING = request(state="inFlight", milliseconds=None)


@pytest.mark.parametrize(
    ("expression", "flow", "found"),
    [
        ("~c 4xx", NOT_FOUND, True), ("~c 4XX", S, False), ("~c >=400", NOT_FOUND, True), ("~c >=400", S, False),
        ("~c 200..299", S, True), ("~c 200,404", NOT_FOUND, True), ("~c <300", S, True), ("~c >404", NOT_FOUND, False),
        ("~err", NOT_FOUND, True), ("~err", response(status=503), True), ("~err", S, False),
        ("~err", request(state="failed"), True), ("~err", request(state="interrupted"), False),
        ("~err", response(says=True), True), ("~err", response(status=302, says=True), False),
        ("~st interrupted", request(state="interrupted"), True), ("~st INFLIGHT", RUNNING, True),
        ("~st in-flight", RUNNING, True), ("~st failed", S, False), ("~st damaged", response(damaged=True), True),
        ("~ms >1000", SLOW, True), ("~ms >1s", SLOW, True), ("~ms >1500", SLOW, False), ("~ms >=1500", SLOW, True),
        ("~ms <1000", SLOW, False), ("~ms 1000..2000", SLOW, True), ("~ms >0", RUNNING, False),
        ("!~ms >0", RUNNING, True),
        ("~size >6", S, True), ("~size >7", S, False), ("~size <8", S, True), ("~size >100k", S, False),
        ("~sizeq >6", Q, True), ("~sizes >6", Q, False), ("~sizes 0", Q, True),
        ("~size >1ki", response(response=b"x" * 1024), False), ("~size >1k", response(response=b"x" * 1024), True),
        ("~json /data/state=ok", JSON, True), ("~json /data/state=no", JSON, False), ("~json /data/state", JSON, True),
        ("~json /data/n/1=2", JSON, True), ("~json /data/n/*=2", JSON, True), ("~json /data/n/7=2", JSON, False),
        ("~json /*/state=ok", JSON, True), ("~json /data=ok", JSON, False), ("~json /x", S, False),
        ("~json /b=true", response(response=b'{"b":true}'), True),
        ("~json /b=1", response(response=b'{"b":true}'), False),
        ("~json /b=null", response(response=b'{"b":null}'), True),
        ("~json '/a~1b=1'", response(response=b'{"a/b":1}'), True),
        ("~json /a", response(response=b"[" * 100_000), False),
        ("~host address", Q, True), ("~host dress", Q, False),
        ("~host example.com", request(host="api.example.com"), True),
        ("~host example.com", request(host="notexample.com"), False),
        ("~host EXAMPLE.com", request(host="example.com"), True),
        ("~seq 7", Q, True), ("~seq 8..", Q, False), ("~seq ..7", Q, True), ("~seq 1,3..9", Q, True),
        ("~source explicit,connect", Q, True), ("~source import", Q, False),
        ("~replay", request(source="replay"), True),
        ("~websocket", response(status=101, response_headers=(("Upgrade", "WebSocket"),)), True),
        ("~websocket", response(status=101, response_headers=(("Upgrade", "h2c"),)), False),
        ("~websocket", request(url="wss://address/x"), True),
        ("~e", request(state="aborted"), True), ("~e", RUNNING, False),
    ],
)  # fmt: skip
def test_what_was_added_to_the_language(expression: str, flow: Flow, found: bool) -> None:
    assert parse(expression).matches(flow) is found


CUT = response(cut=True)


@pytest.mark.parametrize(
    ("expression", "verdict"),
    [
        ("~bs message", True),
        ("~bs token", None),
        ("!~bs token", None),
        ("~bs token & ~c 404", False),
        ("~bs token | ~c 200", True),
        ("~bs token & ~c 200", None),
        ("!~bs message", False),
        ("~json /a", None),
    ],
)
def test_p11_what_is_not_recorded_is_neither_found_nor_denied(expression: str, verdict: Verdict) -> None:
    assert parse(expression).matches(CUT) is verdict
