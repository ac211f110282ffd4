"""Protocols are told apart by their first bytes, never too early."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wiretape.wire.sniff import Kind, classify

FIRST_BYTES = [
    (b"GET / HTTP/1.1\r\n", Kind.HTTP1),
    (b"P / HTTP/1.1\r\n", Kind.HTTP1),
    (b"PRI * HTTP/1.1\r\n", Kind.HTTP1),
    (b"PROPFIND / HTTP/1.1\r\n", Kind.HTTP1),
    (b"CONNECT example.com:443 HTTP/1.1\r\n", Kind.HTTP1),
    (b"\r\nGET / HTTP/1.1\r\n", Kind.HTTP1),
    (b"M-SEARCH * HTTP/1.1\r\n", Kind.HTTP1),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Kind.HTTP2),
    (b"\x16\x03\x01\x02\x00\x01", Kind.TLS),
    (b"\x16\x03\x03\x00", Kind.TLS),
    (b"\x05\x01\x00", Kind.SOCKS5),
    (b"\x05", Kind.SOCKS5),
    (b"\x16\x02", Kind.UNKNOWN),
    (b"\x04\x01\x00\x50", Kind.SOCKS4),
    (b"\x04", Kind.SOCKS4),
    (b"\x80\x2e\x01\x00\x02", Kind.UNKNOWN),
    (b"\x00", Kind.UNKNOWN),
    (b" GET / HTTP/1.1\r\n", Kind.UNKNOWN),
    (b"GET\t/ HTTP/1.1\r\n", Kind.UNKNOWN),
    (b"HELLO\r\n", Kind.UNKNOWN),
    (b"SSH-2.0-client\r\n", Kind.UNKNOWN),
    (b"EHLO\r\n", Kind.UNKNOWN),
    (b"A" * 33, Kind.UNKNOWN),
    (b"{", Kind.UNKNOWN),
]


@pytest.mark.parametrize(("data", "kind"), FIRST_BYTES)
def test_a_protocol_is_known_by_its_first_bytes(data: bytes, kind: Kind) -> None:
    assert classify(data) is kind


@pytest.mark.parametrize(("data", "kind"), FIRST_BYTES)
def test_cut_anywhere_it_is_not_known_yet_or_already_right(data: bytes, kind: Kind) -> None:
    assert all(classify(data[:size]) in {None, kind} for size in range(len(data)))


@pytest.mark.parametrize(
    "data", [b"", b"G", b"PRI", b"PRI ", b"PRI * HTTP/2.0", b"\r\n", b"\r\n\r", b"\x16", b"A" * 32]
)
def test_too_few_bytes_are_waited_for(data: bytes) -> None:
    assert classify(data) is None


@settings(deadline=None)
@given(st.binary(max_size=60), st.binary(max_size=10))
def test_more_bytes_never_change_the_answer(data: bytes, more: bytes) -> None:
    kind = classify(data)
    assert kind is None or classify(data + more) is kind
    assert classify(data.lstrip(b"\r\n") + b" " * 33) is not None
