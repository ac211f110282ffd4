"""Exchanges put together from frames, whole and damaged."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.log.logbuilder import REQUEST, SegmentBuilder
from wiretape.errors import DamagedError
from wiretape.log.assemble import Assembler, Body, Exchange, assemble, read_body
from wiretape.log.format import EndState, FrameType
from wiretape.log.items import Frame
from wiretape.log.reader import read_frame, scan_segment


def exchanges_of(path: Path) -> dict[int, Exchange]:
    assembler = Assembler()
    found = {}
    for item in scan_segment(path):
        exchange = assembler.add(item)
        if exchange is not None:
            found[exchange.seq] = exchange
    found.update({exchange.seq: exchange for exchange in assembler.finish()})
    return found


def bytes_of(body: Body, folder: Path, salt: int) -> bytes:
    return b"".join(read_body(body, lambda segment, offset: read_frame(folder / segment, offset, salt)))


def streamed(segment: SegmentBuilder, seq: int) -> None:
    segment.opened(seq, b"be", complete=False)
    segment.chunk(FrameType.REQUEST_BODY, seq, 2, b"gin")
    segment.response_head(seq, status=103)
    segment.response_head(seq, body=b"one ")
    segment.chunk(FrameType.RESPONSE_BODY, seq, 4, b"two ")
    segment.chunk(FrameType.RESPONSE_BODY, seq, 8, b"three")
    segment.trailers(seq, b"A: 1\r\n", response=False)
    segment.trailers(seq, b"B: 2\r\n")
    segment.done(seq, request=b"begin", response=b"one two three", inline=False)


def test_a_small_exchange_is_two_frames(tmp_path: Path) -> None:
    segment = SegmentBuilder()
    segment.small(1, b"question", b"answer")
    exchange = exchanges_of(segment.write(tmp_path))[1]
    assert exchange.state == "complete"
    assert exchange.request_head == REQUEST
    assert exchange.response_head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert bytes_of(exchange.request, tmp_path, segment.salt) == b"question"
    assert bytes_of(exchange.response, tmp_path, segment.salt) == b"answer"
    assert (exchange.response.size, exchange.response.recorded, exchange.response.gaps) == (6, 6, ())
    assert exchange.notes == ()


def test_a_streamed_exchange_is_put_together_in_order(tmp_path: Path) -> None:
    segment = SegmentBuilder()
    streamed(segment, 1)
    exchange = exchanges_of(segment.write(tmp_path))[1]
    assert bytes_of(exchange.request, tmp_path, segment.salt) == b"begin"
    assert bytes_of(exchange.response, tmp_path, segment.salt) == b"one two three"
    assert [part.record.status for part in exchange.interim] == [103]
    assert exchange.begun is not None
    assert exchange.begun.status == 200
    assert (exchange.request_trailers, exchange.response_trailers) == (b"A: 1\r\n", b"B: 2\r\n")


def test_interleaved_exchanges_do_not_mix(tmp_path: Path) -> None:
    segment = SegmentBuilder()
    segment.opened(1, b"1")
    segment.opened(2, b"2")
    segment.done(2, request=b"2", response=b"two", state=EndState.FAILED)
    segment.opened(3, b"3")
    segment.done(1, request=b"1", response=b"one", state=EndState.ABORTED)
    found = exchanges_of(segment.write(tmp_path))
    assert {seq: exchange.state for seq, exchange in found.items()} == {1: "aborted", 2: "failed", 3: "interrupted"}
    assert bytes_of(found[1].response, tmp_path, segment.salt) == b"one"
    assert bytes_of(found[2].response, tmp_path, segment.salt) == b"two"
    assert found[3].response == Body()


@pytest.mark.parametrize(
    ("kind", "index", "gap"),
    [(FrameType.REQUEST_BODY, 0, (2, 5)), (FrameType.RESPONSE_BODY, 0, (4, 8)), (FrameType.RESPONSE_BODY, 1, (8, 13))],
)
def test_p4_a_damaged_chunk_costs_its_bytes_and_nothing_else(
    tmp_path: Path, kind: FrameType, index: int, gap: tuple[int, int]
) -> None:
    segment = SegmentBuilder()
    streamed(segment, 1)
    offset, size, *_ = [place for place in segment.frames if place[2] == kind][index]
    segment.buffer[offset + size - 1] ^= 1
    exchange = exchanges_of(segment.write(tmp_path))[1]
    damaged, whole = (
        (exchange.request, exchange.response)
        if kind == FrameType.REQUEST_BODY
        else (exchange.response, exchange.request)
    )
    assert damaged.gaps == (gap,)
    assert damaged.size is not None
    assert damaged.recorded == damaged.size - (gap[1] - gap[0])
    assert whole.gaps == ()
    assert exchange.state == "complete"
    assert exchange.notes == (
        f"its {kind.name} frame is damaged: {segment.name}, {size} bytes at {offset} (damaged frame payload)",
    )


def test_a_lost_request_leaves_the_response(tmp_path: Path) -> None:
    segment = SegmentBuilder()
    segment.small(1, b"question", b"answer")
    offset, size, *_ = segment.frames[1]
    segment.buffer[offset + size - 1] ^= 1
    exchange = exchanges_of(segment.write(tmp_path))[1]
    assert exchange.opened is None
    assert exchange.request.gaps == ((0, 8),)
    assert bytes_of(exchange.response, tmp_path, segment.salt) == b"answer"
    assert exchange.notes[-1] == "the frame with the request is not there"


def test_pieces_that_overlap_are_counted_once(tmp_path: Path) -> None:
    segment = SegmentBuilder()
    segment.opened(1)
    segment.chunk(FrameType.RESPONSE_BODY, 1, 0, b"abcd")
    segment.chunk(FrameType.RESPONSE_BODY, 1, 2, b"cdef")
    segment.chunk(FrameType.RESPONSE_BODY, 1, 1, b"bc")
    exchange = exchanges_of(segment.write(tmp_path))[1]
    assert bytes_of(exchange.response, tmp_path, segment.salt) == b"abcdef"
    assert exchange.response.recorded == 6


@pytest.mark.parametrize("size", [-1, 10_000])
def test_a_head_size_that_contradicts_its_frame_is_a_note(tmp_path: Path, size: int) -> None:
    from wiretape.log.format import ResponseBegun

    segment = SegmentBuilder()
    segment.opened(1)
    segment.add(FrameType.RESPONSE_HEAD, 1, ResponseBegun(1, 200, size), b"HTTP/1.1 200 OK\r\n\r\n")
    segment.chunk(FrameType.RESPONSE_BODY, 1, -5, b"x")
    exchange = exchanges_of(segment.write(tmp_path))[1]
    assert exchange.begun is None
    assert f"a head of {size} bytes does not fit" in exchange.notes[0]
    assert "a body position of -5 is impossible" in exchange.notes[1]


def test_one_exchange_is_taken_out_of_many(tmp_path: Path) -> None:
    segment = SegmentBuilder()
    for seq in range(1, 6):
        segment.small(seq, response=b"%d" % seq)
    items = list(scan_segment(segment.write(tmp_path)))
    exchange = assemble(3, items)
    assert exchange == exchanges_of(tmp_path / segment.name)[3]
    assert assemble(9, items, "inFlight").state == "inFlight"


def test_a_piece_that_is_gone_since_is_an_error(tmp_path: Path) -> None:
    segment = SegmentBuilder()
    segment.small(1, response=b"a long answer")
    exchange = exchanges_of(segment.write(tmp_path))[1]
    other = Frame(FrameType.DONE, 0, 1, segment.name, 0, 0, b"short")
    with pytest.raises(DamagedError, match="is not the frame it was"):
        list(read_body(exchange.response, lambda *_: other))
