"""One reader for each way in which a body can end, and all alike to use."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.wire.strategies import bodies, cuts
from wiretape.errors import ProtocolError
from wiretape.wire.http1 import (
    BodyReader,
    ChunkedDecoder,
    CloseReader,
    LengthReader,
    body_reader,
    parse_request_head,
    parse_response_head,
)


def for_request(*field_lines: bytes) -> BodyReader:
    head = parse_request_head(b"POST / HTTP/1.1\r\nHost: h\r\n" + b"".join(field_lines) + b"\r\n")
    assert head is not None
    return body_reader(head)


def for_response(*field_lines: bytes, status: bytes = b"200", method: str = "GET") -> BodyReader:
    head = parse_response_head(b"HTTP/1.1 " + status + b" x\r\n" + b"".join(field_lines) + b"\r\n", method)
    assert head is not None
    return body_reader(head)


@pytest.mark.parametrize(
    "reader",
    [
        for_request,
        lambda: for_request(b"Content-Length: 0\r\n"),
        lambda: for_response(b"Content-Length: 0\r\n"),
        lambda: for_response(b"Content-Length: 5\r\n", status=b"304"),
        lambda: for_response(b"Transfer-Encoding: chunked\r\n", method="HEAD"),
        lambda: for_response(status=b"204"),
    ],
)
def test_no_body_is_finished_before_it_begins(reader: object) -> None:
    assert callable(reader)
    made = reader()
    assert made.finished
    assert made.eof()
    assert made.feed(b"next") == []
    assert made.feed(memoryview(b" one")) == []
    assert made.rest == b"next one"


@pytest.mark.parametrize("at", range(12))
def test_a_body_of_known_length_ends_there_wherever_it_is_cut(at: int) -> None:
    reader = for_response(b"Content-Length: 5\r\n")
    data = b"hellonext 1"
    pieces = reader.feed(data[:at])
    assert reader.finished is (at >= 5)
    assert reader.eof() is (at >= 5)
    pieces += reader.feed(data[at:])
    assert b"".join(pieces) == b"hello"
    assert all(pieces)
    assert (reader.finished, reader.rest, reader.trailers) == (True, b"next 1", b"")


def test_bytes_that_are_all_body_are_not_copied() -> None:
    data = b"x" * 1000
    assert LengthReader(2000).feed(data)[0] is data
    assert CloseReader().feed(data)[0] is data
    assert LengthReader(1000).feed(memoryview(data)) == [data]


def test_a_body_that_ends_with_its_connection_is_complete_only_then() -> None:
    reader = for_response()
    assert reader.feed(b"any") == [b"any"]
    assert reader.feed(b"") == []
    assert reader.feed(memoryview(b"thing")) == [b"thing"]
    assert not reader.finished
    assert reader.eof()
    assert (reader.finished, reader.rest, reader.trailers) == (True, b"", b"")


def test_a_chunked_body_is_refused_with_the_status_for_its_side() -> None:
    for reader, status in (
        (for_request(b"Transfer-Encoding: chunked\r\n"), 400),
        (for_response(b"Transfer-Encoding: chunked\r\n"), 502),
    ):
        assert isinstance(reader, ChunkedDecoder)
        with pytest.raises(ProtocolError) as caught:
            reader.feed(b"zz\r\n")
        assert caught.value.status == status


@settings(deadline=None)
@given(st.data(), bodies, st.binary(max_size=10))
def test_any_body_of_known_length_is_read_back_however_it_is_cut(
    data: st.DataObject, body: bytes, following: bytes
) -> None:
    reader = LengthReader(len(body))
    pieces = [p for piece in data.draw(cuts(body + following)) for p in reader.feed(piece)]
    assert b"".join(pieces) == body
    assert (reader.finished, reader.rest) == (True, following)
