"""Heads of HTTP/2 and HTTP/3, written as FORMAT.md says, are read by all that read heads of HTTP/1."""

from __future__ import annotations

import pytest

from wiretape.heads import content_type, fields, is_coded, pseudo_fields, start_line, status_line

REQUEST = (
    b":method: GET\r\n:scheme: https\r\n:authority: example.com\r\n:path: /a?b=c:d\r\n"
    b"accept: */*\r\ncookie: a=1\r\ncookie: b=2\r\n\r\n"
)
RESPONSE = b":status: 200\r\ncontent-type: text/html; charset=latin-1\r\nset-cookie: x\r\n\r\n"


def test_a_request_has_its_method_and_path() -> None:
    assert start_line(REQUEST) == ("GET", "/a?b=c:d", "HTTP/2")
    assert fields(REQUEST) == [("accept", "*/*"), ("cookie", "a=1"), ("cookie", "b=2")]
    assert pseudo_fields(REQUEST) == [
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", "example.com"),
        (":path", "/a?b=c:d"),
    ]


def test_connect_has_its_authority_for_a_target() -> None:
    assert start_line(b":method: CONNECT\r\n:authority: example.com:443\r\n\r\n") == (
        "CONNECT",
        "example.com:443",
        "HTTP/2",
    )


@pytest.mark.parametrize("read", [start_line, status_line])
def test_a_response_has_its_status(read: object) -> None:
    assert callable(read)
    assert read(RESPONSE) == ("HTTP/2", "200", "")
    assert fields(RESPONSE) == [("content-type", "text/html; charset=latin-1"), ("set-cookie", "x")]
    assert content_type(RESPONSE) == "text/html; charset=latin-1"
    assert is_coded(RESPONSE)


def test_heads_of_http1_have_no_pseudo_fields() -> None:
    assert pseudo_fields(b"GET / HTTP/1.1\r\n:odd: name\r\n\r\n") == []
    assert fields(b"GET / HTTP/1.1\r\nA: 1\r\n\r\n") == [("A", "1")]


@pytest.mark.parametrize("head", [b":", b":\r\n", b"::\r\n", b":method\r\n\r\n", b"", b":status: 200"])
def test_what_is_no_head_is_read_without_an_error(head: bytes) -> None:
    assert len(start_line(head)) == 3
    assert isinstance(fields(head), list)
