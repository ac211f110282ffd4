"""The chunked transfer coding: read strictly, cut anywhere, written anew."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.wire.strategies import bodies, chunked, cuts, fields, lines
from wiretape.errors import ProtocolError
from wiretape.wire.chunked import MAX_SIZE_LINE
from wiretape.wire.http1 import MAX_TRAILERS, ChunkedDecoder, encode_chunk, encode_last_chunk

BODY = b'5\r\nhello\r\n00A;name=value\r\n, world..\n\r\n1;x="\xc3\xa9"\r\n!\r\n0;last\r\nX-Sum: 1\r\nx-sum:2\r\n\r\n'
PAYLOAD = b"hello, world..\n!"


def decode(*pieces: bytes) -> ChunkedDecoder:
    decoder = ChunkedDecoder()
    for piece in pieces:
        decoder.feed(piece)
    return decoder


@pytest.mark.parametrize("at", range(len(BODY) + 1))
def test_a_body_cut_anywhere_is_read_the_same(at: int) -> None:
    decoder = ChunkedDecoder()
    first = decoder.feed(BODY[:at])
    assert decoder.finished is (at == len(BODY))
    second = decoder.feed(BODY[at:] + b"GET /next")
    assert b"".join(first + second) == PAYLOAD
    assert decoder.finished
    assert decoder.eof()
    assert decoder.rest == b"GET /next"
    assert decoder.trailers == b"X-Sum: 1\r\nx-sum:2\r\n"


def test_a_body_that_comes_byte_by_byte_is_read_the_same() -> None:
    decoder = ChunkedDecoder()
    pieces = [piece for byte in BODY for piece in decoder.feed(bytes([byte]))]
    assert b"".join(pieces) == PAYLOAD
    assert decoder.finished
    assert (decoder.rest, decoder.trailers) == (b"", b"X-Sum: 1\r\nx-sum:2\r\n")


def test_pieces_are_given_out_as_soon_as_they_arrive() -> None:
    decoder = ChunkedDecoder()
    assert decoder.feed(b"ff\r\nab") == [b"ab"]
    assert decoder.feed(b"cd") == [b"cd"]
    assert decoder.feed(memoryview(b"ef")) == [b"ef"]
    assert not decoder.finished
    assert not decoder.eof()


PADDED = b"5   \r\nhello\r\n00A \t; name = value \r\n, world..\n\r\n1\t;x\r\n!\r\n0  \r\nX-Sum: 1\r\n\r\n"


@pytest.mark.parametrize("at", range(len(PADDED) + 1))
@pytest.mark.parametrize("status", [400, 502])
def test_whitespace_after_a_size_is_taken_and_not_sent_on(at: int, status: int) -> None:
    decoder = ChunkedDecoder(status)
    pieces = decoder.feed(PADDED[:at]) + decoder.feed(PADDED[at:])
    assert b"".join(pieces) == PAYLOAD
    assert (decoder.finished, decoder.rest, decoder.trailers) == (True, b"", b"X-Sum: 1\r\n")
    sent = encode_chunk(pieces) + encode_last_chunk(decoder.trailers)
    assert sent == b"10\r\n" + PAYLOAD + b"\r\n0\r\nX-Sum: 1\r\n\r\n"


def test_padding_is_bounded_as_extensions_are() -> None:
    assert ChunkedDecoder().feed(b"1" + b" " * (MAX_SIZE_LINE - 3) + b"\r\na") == [b"a"]
    for data in (b"1" + b" " * (MAX_SIZE_LINE - 2) + b"\r\n", b"1" + b" " * MAX_SIZE_LINE):
        with pytest.raises(ProtocolError, match="size line"):
            decode(data)


LF_ONLY = b"5\nhello\n00A ;x\r\n, world..\n\n1\r\n!\n0\nX-Sum : 1\nx-odd(: \x01\r\n 2\n\n"


@pytest.mark.parametrize("at", range(len(LF_ONLY) + 1))
def test_a_responses_framing_may_end_its_lines_with_lf_alone_and_is_sent_on_well_formed(at: int) -> None:
    decoder = ChunkedDecoder(502, bare_lf=True)
    pieces = decoder.feed(LF_ONLY[:at]) + decoder.feed(LF_ONLY[at:] + b"HTTP/1.1")
    assert b"".join(pieces) == PAYLOAD
    assert (decoder.finished, decoder.rest) == (True, b"HTTP/1.1")
    assert decoder.trailers == b"X-Sum : 1\nx-odd(: \x01\r\n 2\n"
    assert encode_last_chunk(decoder.trailers) == b"0\r\nX-Sum: 1\r\nx-odd(: \x01 2\r\n\r\n"
    for strict in (ChunkedDecoder(502), ChunkedDecoder()):
        with pytest.raises(ProtocolError):
            strict.feed(LF_ONLY)


@pytest.mark.parametrize("at", range(len(BODY) + 1))
def test_a_body_is_read_the_same_where_lf_alone_may_end_lines(at: int) -> None:
    decoder = ChunkedDecoder(502, bare_lf=True)
    assert b"".join(decoder.feed(BODY[:at]) + decoder.feed(BODY[at:] + b"x")) == PAYLOAD
    assert (decoder.finished, decoder.rest, decoder.trailers) == (True, b"x", b"X-Sum: 1\r\nx-sum:2\r\n")


@pytest.mark.parametrize(
    "data",
    [
        *(b" 5\n", b"\n5\n", b"5\rhello", b"5\nhello\r5", b"5\nhello!", b"5\nhello\n\n", b"g\n", b"5;\x00\n"),
        *(b"0\nX\n\n", b"0\n folded\n\n", b"0\nContent-Length\xa0: 5\n\n", b"0\nA\x00: b\n\n"),
    ],
)
def test_what_has_no_meaning_is_refused_there_too(data: bytes) -> None:
    for pieces in ([data], [bytes([byte]) for byte in data]):
        with pytest.raises(ProtocolError) as caught:
            decode_response(pieces)
        assert caught.value.status == 502


def test_trailers_that_end_with_lf_alone_are_bounded_too() -> None:
    with pytest.raises(ProtocolError, match="longer than 65536 bytes"):
        decode_response([b"0\n", *[b"A: b\n" * 1000] * 20])


def decode_response(pieces: list[bytes]) -> None:
    decoder = ChunkedDecoder(502, bare_lf=True)
    for piece in pieces:
        decoder.feed(piece)


def test_what_comes_after_the_end_is_the_rest() -> None:
    decoder = decode(b"0\r\n\r\n", b"HTTP/1.1", b" 200")
    assert decoder.finished
    assert decoder.rest == b"HTTP/1.1 200"
    assert decode(b"0\r\n\r\n0\r\n\r\n").rest == b"0\r\n\r\n"


def test_nothing_is_no_end() -> None:
    decoder = decode(b"")
    assert not decoder.finished
    assert not decoder.eof()


@pytest.mark.parametrize(
    "data",
    [
        *(
            b" 5\r\nhello",
            b"\t5\r\n",
            b"5 0\r\nhello",
            b"5 x;y\r\n",
            b"5\x0b\r\n",
            b"5\xa0;x\r\n",
            b"5 \nhello",
            b"5 \r;x\r\n",
            b"5\r ;x\r\n",
            b"+5\r\n",
            b"-5\r\n",
            b"0x5\r\n",
            b"5h\r\n",
        ),
        *(
            b"\r\n",
            b"\n",
            b";x\r\n",
            b"g\r\n",
            b"5\n",
            b"5\nhello",
            b"5\r5\r\n",
            b"5\rhello",
            b"5;x\ny\r\n",
            b"5;x\ry\r\n",
        ),
        *(
            b"5;\x00\r\n",
            b"5;\x7f\r\n",
            b"00000000000000005\r\n",
            b"fffffffffffffffff\r\n",
            b"\xb2\r\n",
            b"5,5\r\n",
            b"5_0\r\n",
        ),
        *(
            b"5\r\nhello!",
            b"5\r\nhello\n",
            b"5\r\nhello\n\r\n",
            b"5\r\nhello\r\r\n",
            b"5\r\nhello0\r\n",
            b"5\r\nhello\r\n\r\n",
        ),
        *(b"0\r\nX : 1\r\n\r\n", b"0\r\n X: 1\r\n\r\n", b"0\r\nX: 1\n\r\n\r\n", b"0\r\nX\r\n\r\n", b"0\r\n: 1\r\n\r\n"),
        *(b"0\r\nX: \x00\r\n\r\n", b"0\r\nX: 1\r\n Y\r\n\r\n", b"0\r\nX: a\rb\r\n\r\n", b"0\r\n\n\r\n\r\n"),
    ],
)
def test_malformed_framing_is_refused_whole_and_byte_by_byte(data: bytes) -> None:
    for pieces in ([data], [bytes([byte]) for byte in data]):
        with pytest.raises(ProtocolError) as caught:
            decode(*pieces)
        assert caught.value.status == 400
        assert caught.value.message.isascii()


@pytest.mark.parametrize(
    "data",
    [
        b" 5",
        b"5 0",
        b"5 \n",
        b"\n",
        b"5\n",
        b"x",
        b"5\r\nhellox",
        b"5\r\nhello\n",
        b"5;\x00",
        b"00000000000000005",
        b"0\r\n\n",
        b"0\r\nX: 1\n",
    ],
)
def test_malformed_framing_is_refused_at_once_and_not_waited_for(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode(data)


def test_the_status_is_the_one_for_the_sender() -> None:
    with pytest.raises(ProtocolError) as caught:
        ChunkedDecoder(502).feed(b"x\r\n")
    assert caught.value.status == 502


def test_extensions_are_bounded() -> None:
    fitting = b"1;" + b"x" * (MAX_SIZE_LINE - 4) + b"\r\n"
    assert ChunkedDecoder().feed(fitting + b"a") == [b"a"]
    for data in (b"1;" + b"x" * (MAX_SIZE_LINE - 3) + b"\r\n", b"1;" + b"x" * MAX_SIZE_LINE):
        with pytest.raises(ProtocolError, match="size line"):
            decode(data)
        with pytest.raises(ProtocolError, match="size line"):
            decode(*(data[i : i + 100] for i in range(0, len(data), 100)))


def test_trailers_are_bounded() -> None:
    line = b"X: " + b"x" * (MAX_TRAILERS - 5)
    assert decode(b"0\r\n" + line + b"\r\n\r\n").trailers == line + b"\r\n"
    for end in (b"", b"\r\n", b"\r\n\r\n"):
        with pytest.raises(ProtocolError, match="longer than 65536 bytes"):
            decode(b"0\r\nX: " + b"x" * MAX_TRAILERS + end)


def test_a_chunk_of_the_largest_size_needs_no_memory_before_it_arrives() -> None:
    assert ChunkedDecoder().feed(b"ffffffffffffffff\r\nab") == [b"ab"]


def test_pieces_are_encoded_as_one_chunk_and_none_as_nothing() -> None:
    assert encode_chunk([b"ab", b"", b"c" * 14]) == b"10\r\nab" + b"c" * 14 + b"\r\n"
    assert encode_chunk([]) == b""
    assert encode_chunk([b""]) == b""


def test_trailers_are_sent_on_byte_for_byte() -> None:
    assert encode_last_chunk() == b"0\r\n\r\n"
    assert encode_last_chunk(b"x-Sum:1\r\nX-SUM:  2 \r\n") == b"0\r\nx-Sum:1\r\nX-SUM:  2 \r\n\r\n"


@pytest.mark.parametrize(
    "name", [b"Content-Length", b"TRANSFER-ENCODING", b"host", b"Connection", b"Authorization", b"te"]
)
def test_trailers_that_would_reframe_or_reroute_a_message_are_not_sent_on(name: bytes) -> None:
    assert encode_last_chunk(b"A: 1\r\n" + name + b": x\r\n" + name + b"-B: 2\r\n") == (
        b"0\r\nA: 1\r\n" + name + b"-B: 2\r\n\r\n"
    )
    assert encode_last_chunk(name + b":x\r\n") == b"0\r\n\r\n"


@settings(deadline=None)
@given(st.data(), bodies, fields, st.binary(max_size=10))
def test_any_body_is_read_back_however_it_is_cut(
    data: st.DataObject, body: bytes, trailers: list[tuple[bytes, bytes]], following: bytes
) -> None:
    coded = data.draw(chunked(body))[:-2] + lines(trailers) + b"\r\n"
    decoder = ChunkedDecoder()
    got = b""
    for piece in data.draw(cuts(coded + following)):
        pieces = decoder.feed(piece)
        assert all(pieces)
        got += b"".join(pieces)
    assert got == body
    assert (decoder.finished, decoder.rest, decoder.trailers) == (True, following, lines(trailers))


@settings(deadline=None)
@given(st.data(), bodies)
def test_what_is_encoded_is_read_back(data: st.DataObject, body: bytes) -> None:
    pieces = data.draw(cuts(body))
    coded = b"".join(encode_chunk([piece]) for piece in pieces) + encode_last_chunk()
    decoder = ChunkedDecoder()
    assert b"".join(decoder.feed(coded)) == body
    assert decoder.finished


@settings(deadline=None, max_examples=300)
@given(
    st.data(),
    st.lists(st.sampled_from([b"0", b"1", b"a", b"\r\n", b"\n", b"\r", b";", b" ", b"\t", b"X: y\r\n"]), max_size=20),
)
def test_how_a_body_is_cut_never_changes_whether_and_as_what_it_is_taken(
    data: st.DataObject, parts: list[bytes]
) -> None:
    coded = b"".join(parts)
    for bare_lf in (False, True):
        cut = [outcome(pieces, bare_lf) for pieces in ([coded], data.draw(cuts(coded)), [bytes([b]) for b in coded])]
        assert cut[0] == cut[1] == cut[2]


def outcome(pieces: list[bytes], bare_lf: bool) -> tuple[bytes, bytes, bytes] | bool:
    """Give what a finished body was read as; else whether it was refused."""
    decoder = ChunkedDecoder(502, bare_lf=bare_lf)
    body = b""
    try:
        for piece in pieces:
            body += b"".join(decoder.feed(piece))
    except ProtocolError:
        return True
    return (body, decoder.trailers, decoder.rest) if decoder.finished else False


@pytest.mark.parametrize(
    ("body", "given"),
    [
        (b"5\r\nhello\r\n3\r\nyou\r\nxx\r\n", b"helloyou"),
        (b"5\r\nhello!!", b"hello"),
        (b"5\r\nhello\r\n0\r\nno trailer\r\n\r\n", b"hello"),
    ],
)
def test_p1_what_was_read_before_a_fault_is_given_however_the_bytes_come(body: bytes, given: bytes) -> None:
    for at in range(len(body) + 1):
        assert b"".join(until_fault([body[:at], body[at:]])) == given


def until_fault(parts: list[bytes]) -> list[bytes]:
    decoder, pieces = ChunkedDecoder(), []
    try:
        for part in parts:
            pieces += decoder.feed(part)
    except ProtocolError as error:
        return pieces + error.pieces
    pytest.fail("there is no fault")
