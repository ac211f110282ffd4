"""What an index reads of raw heads: start lines, content types, and whether a text is coded."""

from __future__ import annotations

import pytest

from wiretape.heads import content_facts, content_type, is_coded, start_line

STATUS = b"HTTP/1.1 200 OK\r\n"
LONG = b"text/plain; boundary=" + b"b" * 300


@pytest.mark.parametrize(
    ("lines", "kind", "coded"),
    [
        (b"", None, False),
        (b"Content-Length: 3\r\n", None, False),
        (b"Content-Encoding: gzip\r\n", None, True),
        (b"Content-Encoding: identity\r\n", None, False),
        (b"Content-Type: application/json\r\n", "application/json", False),
        (b"CONTENT-TYPE : text/html \r\n", "text/html", False),
        (b"content-type:text/html; charset=UTF-8\r\n", "text/html; charset=UTF-8", False),
        (b"Content-Type: text/html; charset=latin-1\r\n", "text/html; charset=latin-1", True),
        (b"Content-Type: application/grpc+proto\r\n", "application/grpc+proto", True),
        (b"Content-Type: text/html\r\nContent-Encoding: br\r\n", "text/html", True),
        (b"Content-Encoding: br\r\nContent-Type: text/html\r\n", "text/html", True),
        (b"Content-Type: text/html\r\nContent-Type: a/b; charset=koi8-r\r\n", "text/html", True),
        (b"Content-Type-Hint: text/html\r\n", None, False),
        (b"Content-Type-Hint: a/b\r\nContent-Type: c/d\r\n", "c/d", False),
        (b"Content-Type: " + LONG + b"\r\n", LONG.decode(), False),
        (b"Accept-Charset: latin-1\r\nContent-Type: text/html\r\n", "text/html", False),
    ],
)
def test_the_type_of_a_body_and_whether_its_text_is_coded(lines: bytes, kind: str | None, coded: bool) -> None:
    for head in (STATUS + lines + b"\r\n", STATUS + lines):
        for _ in range(2):  # lines are remembered
            assert content_facts(head) == (kind, coded)
        assert content_type(head) == kind
        assert is_coded(head) is coded


@pytest.mark.parametrize(
    ("head", "parts"),
    [
        (b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n", ("GET", "/a", "HTTP/1.1")),
        (b"GET /a b c\n", ("GET", "/a", "b c")),
        (b"GET", ("GET", "", "")),
        (b"GET /caf\xc3\xa9 HTTP/1.1", ("GET", "/café", "HTTP/1.1")),
        (b"GET /\xff\r\n", ("GET", "/ÿ", "")),
        (b"", ("", "", "")),
    ],
)
def test_a_start_line_has_three_parts_whatever_it_lacks(head: bytes, parts: tuple[str, str, str]) -> None:
    assert start_line(head) == parts
