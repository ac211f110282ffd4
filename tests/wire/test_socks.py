"""SOCKS messages, each split at every byte."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wiretape.wire.socks import (
    NO_PASSWORD,
    USER_PASSWORD,
    SocksError,
    not_allowed,
    parse_greeting,
    parse_password,
    parse_request,
    success,
)

V6 = socket.inet_pton(socket.AF_INET6, "2001:db8::1")

REQUESTS = [
    (b"\x05\x01\x00\x01\x7f\x00\x00\x01\x1f\x90", 5, "127.0.0.1", 8080),
    (b"\x05\x01\x00\x03\x0bexample.com\x01\xbb", 5, "example.com", 443),
    (b"\x05\x01\x00\x03\x0bEXAMPLE.com\x01\xbb", 5, "example.com", 443),
    (b"\x05\x01\x00\x04" + V6 + b"\x00\x50", 5, "2001:db8::1", 80),
    (b"\x05\x01\x00\x03\x03::1\x00\x50", 5, "::1", 80),  # an address as a name, as some clients send it
    (b"\x05\x01\x00\x03\x05[::1]\x00\x50", 5, "::1", 80),
    (b"\x04\x01\x00\x50\x7f\x00\x00\x01\x00", 4, "127.0.0.1", 80),
    (b"\x04\x01\x00\x50\x7f\x00\x00\x01somebody\x00", 4, "127.0.0.1", 80),
    (b"\x04\x01\x01\xbb\x00\x00\x00\x01\x00example.com\x00", 4, "example.com", 443),
    (b"\x04\x01\x01\xbb\x00\x00\x00\xffme\x00example.com\x00", 4, "example.com", 443),
]

REFUSED = [
    (b"\x05\x02\x00\x01\x7f\x00\x00\x01\x1f\x90", b"\x05\x07", "BIND"),
    (b"\x05\x03\x00\x01\x7f\x00\x00\x01\x1f\x90", b"\x05\x07", "UDP ASSOCIATE"),
    (b"\x05\xf0\x00\x01\x7f\x00\x00\x01\x1f\x90", b"\x05\x07", "number 240"),  # Tor's RESOLVE
    (b"\x04\x02\x00\x50\x7f\x00\x00\x01\x00", b"\x00\x5b", "BIND"),
    (b"\x05\x01\x00\x02\x7f\x00\x00\x01\x1f\x90", b"\x05\x08", "type 2"),
    (b"\x05\x01\x00\x03\x00\x01\xbb", b"\x05\x01", "host:port"),
    (b"\x05\x01\x00\x03\x05a\r\nb:\x01\xbb", b"\x05\x01", "host:port"),
    (b"\x05\x01\x00\x03\x0bexample.com\x00\x00", b"\x05\x01", "port 0"),
    (b"\x04\x01\x00\x50\x7f\x00\x00\x01" + b"u" * 256, b"\x00\x5b", "255"),
    (b"\x04\x01\x00\x50\x00\x00\x00\x01\x00" + b"n" * 256, b"\x00\x5b", "255"),
    (b"\x06\x01\x00\x01\x7f\x00\x00\x01\x1f\x90", b"", "version 6"),
]


@pytest.mark.parametrize(("data", "version", "host", "port"), REQUESTS)
def test_a_request_is_read_once_it_is_whole_and_nothing_of_what_follows(
    data: bytes, version: int, host: str, port: int
) -> None:
    assert [parse_request(data[:size]) for size in range(len(data))] == [None] * len(data)
    for more in (b"", b"\x16\x03\x01", b"\x00"):
        assert parse_request(data + more) == (len(data), version, host, port)


@pytest.mark.parametrize(("data", "reply", "word"), REFUSED)
def test_what_is_not_served_has_the_reply_of_its_version(data: bytes, reply: bytes, word: str) -> None:
    for size in range(len(data)):
        with contextlib.suppress(SocksError):
            assert parse_request(data[:size]) is None
    with pytest.raises(SocksError, match=word) as caught:
        parse_request(data)
    assert caught.value.reply[: len(reply)] == reply
    assert len(caught.value.reply) == (0 if not reply else 10 if reply[0] == 5 else 8)


def test_greetings_say_their_methods() -> None:
    data = b"\x05\x02\x00\x02"
    assert [parse_greeting(data[:size]) for size in range(4)] == [None] * 4
    assert parse_greeting(data + b"\x05") == (4, bytes((NO_PASSWORD, USER_PASSWORD)))
    assert parse_greeting(b"\x05\x00") == (2, b"")


def test_a_password_is_read_whole() -> None:
    data = b"\x01\x02me\x06secret"
    assert [parse_password(data[:size]) for size in range(len(data))] == [None] * len(data)
    assert parse_password(data + b"\x05\x01") == (len(data), b"me", b"secret")
    assert parse_password(b"\x01\x00\x00") == (3, b"", b"")
    with pytest.raises(SocksError) as caught:
        parse_password(b"\x05")
    assert caught.value.reply == b"\x01\x01"


def test_replies_have_the_length_that_clients_read() -> None:
    assert success(5) == b"\x05\x00\x00\x01" + bytes(6)
    assert success(4) == b"\x00\x5a" + bytes(6)
    assert not_allowed(5)[:2] == b"\x05\x02"
    assert not_allowed(4)[:2] == b"\x00\x5b"


@pytest.mark.parametrize("parse", [parse_greeting, parse_password, parse_request])
@given(data=st.binary(max_size=300))
def test_hostile_bytes_are_read_refused_or_waited_for_within_bounds(parse: Callable[[bytes], Any], data: bytes) -> None:
    with contextlib.suppress(SocksError):
        found = parse(data)
        assert found is None or 0 < found.consumed <= len(data)


@given(data=st.binary(min_size=520, max_size=600))
def test_a_request_that_is_longer_than_any_is_never_waited_for(data: bytes) -> None:
    for version in (b"\x04", b"\x05"):
        try:
            assert parse_request(version + data) is not None
        except SocksError:
            pass
