"""Heads of HTTP/2 as they are recorded, and as HTTP/1.1 has them; what a smuggler would try is refused."""

from __future__ import annotations

from typing import Any

import pytest

from wiretape.errors import ProtocolError
from wiretape.wire.h2 import Fields
from wiretape.wire.h2_head import (
    field_lines,
    h2_request_fields,
    h2_request_head,
    h2_response_fields,
    h2_response_head,
    h2_trailer_fields,
)
from wiretape.wire.http1 import CHUNKED, LENGTH, NO_BODY, parse_request_head, parse_response_head

Pairs = list[tuple[bytes, bytes]]

GET: Pairs = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"a.example"), (b":path", b"/p?q")]
POST: Pairs = [(b":method", b"POST"), *GET[1:]]


def test_a_request_is_recorded_line_by_line_as_it_came() -> None:
    head = h2_request_head([*GET, (b"a", b"1"), (b"a", b""), (b"cookie", b"x=\xff")], True)
    assert head.raw == (
        b":method: GET\r\n:scheme: https\r\n:authority: a.example\r\n:path: /p?q\r\n"
        b"a: 1\r\na: \r\ncookie: x=\xff\r\n\r\n"
    )
    assert (head.method, head.target, head.host) == ("GET", "/p?q", b"a.example")
    assert head.headers() == [(b"a", b"1"), (b"a", b""), (b"cookie", b"x=\xff")]


@pytest.mark.parametrize(
    ("fields", "end", "framing", "line"),
    [
        (GET, True, NO_BODY, b""),
        (POST, True, NO_BODY, b"Content-Length: 0\r\n"),
        ([*POST, (b"content-length", b"5")], False, LENGTH, b"Content-Length: 5\r\n"),
        ([*POST, (b"content-length", b"0")], True, NO_BODY, b"Content-Length: 0\r\n"),
        (POST, False, CHUNKED, b"Transfer-Encoding: chunked\r\n"),
    ],
)
def test_a_request_for_http1_says_where_its_body_ends(fields: Fields, end: bool, framing: int, line: bytes) -> None:
    head = h2_request_head(fields, end)
    assert head.framing == framing
    forwarded = head.forward(b"/p?q")
    assert forwarded == b"%b /p?q HTTP/1.1\r\nHost: a.example\r\n%b\r\n" % (head.method.encode(), line)
    parsed = parse_request_head(forwarded)
    assert parsed is not None
    assert (parsed.framing, parsed.content_length) == (framing, head.content_length)


def test_cookies_become_one_field_and_te_needs_connection_in_http1() -> None:
    head = h2_request_head([*GET, (b"cookie", b"a=1"), (b"te", b"trailers"), (b"cookie", b"b=2")], True)
    assert head.forward(b"/", host=b"b.example") == (
        b"GET / HTTP/1.1\r\nHost: b.example\r\nTE: trailers\r\nConnection: TE\r\ncookie: a=1; b=2\r\n\r\n"
    )


@pytest.mark.parametrize(("value", "waits"), [(b"100-continue", True), (b"100-Continue", True), (b"other", False)])
def test_a_client_that_waits_for_100_is_known(value: bytes, waits: bool) -> None:
    assert h2_request_head([*GET, (b"expect", value)], False).expect_continue is waits
    assert not h2_request_head(GET, False).expect_continue


def test_the_host_field_stands_in_for_a_missing_authority() -> None:
    fields = [*GET[:2], GET[3], (b"host", b"b.example")]
    assert h2_request_head(fields, True).forward(b"/") == b"GET / HTTP/1.1\r\nHost: b.example\r\n\r\n"


SMUGGLED: dict[str, Pairs] = {
    "CR LF in a value": [*GET, (b"a", b"1\r\nb: 2")],
    "a request in a value": [*GET, (b"a", b"1\r\n\r\nGET /admin HTTP/1.1\r\nHost: a")],
    "LF in a value": [*GET, (b"a", b"1\nb: 2")],
    "CR in a value": [*GET, (b"a", b"1\rb: 2")],
    "NUL in a value": [*GET, (b"a", b"1\x00")],
    "CR LF in a name": [*GET, (b"a: 1\r\nb", b"2")],
    "a colon in a name": [*GET, (b"a: 1", b"2")],
    "transfer-encoding by a colon": [*GET, (b"transfer-encoding:", b"chunked")],
    "a space in a name": [*GET, (b"content-length ", b"2")],
    "a comma in a name": [*GET, (b"a,b", b"2")],
    "an upper-case name": [*GET, (b"Content-Length", b"2")],
    "an empty name": [*GET, (b"", b"2")],
    "CR LF in the path": [*GET[:3], (b":path", b"/ HTTP/1.1\r\nx: y")],
    "a space in the path": [*GET[:3], (b":path", b"/ HTTP/1.1")],
    "a path that is none": [*GET[:3], (b":path", b"https://b.example/")],
    "an empty path": [*GET[:3], (b":path", b"")],
    "a space in the method": [(b":method", b"GET / HTTP/1.1"), *GET[1:]],
    "an empty method": [(b":method", b""), *GET[1:]],
    "user information in the authority": [*GET[:2], (b":authority", b"u:p@a.example"), GET[3]],
    "a path in the authority": [*GET[:2], (b":authority", b"a.example/x"), GET[3]],
    "CR LF in the authority": [*GET[:2], (b":authority", b"a\r\nx: y"), GET[3]],
    "another host": [*GET, (b"host", b"b.example")],
    "two hosts": [*GET[:2], GET[3], (b"host", b"a.example"), (b"host", b"b.example")],
    "two lengths": [*POST, (b"content-length", b"1"), (b"content-length", b"2")],
    "a length with a sign": [*POST, (b"content-length", b"+1")],
    "a list of lengths": [*POST, (b"content-length", b"1, 1")],
    "a pseudo-header field behind others": [*GET[:3], (b"a", b"1"), GET[3]],
    "a repeated pseudo-header field": [*GET, (b":path", b"/other")],
}


@pytest.mark.parametrize("name", SMUGGLED)
def test_what_http1_would_read_otherwise_is_refused(name: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        h2_request_head(SMUGGLED[name], False)
    assert caught.value.status == 400
    assert caught.value.message.isprintable()


def test_a_body_that_is_announced_and_does_not_come_is_refused() -> None:
    with pytest.raises(ProtocolError):
        h2_request_head([*POST, (b"content-length", b"2")], True)


def test_transfer_encoding_does_not_reach_http1() -> None:
    head = h2_request_head([*POST, (b"transfer-encoding", b"chunked"), (b"connection", b"x"), (b"x", b"1")], False)
    assert b"connection" not in head.forward(b"/")
    assert head.forward(b"/").lower().count(b"transfer-encoding") == 1


@pytest.mark.parametrize(
    ("status", "extra", "method", "end", "expected"),
    [
        (b"200", [(b"content-length", b"3")], "GET", False, b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n"),
        (b"200", [], "GET", True, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        (b"200", [], "GET", False, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (b"200", [(b"content-length", b"3")], "HEAD", True, b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n"),
        (b"204", [], "GET", True, b"HTTP/1.1 204 No Content\r\n\r\n"),
        (b"304", [], "GET", True, b"HTTP/1.1 304 Not Modified\r\n\r\n"),
        (b"103", [(b"link", b"x")], "GET", False, b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"),
        (b"799", [], "GET", True, b"HTTP/1.1 799 \r\nContent-Length: 0\r\n\r\n"),
    ],
)
def test_a_response_for_http1_says_where_its_body_ends(
    status: bytes, extra: Pairs, method: str, end: bool, expected: bytes
) -> None:
    head = h2_response_head([(b":status", status), *extra], method, end)
    assert head.forward() == expected
    assert parse_response_head(expected, method) is not None


@pytest.mark.parametrize(
    "fields", [[], [(b":status", b"20")], [(b":status", b"abc")], [(b"a", b"1")], [(b":status", b"099")]]
)
def test_a_response_without_a_status_is_refused(fields: Fields) -> None:
    with pytest.raises(ProtocolError) as caught:
        h2_response_head(fields, "GET", True)
    assert caught.value.status == 502


def test_a_request_of_http1_loses_what_belongs_to_its_connection() -> None:
    head: Any = parse_request_head(
        b"POST http://a.example/x HTTP/1.1\r\nHost: a.example\r\nX-A: 1\r\nConnection: X-B\r\nX-B: 1\r\n"
        b"TE: trailers, gzip\r\nKeep-Alive: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    assert h2_request_fields(head, "https", b"/x", b"a.example") == [
        (b":method", b"POST"),
        (b":scheme", b"https"),
        (b":authority", b"a.example"),
        (b":path", b"/x"),
        (b"x-a", b"1"),
        (b"te", b"trailers"),
    ]


def test_a_response_of_http1_loses_what_belongs_to_its_connection() -> None:
    head: Any = parse_response_head(
        b"HTTP/1.1 200 Fine\r\nX-A:  1 \r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n", "GET"
    )
    assert h2_response_fields(head) == [(b":status", b"200"), (b"x-a", b"1")]


def test_what_came_over_http2_goes_on_over_http2_as_it_came() -> None:
    fields = [*GET, (b"cookie", b"a"), (b"cookie", b"b")]
    head = h2_request_head(fields, True)
    assert h2_request_fields(head, "https", b"/p?q", None) is fields
    changed = h2_request_fields(head, "https", b"/other", b"b.example")
    assert [value for name, value in changed if name in (b":path", b":authority")] == [b"b.example", b"/other"]
    response = [(b":status", b"200"), (b"a", b"1")]
    assert h2_response_fields(h2_response_head(response, "GET", True)) is response


def test_trailers_of_http1_lose_what_frames_a_message() -> None:
    assert h2_trailer_fields(b"X-Sum: 1\r\nContent-Length: 3\r\nConnection: x\r\n") == [(b"x-sum", b"1")]
    assert field_lines([(b"x-sum", b"1"), (b"b", b"")]) == b"x-sum: 1\r\nb: \r\n"
