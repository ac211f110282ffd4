"""Responses of HTTP/1.1: what a listener hears of a response, however its bytes are cut; no sockets."""

from __future__ import annotations

import pytest

from tests.support.exchange_ports import request_head
from wiretape.errors import ProtocolError
from wiretape.recorder.h1_response import MAX_INTERIM, ResponseReader
from wiretape.recorder.ports import AnyResponseHead, BytesFromServer, Pieces, Timeouts


class Ear:
    """A listener that writes down what it hears, a body as one."""

    def __init__(self) -> None:
        self.heads: list[int] = []
        self.body = b""
        self.ends = 0
        self.trailers = b""
        self.broken: tuple[str, int | None, bytes] | None = None

    def response_interim(self, head: AnyResponseHead) -> None:
        self.heads.append(head.status)

    def response(self, head: AnyResponseHead, pieces: Pieces, end: bool, trailers: bytes) -> None:
        self.heads.append(head.status)
        self.response_data(pieces, end, trailers)

    def response_data(self, pieces: Pieces, end: bool, trailers: bytes) -> None:
        assert not self.ends, "something came after the end"
        assert b"" not in pieces
        self.body += b"".join(pieces)
        self.ends += end
        self.trailers += trailers if end else b""

    def response_broken(self, error: ProtocolError, head: AnyResponseHead | None, unparsed: bytes) -> None:
        assert self.broken is None
        self.body += b"".join(error.pieces)
        self.broken = (error.message, None if head is None else head.status, unparsed)

    def switched(self, head: AnyResponseHead) -> BytesFromServer:
        self.heads.append(head.status)
        return self

    def server_full(self, full: bool) -> None:
        raise AssertionError

    def server_left(self, error: Exception | None, untouched: bool, unparsed: bytes) -> None:
        raise AssertionError

    def tick(self, now: int, timeouts: Timeouts) -> None:
        raise AssertionError


def begun(method: str = "GET", *fields: str) -> ResponseReader:
    reader = ResponseReader()
    reader.begin(request_head(method, *fields))
    return reader


RESPONSES = {
    "length": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\nA: 1\r\n\r\n",
    "interim": b"HTTP/1.1 103 x\r\n\r\nHTTP/1.1 100 x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
}


@pytest.mark.parametrize("kind", RESPONSES)
def test_a_response_cut_at_every_byte_is_heard_alike(kind: str) -> None:
    data = RESPONSES[kind]
    for at in range(len(data) + 1):
        ear, reader = Ear(), begun()
        for part in (data[:at], data[at:]):
            if part:
                assert reader.feed(part, ear) is None
        assert ear.heads == ([103, 100, 200] if kind == "interim" else [200])
        assert (ear.body, ear.ends) == (b"hello", 1)
        assert ear.trailers == (b"A: 1\r\n" if kind == "chunked" else b"")
        assert reader.whole
        assert reader.keep_alive


def test_a_response_that_comes_byte_by_byte_is_heard_alike() -> None:
    ear, reader = Ear(), begun()
    for at in range(len(RESPONSES["interim"])):
        reader.feed(RESPONSES["interim"][at : at + 1], ear)
    assert (ear.heads, ear.body, ear.ends) == ([103, 100, 200], b"hello", 1)


@pytest.mark.parametrize("kind", ["length", "chunked"])
def test_p14_bytes_that_nobody_asked_for_make_a_connection_unfit_for_others(kind: str) -> None:
    data = RESPONSES[kind]
    for at in (len(data), len(data) + 3):
        ear, reader = Ear(), begun()
        more = data + b"HTTP/1.1 200 OK\r\n\r\n"
        reader.feed(more[:at], ear)
        reader.feed(more[at:], ear)
        assert (ear.body, ear.ends) == (b"hello", 1)
        assert not reader.keep_alive


def test_a_body_that_lasts_until_the_connection_ends_is_whole_when_it_ends_in_order() -> None:
    ear, reader = Ear(), begun()
    reader.feed(b"HTTP/1.1 200 OK\r\n\r\nhel", ear)
    reader.feed(b"lo", ear)
    assert ear.ends == 0
    assert reader.end(ear)
    assert (ear.body, ear.ends, reader.keep_alive) == (b"hello", 1, False)


@pytest.mark.parametrize("kind", ["length", "chunked"])
def test_a_body_that_announced_its_end_is_not_whole_when_the_connection_ends_first(kind: str) -> None:
    data = RESPONSES[kind]
    for at in range(1, len(data)):
        ear, reader = Ear(), begun()
        reader.feed(data[:at], ear)
        assert not reader.end(ear)
        assert ear.ends == 0
        assert reader.touched


def test_what_is_no_head_is_handed_on_as_it_came() -> None:
    for at in range(1, 15):
        ear, reader = Ear(), begun()
        reader.feed(b"SSH-2.0-server\r\n"[:at], ear)
        reader.feed(b"SSH-2.0-server\r\n"[at:], ear) if ear.broken is None else None
        assert ear.broken is not None
        assert ear.broken[1] is None
        assert b"SSH-2.0-server\r\n".startswith(ear.broken[2])


def test_a_head_that_is_cut_is_kept_for_whoever_asks() -> None:
    ear, reader = Ear(), begun()
    reader.feed(b"HTTP/1.1 200 OK\r\nContent-", ear)
    assert reader.unparsed == b"HTTP/1.1 200 OK\r\nContent-"


def test_a_malformed_first_chunk_comes_with_the_head_it_belongs_to() -> None:
    ear, reader = Ear(), begun()
    reader.feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\nzz", ear)
    assert ear.broken is not None
    assert (ear.heads, ear.broken[1], ear.body) == ([], 200, b"he")


def test_a_flood_of_interim_responses_is_broken() -> None:
    ear, reader = Ear(), begun()
    reader.feed(b"HTTP/1.1 103 x\r\n\r\n" * (MAX_INTERIM + 1), ear)
    assert len(ear.heads) == MAX_INTERIM
    assert ear.broken is not None


def test_a_switch_gives_the_bytes_after_it_and_only_where_it_was_asked_for() -> None:
    switch = b"HTTP/1.1 101 x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nraw"
    ear = Ear()
    assert begun("GET", "Connection: Upgrade", "Upgrade: echo").feed(switch, ear) == (ear, b"raw")
    ear = Ear()
    assert begun().feed(switch, ear) is None
    assert ear.broken is not None


@pytest.mark.parametrize(("status", "fields", "challenged"), [
    (401, "WWW-Authenticate: NTLM", True),
    (401, "WWW-Authenticate: Negotiate", True),
    (401, "WWW-Authenticate: Basic realm=x", False),
    (200, "WWW-Authenticate: NTLM", False),
])  # fmt: skip
def test_p14_a_challenge_of_the_connection_is_noticed(status: int, fields: str, challenged: bool) -> None:
    ear, reader = Ear(), begun()
    reader.feed(f"HTTP/1.1 {status} x\r\n{fields}\r\nContent-Length: 0\r\n\r\n".encode(), ear)
    assert reader.challenged is challenged
