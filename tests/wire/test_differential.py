"""Other parsers read the same message: what we take for one message must never be two, or another one, for them."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.wire.oracles import FRAMING, Message, by_h11, by_httptools, by_wiretape, sent_on
from tests.wire.strategies import bodies, chunked, fields, lines, methods, paths

# What smugglers put between the bytes of a message.
NASTY = [
    *(
        b"\r",
        b"\n",
        b"\r\n",
        b"\r\n\r\n",
        b"\n\n",
        b"\x00",
        b" ",
        b"\t",
        b"\x0b",
        b"\x0c",
        b"\x7f",
        b"\x80",
        b"\xa0",
        b"\xff",
    ),
    *(
        b":",
        b",",
        b";",
        b"+",
        b"-",
        b"0x",
        b"0",
        b"1",
        b"_",
        b'"',
        b"chunked",
        b"identity",
        b"gzip",
        b", chunked",
        b"x",
    ),
    *(b"Content-Length: 3\r\n", b"Content-Length: 0\r\n", b"content-length:11 \r\n", b"Content-Length : 3\r\n"),
    *(b"Transfer-Encoding: chunked\r\n", b"transfer-encoding:Chunked\r\n", b"Transfer-Encoding : chunked\r\n"),
    *(b"Transfer-Encoding: x\r\n", b"Transfer-Encoding:\r\n chunked\r\n", b" Transfer-Encoding: chunked\r\n"),
    *(
        b"Host: other\r\n",
        b"Connection: close\r\n",
        b"Connection: upgrade\r\nUpgrade: websocket\r\n",
        b"X: y\r\n z\r\n",
    ),
    *(b"0\r\n\r\n", b"3\r\nabc\r\n", b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n", b"HTTP/1.0", b" HTTP/1.1\r\n"),
]

framings = st.sampled_from(["none", "length", "chunked"])


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    return b"%b %b HTTP/1.1\r\nHost: h\r\n" % (draw(methods), draw(paths).encode()) + draw(rests())


@st.composite
def responses(draw: st.DrawFn) -> bytes:
    return b"HTTP/1.1 %d %b\r\n" % (draw(st.integers(200, 599)), draw(st.sampled_from([b"OK", b""]))) + draw(rests())


@st.composite
def rests(draw: st.DrawFn) -> bytes:
    """Give the fields and the body of a message, and sometimes the beginning of another."""
    framing, body = draw(framings), draw(bodies)
    if framing == "none":
        framed, coded = [], b""
    elif framing == "length":
        framed, coded = [(b"Content-Length", b"%d" % len(body))], body
    else:
        framed, coded = [(b"Transfer-Encoding", b"chunked")], draw(chunked(body))
    block = lines(draw(fields) + framed + draw(fields))
    return block + b"\r\n" + coded + draw(st.sampled_from([b"", b"GET / HTTP/1.1\r\n", b"HTTP/1.1 200 OK\r\n"]))


@st.composite
def mutated(draw: st.DrawFn, messages: st.SearchStrategy[bytes]) -> bytes:
    data = draw(messages)
    for _ in range(draw(st.integers(1, 3))):
        # Mostly in the head, where a byte changes most.
        at = draw(st.integers(0, min(len(data), draw(st.sampled_from([60, 200, 10_000])))))
        skipped = draw(st.sampled_from([0, 0, 1, 2, 5]))
        data = data[:at] + draw(st.sampled_from([*NASTY, b""])) + data[at + skipped :]
    return data


def assert_same(ours: Message, theirs: Message) -> None:
    assert ours.head == theirs.head
    assert ours.fields == theirs.fields
    assert (ours.body, ours.complete) == (theirs.body, theirs.complete)


def assert_not_framed_otherwise(ours: Message | None, theirs: Message | None) -> None:
    """Where both take the message, it must end at the same byte and have the same fields that frame and route it."""
    if ours is None or theirs is None:
        return
    assert (ours.body, ours.complete) == (theirs.body, theirs.complete)
    assert ours.head[0] == theirs.head[0]
    for name in (*FRAMING, b"host", b"connection", b"upgrade"):
        assert values(ours, name) == values(theirs, name)


def values(message: Message, wanted: bytes) -> set[bytes]:
    """Give the values of a field; as a set, since h11 drops the repetition of a length in a response."""
    found = [value for name, value in message.fields if name.lower() == wanted]
    return {item.strip(b" \t").lower() for value in found for item in value.split(b",")}


@settings(deadline=None, max_examples=100)
@given(requests())
def test_valid_requests_are_read_as_httptools_and_h11_read_them(data: bytes) -> None:
    ours = by_wiretape(data)
    assert ours is not None
    for theirs in (by_httptools(data), by_h11(data)):
        assert theirs is not None
        assert_same(ours, theirs)


@settings(deadline=None, max_examples=100)
@given(responses())
def test_valid_responses_are_read_as_httptools_and_h11_read_them(data: bytes) -> None:
    ours = by_wiretape(data, "GET")
    assert ours is not None
    for theirs in (by_httptools(data, response=True), by_h11(data, "GET")):
        assert theirs is not None
        assert_same(ours, theirs)


@settings(deadline=None, max_examples=200)
@given(mutated(requests()))
@example(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
@example(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5;a\r\nhello\r\n0\r\nX: 1\r\n\r\nGET /")
@example(b"POST / HTTP/1.0\r\nHost: h\r\nContent-Length: 3\r\n\r\nabcdef")
def test_damaged_requests_are_never_framed_otherwise_than_others_frame_them(data: bytes) -> None:
    ours = by_wiretape(data)
    assert_not_framed_otherwise(ours, by_httptools(data))
    assert_not_framed_otherwise(ours, by_h11(data))


@settings(deadline=None, max_examples=200)
@given(mutated(requests()))
@example(b"POST / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: x\r\nContent-Length: 3\r\n\r\nabc")
@example(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1;a\r\nb\r\n0\r\nContent-Length: 9\r\n\r\n")
def test_what_is_sent_on_is_one_whole_message_for_everybody(data: bytes) -> None:
    check_sent_on(data, None)


@settings(deadline=None, max_examples=200)
@given(mutated(responses()))
@example(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\t\r\n\r\n1\r\na\r\n0\r\n\r\n")
@example(b"HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\na")
@example(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n")
@example(b"HTTP/1.1 204 No Content\r\nContent-Length: 10\r\n\r\n")
def test_what_is_sent_back_is_one_whole_message_for_everybody(data: bytes) -> None:
    check_sent_on(data, "GET")


def check_sent_on(data: bytes, method: str | None) -> None:
    forwarded = sent_on(data, method)
    if forwarded is None:
        return
    ours = by_wiretape(data, method)
    assert ours is not None
    for theirs, unfinished in (
        (by_wiretape(forwarded, method), by_wiretape(forwarded[:-1], method)),
        (by_h11(forwarded, method), by_h11(forwarded[:-1], method)),
        (by_httptools(forwarded, response=bool(method)), by_httptools(forwarded[:-1], response=bool(method))),
    ):
        if theirs is None:  # They refuse some methods and characters; then nothing was smuggled.
            continue
        assert (theirs.head[0], theirs.body, theirs.complete) == (ours.head[0], ours.body, ours.complete)
        assert unfinished is None or not unfinished.complete


@settings(deadline=None, max_examples=200)
@given(mutated(responses()))
def test_damaged_responses_are_never_framed_otherwise_than_others_frame_them(data: bytes) -> None:
    ours = by_wiretape(data, "GET")
    assert_not_framed_otherwise(ours, by_httptools(data, response=True))
    assert_not_framed_otherwise(ours, by_h11(data, "GET"))


@pytest.mark.parametrize("method", ["HEAD", "GET"])
@pytest.mark.parametrize("status", [200, 204, 304, 404])
@pytest.mark.parametrize("field_line", [b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b""])
def test_h11_agrees_on_which_responses_have_a_body(method: str, status: int, field_line: bytes) -> None:
    data = b"HTTP/1.1 %d x\r\n" % status + field_line + b"\r\n" + b"3\r\nabc\r\n0\r\n\r\n"
    ours, theirs = by_wiretape(data, method), by_h11(data, method)
    assert ours is not None
    assert theirs is not None
    assert (ours.body, ours.complete) == (theirs.body, theirs.complete)
