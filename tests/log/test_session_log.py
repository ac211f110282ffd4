"""Reading a log from Python: exchanges put together from frames, whole and damaged, live and dead."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.log.logbuilder import REQUEST, SESSION, WALL, SegmentBuilder
from wiretape.errors import DamagedError, NotFoundError
from wiretape.log import Exchange, open_session
from wiretape.log.assembly import LEFT_OUT, Assembler, LogFrames, Part
from wiretape.log.format import BodyChunk, EndState, FrameType, Opened, ResponseBegun
from wiretape.log.items import Frame
from wiretape.log.scan import scan_segment


def exchanges_of(path: Path) -> dict[int, Exchange]:
    given = list(open_session(path.parent))
    found = {exchange.seq: exchange for exchange in given}
    assert len(found) == len(given)
    return found


def answer(exchange: Exchange) -> bytes:
    assert exchange.response is not None
    return exchange.response.body.read()


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
    assert (exchange.state, exchange.notes) == ("complete", ())
    assert (exchange.started_ns, exchange.duration_ns) == (WALL + 1, 10)
    request, response = exchange.request, exchange.response
    assert request.head == REQUEST
    assert (request.method, request.target, request.version) == ("GET", "/", "HTTP/1.1")
    assert (request.url, request.headers) == ("http://example.com/", (("Host", "example.com"),))
    assert request.body.read() == b"question"
    assert response is not None
    assert (response.version, response.status, response.reason) == ("HTTP/1.1", 200, "OK")
    assert response.headers == (("Content-Length", "6"),)
    assert (response.body.size, response.body.recorded, response.body.read()) == (6, 6, b"answer")
    assert response.body.read() == b"answer", "a body can be read again"


def test_a_streamed_exchange_is_put_together_in_order(tmp_path: Path) -> None:
    segment = SegmentBuilder()
    streamed(segment, 1)
    exchange = exchanges_of(segment.write(tmp_path))[1]
    assert exchange.response is not None
    assert exchange.request.body.read() == b"begin"
    assert list(exchange.response.body) == [b"one ", b"two ", b"three"]
    assert [head[:12] for head in exchange.response.interim] == [b"HTTP/1.1 200"]
    assert exchange.request.trailers == (("A", "1"),)
    assert exchange.response.trailers == (("B", "2"),)
    assert exchange.messages == 0


def test_exchanges_come_as_they_end_and_those_without_an_end_behind_them(tmp_path: Path) -> None:
    segment = SegmentBuilder()
    segment.opened(1, b"1")
    segment.opened(2, b"2")
    segment.done(2, request=b"2", response=b"two", state=EndState.FAILED)
    segment.opened(3, b"3")
    segment.done(1, request=b"1", response=b"one", state=EndState.ABORTED)
    segment.small(4)
    given = list(open_session(segment.write(tmp_path).parent))
    expected = [(2, "failed"), (1, "aborted"), (4, "complete"), (3, "interrupted")]
    assert [(exchange.seq, exchange.state) for exchange in given] == expected
    assert [answer(exchange) for exchange in given[:3]] == [b"two", b"one", b"hello"]
    assert given[3].response is None
    assert given[3].request.body.read() == b"3"


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
    assert exchange.response is not None
    bodies = [exchange.request.body, exchange.response.body]
    damaged, whole = bodies if kind == FrameType.REQUEST_BODY else reversed(bodies)
    with pytest.raises(DamagedError, match=f"has lost its bytes {gap[0]} to {gap[1]}"):
        damaged.read()
    assert [(part.start, part.end) for part in damaged.parts() if part.data is None] == [gap]
    assert damaged.size is not None
    assert sum(len(part.data) for part in damaged.parts() if part.data) == damaged.size - (gap[1] - gap[0])
    assert len(whole.read()) == whole.size
    assert exchange.state == "complete"
    assert exchange.notes == (
        f"Its {kind.name} frame is damaged: {segment.name}, {size} bytes at {offset} (damaged frame payload).",
    )


def test_a_lost_request_leaves_the_response(tmp_path: Path) -> None:
    segment = SegmentBuilder()
    segment.small(1, b"question", b"answer")
    offset, size, *_ = segment.frames[1]
    segment.buffer[offset + size - 1] ^= 1
    exchange = exchanges_of(segment.write(tmp_path))[1]
    assert (exchange.opened, exchange.started_ns, exchange.request.head, exchange.request.url) == (None, None, b"", "")
    assert list(exchange.request.body.parts()) == [Part(0, 8, None)]
    assert answer(exchange) == b"answer"
    assert "OPENED frame is damaged" in exchange.notes[0]
    assert exchange.notes[-1] == "The request's head is lost to damage."


def test_an_exchange_of_which_nothing_is_left_is_in_the_report_alone(tmp_path: Path) -> None:
    segment = SegmentBuilder()
    for seq in (1, 2, 3):
        segment.opened(seq)
        if seq != 2:
            segment.done(seq)
    offset = next(at for at, _, kind, seq in segment.frames if seq == 2 and kind == FrameType.OPENED)
    segment.buffer[offset + 45] ^= 1
    segment.write(tmp_path)
    log = open_session(tmp_path)
    reports = [log.report]
    assert [exchange.seq for exchange in log] == [1, 3]
    reports.append(log.report)
    assert reports[0] is None
    assert reports[1] is not None
    assert (reports[1].lost, reports[1].lost_exchanges, len(reports[1].gaps)) == ([2], 1, 1)


def test_pieces_that_overlap_are_given_once(tmp_path: Path) -> None:
    segment = SegmentBuilder()
    segment.opened(1)
    segment.chunk(FrameType.RESPONSE_BODY, 1, 0, b"abcd")
    segment.chunk(FrameType.RESPONSE_BODY, 1, 2, b"cdef")
    segment.chunk(FrameType.RESPONSE_BODY, 1, 1, b"bc")
    assert answer(exchanges_of(segment.write(tmp_path))[1]) == b"abcdef"


@pytest.mark.parametrize("size", [-1, 10_000])
def test_a_head_size_that_contradicts_its_frame_is_a_note(tmp_path: Path, size: int) -> None:
    segment = SegmentBuilder()
    segment.opened(1)
    segment.add(FrameType.RESPONSE_HEAD, 1, ResponseBegun(1, 200, size), b"HTTP/1.1 200 OK\r\n\r\n")
    segment.chunk(FrameType.RESPONSE_BODY, 1, -5, b"x")
    exchange = exchanges_of(segment.write(tmp_path))[1]
    assert exchange.response is None
    assert f"a head of {size} bytes does not fit" in exchange.notes[0]
    assert "a body position of -5 is impossible" in exchange.notes[1]


# -- copies after a failed sync -----------------------------------------------------------------------------------


def test_p9_frames_that_were_written_again_are_given_once(tmp_path: Path) -> None:
    first, second = SegmentBuilder(), SegmentBuilder(number=2, salt=99, first_seq=4)
    streamed(first, 1)
    first.small(2)
    first.opened(3)
    streamed(second, 1)
    second.small(2)
    second.opened(3)
    second.done(3, response=b"three")
    first.write(tmp_path)
    found = exchanges_of(second.write(tmp_path))
    assert sorted(found) == [1, 2, 3]
    assert answer(found[1]) == b"one two three"
    assert answer(found[3]) == b"three"
    assert {exchange.state for exchange in found.values()} == {"complete"}


@pytest.mark.parametrize("index", range(1, 9))
def test_p9_a_copy_heals_what_is_damaged_in_the_first_writing(tmp_path: Path, index: int) -> None:
    first, second = SegmentBuilder(), SegmentBuilder(number=2, salt=99, first_seq=2)
    streamed(first, 1)
    streamed(second, 1)
    offset, size, *_ = first.frames[index]
    first.buffer[offset + size - 1] ^= 1
    first.write(tmp_path)
    exchange = exchanges_of(second.write(tmp_path))[1]
    assert exchange.request.body.read() == b"begin"
    assert answer(exchange) == b"one two three"
    assert exchange.request.head == REQUEST
    assert exchange.state == "complete"


# -- bounds --------------------------------------------------------------------------------------------------------


def test_p8_frames_beyond_the_room_are_read_again_when_they_are_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wiretape.log.assembly._ROOM", 200)
    segment = SegmentBuilder()
    for seq in range(1, 8):
        segment.opened(seq, b"question %d" % seq)
    for seq in range(1, 8):
        segment.done(seq, request=b"question %d" % seq, response=b"answer %d" % seq)
    found = exchanges_of(segment.write(tmp_path))
    assert [exchange.request.body.read() for exchange in found.values()] == [b"question %d" % n for n in range(1, 8)]
    assert [answer(exchange) for exchange in found.values()] == [b"answer %d" % n for n in range(1, 8)]
    assert not any(exchange.notes for exchange in found.values())


def test_p8_of_too_many_at_once_the_oldest_is_given_as_it_is_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wiretape.log.assembly._RUNNING", 2)
    segment = SegmentBuilder()
    for seq in (1, 2, 3):
        segment.opened(seq)
    for seq in (1, 2, 3):
        segment.done(seq, response=b"late")
    found = exchanges_of(segment.write(tmp_path))
    assert {seq: exchange.state for seq, exchange in found.items()} == {1: "interrupted", 2: "complete", 3: "complete"}
    assert "more exchanges were running at once" in found[1].notes[0]


def test_p8_a_frame_kind_repeated_without_end_is_cut_off_with_a_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wiretape.log.assembly._FRAMES", 10)
    segment = SegmentBuilder()
    segment.opened(1)
    for _ in range(50):
        segment.trailers(1, b"A: 1\r\n")
    segment.done(1)
    exchange = exchanges_of(segment.write(tmp_path))[1]
    assert exchange.notes == (LEFT_OUT,)


def test_p8_a_long_body_costs_bytes_for_each_of_its_pieces(tmp_path: Path) -> None:
    assembler = Assembler(LogFrames(tmp_path))
    segment = SegmentBuilder()
    segment.add(FrameType.OPENED, 1, Opened(1, 1, "http", "host", 80, "", 0))
    segment.add(FrameType.RESPONSE_BODY, 1, BodyChunk(0), bytes(100_000))
    _, opened, chunk = [item for item in scan_segment(segment.write(tmp_path)) if isinstance(item, Frame)]
    for frame in (opened, *[chunk] * 1000):
        assembler.take(frame)
    held = assembler._running[1]
    assert len(held.frames) == 1
    assert len(held.pieces["response"]) == 1000
    assert held.pieces["response"].seen == 100_000


# -- which log -----------------------------------------------------------------------------------------------------


def test_the_session_s_folder_and_its_log_s_are_the_same_to_it(tmp_path: Path) -> None:
    segment = SegmentBuilder()
    segment.small(1)
    segment.write(tmp_path / "copied elsewhere" / "log")
    for path in (tmp_path / "copied elsewhere", tmp_path / "copied elsewhere" / "log"):
        log = open_session(str(path))
        assert log.session_id == SESSION
        assert [exchange.seq for exchange in log] == [1]


def test_a_folder_that_is_no_session_is_an_error_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="is neither a session nor a log"):
        open_session(tmp_path)
    with pytest.raises(NotFoundError, match="There is no log"):
        open_session(tmp_path / "nowhere")


def test_p14_a_log_folder_that_is_a_link_is_refused(tmp_path: Path) -> None:
    segment = SegmentBuilder()
    segment.small(1)
    segment.write(tmp_path / "real")
    (tmp_path / "session").mkdir()
    (tmp_path / "session" / "log").symlink_to(tmp_path / "real")
    with pytest.raises(NotFoundError, match="is a link"):
        open_session(tmp_path / "session")


def test_importing_the_package_reads_no_reader() -> None:
    code = (
        "import sys, wiretape.log; print([n for n in sys.modules if n.startswith('wiretape.log.') or n == 'msgspec'])"
    )
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert ran.stdout == "[]\n"


def test_an_unknown_name_is_an_attribute_error() -> None:
    import wiretape.log

    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = wiretape.log.nothing
