"""Requests that two readers could understand differently, or that HTTP forbids: each is refused, with its status."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from wiretape.errors import ProtocolError
from wiretape.wire.http1 import parse_request_head

HOST = b"Host: h\r\n"

FIELD_LINES: list[tuple[bytes, int, str]] = [
    # Lengths: RFC 9112 section 6.3, RFC 9110 section 8.6.
    (b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", 400, "both Transfer-Encoding and Content-Length"),
    (b"Transfer-Encoding: chunked\r\nContent-Length: 0\r\n", 400, "both Transfer-Encoding and Content-Length"),
    (b"Content-Length: 5\r\nContent-Length: 6\r\n", 400, "Content-Length"),
    (b"Content-Length: 5\r\ncontent-length: 5\r\n", 400, "Content-Length"),
    (b"Content-Length: 5, 5\r\n", 400, "Content-Length"),
    (b"Content-Length: 5,6\r\n", 400, "Content-Length"),
    (b"Content-Length: +5\r\n", 400, "Content-Length"),
    (b"Content-Length: -5\r\n", 400, "Content-Length"),
    (b"Content-Length: 0x5\r\n", 400, "Content-Length"),
    (b"Content-Length:  5 5 \r\n", 400, "Content-Length"),
    (b"Content-Length: 5_0\r\n", 400, "Content-Length"),
    (b"Content-Length: 5.0\r\n", 400, "Content-Length"),
    (b"Content-Length: 1e1\r\n", 400, "Content-Length"),
    (b"Content-Length:\r\n", 400, "Content-Length"),
    (b"Content-Length:\r\nContent-Length: 5\r\n", 400, "Content-Length"),
    (b"Content-Length: \xb2\r\n", 400, "Content-Length"),
    (b"Content-Length: \xd9\xa5\r\n", 400, "Content-Length"),
    (b"Content-Length: 1000000000000000000\r\n", 400, "Content-Length"),
    (b"Content-Length: 18446744073709551621\r\n", 400, "Content-Length"),
    # Transfer codings: RFC 9112 section 6.1.
    (b"Transfer-Encoding: gzip\r\n", 400, "Transfer-Encoding"),
    (b"Transfer-Encoding: identity\r\n", 400, "Transfer-Encoding"),
    (b"Transfer-Encoding:\r\n", 400, "Transfer-Encoding"),
    (b"Transfer-Encoding: chunked, chunked\r\n", 400, "Transfer-Encoding"),
    (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 400, "Transfer-Encoding"),
    (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", 400, "Transfer-Encoding"),
    (b"Transfer-Encoding: chunked, gzip\r\n", 400, "Transfer-Encoding"),
    (b"Transfer-Encoding: chunked,\r\n", 400, "Transfer-Encoding"),
    (b"Transfer-Encoding: ,chunked\r\n", 400, "Transfer-Encoding"),
    (b"Transfer-Encoding: xchunked\r\n", 400, "Transfer-Encoding"),
    (b'Transfer-Encoding: "chunked"\r\n', 400, "Transfer-Encoding"),
    (b"Transfer-Encoding: chunked;q=1\r\n", 400, "Transfer-Encoding"),
    (b"Transfer-Encoding: chunk\xe9d\r\n", 400, "Transfer-Encoding"),
    (b"Transfer-Encoding: gzip, chunked\r\n", 501, "Transfer-Encoding"),
    (b"Transfer-Encoding: \x0bchunked\r\n", 400, "control character"),
    (b"Transfer-Encoding: chunked\x00\r\n", 400, "control character"),
    # Lines: RFC 9112 sections 2.2 and 5.
    (b"Transfer-Encoding : chunked\r\n", 400, "space before its colon"),
    (b"Content-Length\t: 5\r\n", 400, "space before its colon"),
    (b" Transfer-Encoding: chunked\r\n", 400, "folded"),
    (b"X: a\r\n\tb\r\n", 400, "folded"),
    (b"X: a\nContent-Length: 5\r\n", 400, "bare CR or LF"),
    (b"X: a\rContent-Length: 5\r\n", 400, "bare CR or LF"),
    (b"X: a\r\r\n", 400, "bare CR or LF"),
    (b"X: a\x00b\r\n", 400, "control character"),
    (b"X: a\x7fb\r\n", 400, "control character"),
    (b"X: a\x1bb\r\n", 400, "control character"),
    (b"no colon\r\n", 400, "no colon"),
    (b": nameless\r\n", 400, "no token"),
    (b"X(Y): 1\r\n", 400, "no token"),
    (b"X\x00: 1\r\n", 400, "no token"),
    (b"Content-Length\xa0: 5\r\n", 400, "no token"),
    (b"\x00Transfer-Encoding: chunked\r\n", 400, "no token"),
    # Hosts: RFC 9112 section 3.2.
    (b"Host: h\r\n", 400, "Host"),
    (b"host: other\r\n", 400, "Host"),
    (b"Host:\r\n", 400, "Host"),
]


def refusal(raw: bytes) -> ProtocolError:
    with pytest.raises(ProtocolError) as caught:
        parse_request_head(raw)
    error = caught.value
    assert error.code == "protocol"
    assert error.hint
    assert error.message.isprintable()
    assert error.message.isascii()
    return error


@pytest.mark.parametrize(("field_lines", "status", "reason"), FIELD_LINES)
def test_ambiguous_fields_are_refused(field_lines: bytes, status: int, reason: str) -> None:
    for block in (HOST + field_lines, HOST + b"A: b\r\n" + field_lines + b"C: d\r\n"):
        for following in (b"", b"0\r\n\r\n"):
            error = refusal(b"POST / HTTP/1.1\r\n" + block + b"\r\n" + following)
            assert error.status == status
            assert reason in error.message


@pytest.mark.parametrize(("field_lines", "status", "reason"), FIELD_LINES)
def test_ambiguous_fields_are_refused_the_second_time_too(field_lines: bytes, status: int, reason: str) -> None:
    raw = b"POST / HTTP/1.1\r\n" + HOST + field_lines + b"\r\n"
    first, second = refusal(raw), refusal(raw)
    assert (second.status, second.message) == (first.status, first.message)


@pytest.mark.parametrize(("field_lines", "status", "reason"), FIELD_LINES)
def test_ambiguous_fields_are_refused_in_long_heads_too(field_lines: bytes, status: int, reason: str) -> None:
    error = refusal(b"POST / HTTP/1.1\r\n" + HOST + b"X: " + b"x" * 3000 + b"\r\n" + field_lines + b"\r\n")
    assert error.status == status
    assert reason in error.message


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"GET  / HTTP/1.1", 400),
        (b"GET /  HTTP/1.1", 400),
        (b" GET / HTTP/1.1", 400),
        (b"GET / HTTP/1.1 ", 400),
        (b"GET\t/\tHTTP/1.1", 400),
        (b"GET /a b HTTP/1.1", 400),
        (b"GET / ", 400),
        (b"GET /", 400),
        (b"GET", 400),
        (b"GET / http/1.1", 400),
        (b"GET / HTTP/1,1", 400),
        (b"GET / HTTP/11", 505),
        (b"GET / HTTP/1.10", 505),
        (b"GET / HTTP/1.2", 505),
        (b"GET / HTTP/0.9", 505),
        (b"GET / HTTP/2", 505),
        (b"PRI * HTTP/2.0", 505),
        (b"GET / HTTP/3.0", 505),
        (b"GE(T / HTTP/1.1", 400),
        (b"G\xc9T / HTTP/1.1", 400),
        (b"GET /\x00 HTTP/1.1", 400),
        (b"GET /\x7f HTTP/1.1", 400),
        (b"GET /\n HTTP/1.1", 400),
        (b"GET /\r HTTP/1.1", 400),
        (b"GET / HTTP/1.1\r", 400),
        (b"GET / HTTP/1.1\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"\x00", 400),
        (b"\r", 400),
        (b"\nGET / HTTP/1.1", 400),
        (b"\r\n\nGET / HTTP/1.1", 400),
        (b"\r\n\r\r\nGET / HTTP/1.1", 400),
        (b"\r\n GET / HTTP/1.1", 400),
    ],
)
def test_malformed_request_lines_are_refused(line: bytes, status: int) -> None:
    assert refusal(line + b"\r\n" + HOST + b"\r\n").status == status


def test_a_request_line_is_refused_as_soon_as_it_is_there() -> None:
    assert parse_request_head(b"GET /  HTTP/1.1\r") is None
    assert refusal(b"GET /  HTTP/1.1\r\n").status == 400


@pytest.mark.parametrize("raw", [b"GET / HTTP/1.1\nHost: h\n\n", b"GET / HTTP/1.1\r\nHost: h\n\n", b"\n", b"GET\n"])
def test_lines_that_end_with_a_bare_lf_are_refused_and_not_waited_for(raw: bytes) -> None:
    error = refusal(raw)
    assert error.status == 400
    assert "LF alone" in error.message


def test_http_1_1_needs_a_host_and_http_1_0_does_not() -> None:
    assert "no Host" in refusal(b"GET / HTTP/1.1\r\nA: b\r\n\r\n").message
    assert parse_request_head(b"GET / HTTP/1.0\r\nA: b\r\n\r\n") is not None


@pytest.mark.parametrize(
    "value",
    [
        b"a b",
        b"a,b",
        b"a/b",
        b"a@b",
        b"a?b",
        b"a\\b",
        b"a:b",
        b"a:80:80",
        b"[::1",
        b"::1",
        b"a%00b",
        b"h\xe9",
        b"[a b]",
    ],
)
def test_a_host_that_is_no_host_is_refused(value: bytes) -> None:
    assert "Host" in refusal(b"GET / HTTP/1.1\r\nHost: " + value + b"\r\n\r\n").message
    assert "Host" in refusal(b"GET / HTTP/1.0\r\nHost: " + value + b"\r\n\r\n").message


@pytest.mark.parametrize(
    "value", [b"", b"a", b"A.b-c_d.e:8080", b"127.0.0.1:1", b"[::1]", b"[fe80::1]:443", b"a:", b"a."]
)
def test_a_host_that_is_one_is_taken(value: bytes) -> None:
    head = parse_request_head(b"GET / HTTP/1.1\r\nHost: \t" + value + b" \r\n\r\n")
    assert head is not None
    assert head.host == value


def test_http_1_0_with_a_transfer_coding_is_refused() -> None:
    assert refusal(b"POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n").status == 400


@pytest.mark.parametrize("field_line", [b"Content-Length: 5", b"Transfer-Encoding: chunked"])
def test_connect_with_a_body_is_refused(field_line: bytes) -> None:
    assert "CONNECT" in refusal(b"CONNECT h:443 HTTP/1.1\r\nHost: h\r\n" + field_line + b"\r\n\r\n").message


def test_connect_needs_no_host() -> None:
    head = parse_request_head(b"CONNECT h:443 HTTP/1.1\r\n\r\n")
    assert head is not None
    assert (head.method, head.target) == ("CONNECT", "h:443")


def test_a_message_shows_hostile_bytes_as_short_printable_text() -> None:
    error = refusal(b"GET / HTTP/1.1\r\nHost: h\r\nX: \x1b[2J\x00" + b"y" * 1000 + b"\r\n\r\n")
    assert r"\x1b[2J\x00" in error.message
    assert len(error.message) < 200


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=80))
@example(b"\r\n" * 20)
@example(b"GET / HTTP/1.1\r\n\r\n\r\n")
def test_no_bytes_at_all_lead_to_anything_but_a_head_a_wait_or_a_refusal(data: bytes) -> None:
    for raw in (data, data + b"\r\n\r\n", b"GET / HTTP/1.1\r\nHost: h\r\n" + data + b"\r\n\r\n"):
        try:
            head = parse_request_head(raw)
        except ProtocolError:
            continue
        if head is not None:
            again = parse_request_head(head.forward(b"/"))
            assert again is not None
            assert (again.framing, again.content_length) == (head.framing, head.content_length)
