"""What the entries of browsers' and proxies' HARs say of an exchange."""

from __future__ import annotations

import base64
import gzip
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from wiretape.formats.foreign import ForeignExchange, LeftOut, Timings, Unreadable
from wiretape.formats.har import is_har, read_har

Item = ForeignExchange | Unreadable | LeftOut


def entry(**changes: Any) -> dict[str, Any]:
    """Give an entry as Chrome writes it, with parts changed: ``response_content`` is ``response.content``."""
    made: dict[str, Any] = {
        "_initiator": {"type": "other"},
        "cache": {},
        "request": {
            "method": "GET",
            "url": "https://example.com/a?b",
            "httpVersion": "http/1.1",
            "headers": [{"name": "Accept", "value": "*/*"}],
            "headersSize": -1,
            "bodySize": 0,
        },
        "response": {
            "status": 200,
            "statusText": "OK",
            "httpVersion": "http/1.1",
            "headers": [{"name": "Content-Type", "value": "text/plain"}],
            "content": {"size": 5, "mimeType": "text/plain", "text": "hello"},
            "headersSize": -1,
            "bodySize": 5,
        },
        "serverIPAddress": "192.0.2.1",
        "startedDateTime": "2023-03-30T00:00:54.253Z",
        "time": 42.5,
        "timings": {"blocked": 1, "dns": 2, "connect": 10, "ssl": 6, "send": 0.5, "wait": 20, "receive": 9},
    }
    for name, value in changes.items():
        part, _, key = name.partition("_")
        target = made[part] if key and part in {"request", "response"} else made
        target[key if target is not made else name] = value
    return made


def read(path: Path, *entries: Any) -> list[Item]:
    path.write_text(json.dumps({"log": {"version": "1.2", "entries": entries}}))
    with path.open("rb") as file:
        return list(read_har(file))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "x.har"


def one(path: Path, **changes: Any) -> ForeignExchange:
    item = read(path, entry(**changes))[0]
    assert isinstance(item, ForeignExchange)
    return item


def answer(path: Path, text: Any, **content: Any) -> tuple[bytes, int, bool]:
    """Give the body of an answer, its size on the wire, and whether it is lost."""
    described = {"mimeType": "text/plain", "text": text, **content}
    found = one(path, response_content=described, response_bodySize=-1).response
    assert found is not None
    return b"".join(found.body.pieces()), found.size, found.garbled


def test_an_entry_is_an_exchange_with_its_times(file: Path) -> None:
    found = one(file)
    assert (found.number, found.method, found.url, found.status, found.reason) == (
        1,
        "GET",
        "https://example.com/a?b",
        200,
        "OK",
    )
    assert (found.wall_ms, found.duration_ms, found.server, found.harmed) == (1680134454253, 42.5, "192.0.2.1", "")
    assert found.timings == Timings(dns=2, connect=4, tls=6, send=0.5, wait=20, receive=9)
    assert found.request.headers == (("Accept", "*/*"),)
    assert answer(file, "hello", size=5) == (b"hello", 5, False)


@pytest.mark.parametrize(
    ("written", "wall"),
    [
        ("2009-04-16T12:07:25.123+01:00", 1239880045123),
        ("2009-04-16T11:07:25.1234567Z", 1239880045123),
        ("2009-04-16T11:07:25", 1239880045000),
        ("1960-01-01T00:00:00Z", None),
        ("yesterday", None),
        (None, None),
        (5, None),
    ],
)
def test_a_time_of_any_kind_is_taken_or_said_to_be_none(file: Path, written: Any, wall: int | None) -> None:
    found = one(file, startedDateTime=written)
    assert (found.wall_ms, found.harmed) == (wall, "" if wall else "its times are none")


def test_the_handshake_is_beside_the_connection_where_the_sum_says_so(file: Path) -> None:
    timings = {"connect": 3, "ssl": 2, "send": 1, "wait": 4, "receive": 5, "dns": -1, "blocked": None}
    assert one(file, time=15, timings=timings).timings.connect == 3
    assert one(file, time=13, timings=timings).timings.connect == 1
    found = one(file, time=-1, timings=timings)
    assert (found.duration_ms, found.timings.dns) == (13, None)


def test_times_beyond_those_of_the_log_are_none(file: Path) -> None:
    huge = dict.fromkeys(("dns", "connect", "ssl", "send", "wait", "receive"), 9e12)
    assert one(file, time=9e15, timings=huge).duration_ms is None
    assert one(file, time=None, timings=dict.fromkeys(huge, 9e15)).timings == Timings()


@pytest.mark.parametrize(
    ("written", "version"),
    [("h2", "2"), ("HTTP/2.0", "2"), ("http/2", "2"), ("h3", "3"), ("HTTP/1.0", "1.0"), ("", "1.1"), ("\n", "1.1")],
)
def test_the_version_is_taken_whoever_wrote_it(file: Path, written: str, version: str) -> None:
    found = one(file, request_httpVersion=written, response_httpVersion=written)
    assert found.response is not None
    assert {found.request.version, found.response.version} == {f"HTTP/{version}"}


def test_pseudo_headers_are_the_request_line_and_the_host(file: Path) -> None:
    pseudo = [{"name": name, "value": "v"} for name in (":authority", ":method", ":path", ":scheme")]
    assert one(file, request_headers=[*pseudo, {"name": "a", "value": "b"}]).request.headers == (
        ("host", "v"),
        ("a", "b"),
    )
    named = [*pseudo, {"name": "Host", "value": "w"}]
    assert one(file, request_headers=named).request.headers == (("Host", "w"),)


def test_headers_that_come_again_in_other_entries_are_what_they_were(file: Path) -> None:
    headers: list[Any] = [
        {"name": ":authority", "value": "v"},
        {"name": "a", "value": "b"},
        {"name": "a", "value": "b"},
        {"name": "Set-Cookie", "value": "c=1\nd=2"},
        {"name": "bad", "value": ["no", "text"]},
    ]
    found = read(file, *(entry(request_headers=headers) for _ in range(3)))
    assert len(found) == 3
    for item in found:
        assert isinstance(item, ForeignExchange)
        assert item.request.headers == (
            *[("host", "v"), ("a", "b"), ("a", "b")],
            *[("Set-Cookie", "c=1"), ("Set-Cookie", "d=2")],
        )
        assert item.harmed == "some of its headers are none"


def test_headers_that_a_browser_has_put_together_come_apart(file: Path) -> None:
    cookies = [{"name": "set-cookie", "value": "a=1\nb=2"}]
    found = one(file, response_headers=cookies).response
    assert found is not None
    assert found.headers == (("set-cookie", "a=1"), ("set-cookie", "b=2"))


@pytest.mark.parametrize("headers", [[{"name": "a", "value": "b"}, {"nome": 1}], [["a", "b"], 5], "text", {"a": {}}])
def test_headers_that_are_none_cost_themselves_alone(file: Path, headers: Any) -> None:
    found = one(file, request_headers=headers)
    assert found.harmed == "some of its headers are none"
    assert found.request.headers in {(("a", "b"),), ()}


def test_one_header_that_is_none_leaves_those_around_it(file: Path) -> None:
    broken = [{"name": "A"}, {"name": "B", "value": "2"}, {"value": "x"}, {"name": "C", "value": ["list"]}, 7, "ab"]
    found = one(file, request_headers=[*broken, {"name": "Set-Cookie", "value": "s=1"}])
    assert found.request.headers == (("B", "2"), ("Set-Cookie", "s=1"))
    assert found.harmed == "some of its headers are none"
    assert one(file, request_headers=["A", "1", "B"]).request.headers == (("A", "1"),)


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("5", "5"),
        ("1234567890123", "1234567890123"),
        ("123456789012345678901234567890", "123456789012345678901234567890"),
        ("-1", "-1"),
        ("1.5", "1.5"),
        ("true", "true"),
        ("false", "false"),
        ("null", ""),
        ('"5"', "5"),
    ],
)
def test_p12_header_values_that_are_no_texts_are_what_json_has_for_them(file: Path, written: str, text: str) -> None:
    made = json.dumps({"log": {"entries": [entry(request_headers=[{"name": "A", "value": "HERE"}])]}})
    file.write_text(made.replace('"HERE"', written))
    with file.open("rb") as opened:
        found = next(iter(read_har(opened)))
    assert isinstance(found, ForeignExchange)
    assert (found.request.headers, found.harmed) == ((("A", text),), "")


def test_a_number_too_long_for_python_costs_nothing_but_its_digits(file: Path) -> None:
    file.write_text(json.dumps({"log": {"entries": [entry(comment="HERE")]}}).replace('"HERE"', "9" * 5000))
    with file.open("rb") as opened:
        assert isinstance(next(iter(read_har(opened))), ForeignExchange)


def test_p12_all_characters_of_names_values_and_urls_are_kept_but_those_that_end_lines(file: Path) -> None:
    kept = "\t" + "".join(map(chr, range(0x80, 0x100))) + "\u200b\u200d\u2028\ufeff\ue000é日"
    url = f"https://example.com/{kept}"
    found = one(file, request_url=f" {url} ", request_headers=[{"name": "X", "value": kept}], response_statusText=kept)
    assert (found.request.headers, found.url, found.reason) == ((("X", kept),), url, kept)
    ends = one(file, request_headers=[{"name": "A\r\nB", "value": "1\r2\x003\x7f"}])
    assert ends.request.headers == (("A  B", "1 2 3 "),)


def test_a_form_is_made_of_its_parameters_as_they_are(file: Path) -> None:
    posted = {"mimeType": "x", "params": [{"name": "a\nb", "value": "\x85"}, {"name": "n", "value": 5}]}
    found = one(file, request_postData=posted, request_bodySize=len(b"a%0Ab=%C2%85&n=5"))
    assert b"".join(found.request.body.pieces()) == b"a%0Ab=%C2%85&n=5"


def test_a_body_of_base64_is_its_bytes(file: Path) -> None:
    body = bytes(range(256)) * 3
    text = base64.b64encode(body).decode()
    assert answer(file, text, encoding="base64", size=len(body)) == (body, len(body), False)
    wrapped = "\r\n".join(text[at : at + 76] for at in range(0, len(text), 76)).rstrip("=")
    assert answer(file, wrapped, encoding="BASE64", size=-1)[0] == body
    for wrong in ("?", "A", "AA=A", "A===A"):
        found = one(file, response_content={"text": wrong, "encoding": "base64", "size": 9})
        assert found.response is not None
        assert (found.response.body.size, found.response.size, found.harmed) == (0, 9, "a body is not base64")


def test_a_text_is_the_bytes_that_its_size_tells(file: Path) -> None:
    latin = "text/html; charset=iso-8859-1"
    assert answer(file, "caf\u00e9", mimeType=latin, size=4)[0] == b"caf\xe9"
    assert answer(file, "caf\u00e9", mimeType=latin, size=5)[0] == b"caf\xc3\xa9"
    assert answer(file, "caf\u00e9", mimeType=latin, size=-1)[0] == b"caf\xc3\xa9"
    # Bytes that were shown one by one, as mitmproxy does; its own size counts them with their encoding.
    assert answer(file, "\x00\x80\xff", mimeType="application/octet-stream", size=3)[0] == b"\x00\x80\xff"
    assert answer(file, "\x80\xff", mimeType="application/json", size=2)[0] == "\x80\xff".encode()
    assert answer(file, "\x80" * 9, mimeType="", size=5, compression=4)[0] == b"\x80" * 9
    assert answer(file, "a\udcffb", size=3)[0] == b"a\xffb"
    assert answer(file, "x" * 10, size=1000) == (b"x" * 10, 1000, False)


def test_a_text_of_what_was_none_is_not_taken_for_the_body(file: Path) -> None:
    assert answer(file, "a\ufffdb", size=3) == (b"", 3, True)
    assert answer(file, "a\ufffdb", size=5) == ("a\ufffdb".encode(), 5, False)
    assert answer(file, "a\ud83d", size=3) == (b"", 3, True)


def test_a_body_without_its_content_encoding_says_so(file: Path) -> None:
    coded = [{"name": "Content-Encoding", "value": "gzip"}]
    found = one(file, response_headers=coded).response
    assert found is not None
    assert found.decoded
    packed = gzip.compress(b"hello")
    content = {"text": base64.b64encode(packed).decode(), "encoding": "base64", "size": 5}
    found = one(file, response_headers=coded, response_content=content, response_bodySize=len(packed)).response
    assert found is not None
    assert (found.decoded, b"".join(found.body.pieces())) == (False, packed)


def test_a_body_that_is_not_there_has_its_size(file: Path) -> None:
    found = one(file, response_content={"size": 900, "mimeType": "image/png"}, response_bodySize=800).response
    assert found is not None
    assert (found.body.size, found.size, found.garbled) == (0, 800, False)


def test_what_a_cache_gave_to_a_304_is_no_body(file: Path) -> None:
    items = read(file, entry(response_status=304))
    assert isinstance(items[0], ForeignExchange)
    assert items[0].response is not None
    assert items[0].response.body.size == items[0].response.size == 0
    assert isinstance(items[1], LeftOut)


@pytest.mark.parametrize(
    ("params", "size", "body"),
    [
        ([{"name": "a", "value": "b%20c"}, {"name": "d", "value": ""}], 11, b"a=b%20c&d="),
        ([{"name": "a", "value": "b c"}], 5, b"a=b+c"),
        ([{"name": "a", "value": "\u00e9"}], 8, b"a=%C3%A9"),
        ([{"name": "a", "value": "b"}], 900, None),
    ],
)
def test_a_form_is_made_of_its_parameters_where_the_length_is_right(
    file: Path, params: Any, size: int, body: bytes | None
) -> None:
    size = len(body) if body else size
    found = one(file, request_postData={"mimeType": "x", "params": params}, request_bodySize=size).request
    assert (b"".join(found.body.pieces()), found.garbled) == (body or b"", body is None)


def test_a_request_body_comes_in_as_text_and_as_base64(file: Path) -> None:
    posted = {"mimeType": "application/json", "text": '{"a": "\u00e9"}', "params": []}
    found = one(file, request_postData=posted, request_bodySize=11).request
    assert b"".join(found.body.pieces()) == '{"a": "\u00e9"}'.encode()
    coded = {"mimeType": "", "text": "AAEC", "encoding": "base64"}
    assert b"".join(one(file, request_postData=coded).request.body.pieces()) == b"\x00\x01\x02"


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"response_status": 0, "response__error": "net::ERR_ABORTED"}, "response: net::ERR_ABORTED"),
        ({"response": None}, "no response"),
        ({"response": {}}, "no response"),
    ],
)
def test_without_a_status_there_was_no_answer(file: Path, changes: Any, error: str) -> None:
    found = one(file, **changes)
    assert (found.status, found.response, found.harmed) == (None, None, "")
    assert found.error.endswith(error)


@pytest.mark.parametrize("url", ["data:image/png;base64,AAAA", "blob:https://a/b", "chrome-extension://a/b.js"])
def test_what_was_never_sent_is_left_out(file: Path, url: str) -> None:
    items = read(file, entry(request_url=url))
    assert len(items) == 1
    assert isinstance(items[0], LeftOut)
    assert items[0].exchange


def test_messages_of_a_websocket_come_with_their_times_and_bytes_and_what_is_none_is_counted(file: Path) -> None:
    began = {"startedDateTime": "2026-11-27T10:00:00.000Z"}
    second = datetime(2026, 11, 27, 10, 0, 1, tzinfo=UTC).timestamp()
    messages: list[Any] = [
        {"type": "send", "time": second, "opcode": 1, "data": "hi ü"},
        {"type": "receive", "time": second + 0.5, "opcode": 2, "data": "AP8="},
        {"type": "receive", "opcode": 2, "data": "no base64!"},
        {"type": "other", "data": "x"},
        5,
    ]
    items = read(file, entry(request_url="wss://a/b", _webSocketMessages=messages, **began))
    assert isinstance(items[0], ForeignExchange)
    told = [(one.from_server, one.at_ms, one.opcode, b"".join(one.body.pieces())) for one in items[0].messages]
    assert told == [(False, 1000.0, 1, "hi ü".encode()), (True, 1500.0, 2, b"\x00\xff")]
    assert items[1] == LeftOut("messages of WebSockets could not be read", 3)


@pytest.mark.parametrize("method", ["", "G ET", None, 5, "GET\r\nHost: evil"])
def test_an_entry_without_a_method_is_named_and_the_next_is_read(file: Path, method: Any) -> None:
    items = read(file, entry(request_method=method), entry())
    assert isinstance(items[0], Unreadable)
    assert isinstance(items[1], ForeignExchange)


@pytest.mark.parametrize(
    ("beginning", "har"),
    [
        (b'{"log":{"version":"1.2"', True),
        (b'\xef\xbb\xbf\r\n{\n "log" : {', True),
        (b'[{"startedDateTime":"x"', True),
        (b'{"seq":1,"exchange":{}}', False),
        (b"", False),
        (b'%PDF "log":', False),
    ],
)
def test_a_har_is_known_by_its_beginning(beginning: bytes, har: bool) -> None:
    assert is_har(beginning) is har
