"""The account of a whole log: exact about what is there, what is not, and why."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.log.logbuilder import SESSION, SegmentBuilder
from wiretape.errors import LogVersionError, NotFoundError
from wiretape.log.format import FrameType
from wiretape.log.verify import LogReport, verify_log


def log_of(folder: Path, *segments: SegmentBuilder) -> Path:
    for segment in segments:
        segment.write(folder)
    return folder


def verify(folder: Path) -> LogReport:
    """Verify, and hold P3 and P6 on the way: not one byte or file of the log changes."""
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    report = verify_log(folder, SESSION)
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before
    return report


def two_segments() -> tuple[SegmentBuilder, SegmentBuilder]:
    """Exchanges 1 to 4, of which 2 is streamed and 4 crosses into the second segment, then 5 and 6."""
    first = SegmentBuilder()
    first.small(1, b"ab", b"cd")
    first.opened(2, complete=False)
    first.chunk(FrameType.REQUEST_BODY, 2, 0, b"request")
    first.response_head(2)
    first.chunk(FrameType.RESPONSE_BODY, 2, 0, b"response")
    first.small(3)
    first.trailers(2, b"X: 1\r\n")
    first.done(2, request=b"request", response=b"response", inline=False)
    first.opened(4)
    first.seal(final=False)
    second = SegmentBuilder(number=2, first_seq=5, salt=0x55)
    second.small(5)
    second.done(4)
    second.marked(5, "here")
    second.small(6)
    second.seal()
    return first, second


def test_a_clean_log_is_clean(tmp_path: Path) -> None:
    report = verify(log_of(tmp_path, *two_segments()))
    assert (report.exchanges, report.done, report.closed_cleanly) == (6, 6, True)
    assert report.gaps == report.tails == []
    assert report.interrupted == report.in_flight == report.lost == report.damaged == []
    assert report.notes == []
    assert report.next_seq == {0: 7}
    assert (report.segments, report.holder, report.dropped) == (2, None, 0)
    assert report.bytes == sum(path.stat().st_size for path in tmp_path.iterdir())


def test_p4_a_flipped_byte_anywhere_costs_at_most_its_exchange_and_is_named(tmp_path: Path) -> None:
    first, second = two_segments()
    log_of(tmp_path, first, second)
    for segment in (first, second):
        path = tmp_path / segment.name
        for at in range(len(segment.buffer)):
            content = bytearray(segment.buffer)
            content[at] ^= 0x10
            path.write_bytes(content)
            report = verify_log(tmp_path, SESSION)
            offset, size, kind, seq = next(place for place in segment.frames if place[0] <= at < place[0] + place[1])
            (gap,) = report.gaps
            assert (gap.segment, gap.offset, gap.length) == (segment.name, offset, size), at
            assert report.torn_tail_bytes == 0
            assert report.lost_exchanges == 0  # each has more than one frame
            assert report.exchanges == 6, at
            if kind in (FrameType.SEGMENT, FrameType.SEAL, FrameType.MARKED):
                assert report.damaged == []
                assert report.interrupted == []
            else:
                assert report.interrupted == ([seq] if kind == FrameType.DONE else []), at
                assert report.damaged == gap.exchanges == [seq], at
        segment.write(tmp_path)


def test_p4_an_exchange_whose_every_frame_is_damaged_is_lost_by_name(tmp_path: Path) -> None:
    segment = SegmentBuilder()
    for seq in range(1, 10):
        segment.small(seq)
    segment.seal()
    places = [place for place in segment.frames if place[3] == 5]
    for header in (True, False):
        content = bytearray(segment.buffer)
        for offset, size, *_ in places:
            content[offset + (8 if header else size - 1)] ^= 1
            content[offset + (9 if header else size - 2)] ^= 1
        segment.write(tmp_path, bytes(content))
        report = verify(tmp_path)
        assert (report.lost, report.lost_exchanges, report.exchanges, report.done) == ([5], 1, 8, 8)
        assert report.gaps[0].lost == [5]
        assert report.damaged == []
        assert sum(gap.length for gap in report.gaps) == sum(place[1] for place in places) == report.damaged_bytes


def test_a_segment_cut_anywhere_never_raises_and_accounts_for_all(tmp_path: Path) -> None:
    first, second = two_segments()
    log_of(tmp_path, first, second)
    path = tmp_path / second.name
    for length in range(len(second.buffer)):
        path.write_bytes(second.buffer[:length])
        report = verify_log(tmp_path, SESSION)
        assert not report.closed_cleanly
        assert report.gaps == []
        whole = [place for place in second.frames if place[0] + place[1] <= length]
        end = sum(whole[-1][:2]) if whole else 0
        assert report.torn_tail_bytes == length - end
        opened = {place[3] for place in whole if place[2] == FrameType.OPENED} | {1, 2, 3, 4}
        done = {place[3] for place in whole if place[2] == FrameType.DONE} | {1, 2, 3}
        assert report.exchanges == len(opened)
        assert report.interrupted == sorted(opened - done)


def test_a_segment_cut_while_others_follow_names_what_is_gone(tmp_path: Path) -> None:
    first, second = two_segments()
    cut = next(place for place in first.frames if place[2] == FrameType.OPENED and place[3] == 3)
    log_of(tmp_path, second)
    first.write(tmp_path, bytes(first.buffer[: cut[0] + 10]))
    report = verify(tmp_path)
    assert report.torn_tail_bytes == 10
    # 4 is known by its end, in the next segment; 2 was open when the bytes ended.
    assert report.lost == [3]
    assert report.exchanges == 5
    assert report.interrupted == [2]
    assert report.damaged == [2, 4]
    (gap,) = report.gaps
    assert (gap.segment, gap.offset, gap.length) == (first.name, cut[0] + 10, 0)
    assert gap.reason.startswith("ends too early")
    assert (gap.lost, gap.exchanges) == ([3], [2, 3, 4])


def test_a_missing_segment_is_a_gap_with_its_exchanges(tmp_path: Path) -> None:
    segments = []
    for number in range(1, 5):
        segment = SegmentBuilder(number=number, first_seq=number * 10 - 9, salt=number)
        for seq in range(number * 10 - 9, number * 10 + 1):
            segment.small(seq)
        segment.seal(final=number == 4)
        segments.append(segment)
    for missing in (1, 2, 3):
        folder = tmp_path / str(missing)
        report = verify(log_of(folder, *(segment for segment in segments if segment.number != missing)))
        (gap,) = report.gaps
        assert (gap.segment, gap.length, gap.reason) == (f"0-{missing:08d}.wlog", 0, "missing segment")
        assert gap.lost == gap.exchanges == report.lost == list(range(missing * 10 - 9, missing * 10 + 1))
        assert (report.exchanges, report.lost_exchanges, report.closed_cleanly) == (30, 10, True)


def test_missing_segments_of_one_of_several_streams_count_in_its_steps(tmp_path: Path) -> None:
    for stream in (0, 1):
        for number in (1, 2, 3):
            segment = SegmentBuilder(
                stream=stream, streams=2, number=number, first_seq=stream + 1 + (number - 1) * 10, salt=number
            )
            for step in range(5):
                segment.small(segment.first_seq + 2 * step)
            segment.seal(final=number == 3)
            if (stream, number) != (1, 2):
                segment.write(tmp_path)
    report = verify(tmp_path)
    assert report.lost == [12, 14, 16, 18, 20]
    assert report.next_seq == {0: 31, 1: 32}
    assert report.exchanges == 25


def test_many_missing_numbers_are_one_gap(tmp_path: Path) -> None:
    first, _ = two_segments()
    far = SegmentBuilder(number=90_000_000, first_seq=5)
    report = verify(log_of(tmp_path, first, far))
    assert [gap.reason for gap in report.gaps] == ["missing, and all up to 0-89999999.wlog"]


def test_an_exchange_of_an_earlier_run_is_interrupted(tmp_path: Path) -> None:
    killed = SegmentBuilder(run=1)
    killed.small(1)
    killed.opened(2)
    again = SegmentBuilder(number=2, run=2, first_seq=3, salt=3)
    again.small(3)
    again.seal()
    report = verify(log_of(tmp_path, killed, again))
    assert (report.exchanges, report.interrupted, report.lost, report.gaps) == (3, [2], [], [])
    assert report.closed_cleanly


@contextmanager
def writer(folder: Path, stream: int, run: int) -> Iterator[None]:
    """Hold a stream's lock as a living writer does; another open file is another holder even in one process."""
    fd = os.open(folder / f"{stream}.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(fd, fcntl.LOCK_EX)
    os.pwrite(fd, json.dumps({"pid": os.getpid(), "bootId": "b", "nonce": run}).encode(), 0)
    try:
        yield
    finally:
        os.close(fd)


def test_p6_a_live_log_shows_no_damage_at_any_byte(tmp_path: Path) -> None:
    first, second = two_segments()
    first.write(tmp_path)
    path = tmp_path / second.name
    with writer(tmp_path, 0, second.run):
        for length in range(len(second.buffer) + 1):
            path.write_bytes(second.buffer[:length])
            report = verify_log(tmp_path, SESSION)
            assert (report.gaps, report.tails, report.interrupted, report.lost) == ([], [], [], [])
            assert report.holder is not None
            assert report.holder["pid"] == os.getpid()
            assert report.exchanges == report.done + len(report.in_flight)


def test_what_an_earlier_run_left_is_interrupted_even_while_live(tmp_path: Path) -> None:
    killed = SegmentBuilder(run=1)
    killed.opened(1)
    again = SegmentBuilder(number=2, run=2, first_seq=2, salt=3)
    again.opened(2)
    log_of(tmp_path, killed, again)
    with writer(tmp_path, 0, 2):
        report = verify(tmp_path)
    assert (report.interrupted, report.in_flight) == ([1], [2])
    report = verify(tmp_path)
    assert (report.interrupted, report.in_flight, report.holder) == ([1, 2], [], None)


def test_a_writer_that_has_no_segment_yet_does_not_excuse_the_dead_one(tmp_path: Path) -> None:
    killed = SegmentBuilder(run=1)
    killed.opened(1)
    killed.write(tmp_path, bytes(killed.buffer) + b"\x89WT")
    with writer(tmp_path, 0, 2):
        report = verify(tmp_path)
    assert (report.interrupted, report.in_flight, report.torn_tail_bytes) == ([1], [], 3)


def test_a_writer_that_has_no_segment_at_all_yet_is_named(tmp_path: Path) -> None:
    with writer(tmp_path, 0, 1):
        report = verify(tmp_path)
    assert (report.holder is not None, report.exchanges, report.gaps) == (True, 0, [])


def test_what_the_recorder_dropped_is_not_lost_and_what_it_began_is_interrupted(tmp_path: Path) -> None:
    full = SegmentBuilder()
    full.small(1)
    full.opened(2)
    after = SegmentBuilder(number=2, first_seq=4, salt=9)
    after.event("dropped", exchanges=7, partial=[2, 3], reason="disk full", fromTs=1, toTs=2)
    after.small(4)
    after.seal()
    report = verify(log_of(tmp_path, full, after))
    assert (report.dropped, report.partial, report.lost, report.interrupted) == (7, [2, 3], [], [2])
    assert report.gaps == []
    assert report.notes == []


def test_p9_frames_written_again_after_a_failed_fsync_count_once(tmp_path: Path) -> None:
    suspect = SegmentBuilder()
    again = SegmentBuilder(number=2, first_seq=4, salt=9)
    for segment in (suspect, again):
        segment.small(1)
        segment.event("dropped", exchanges=3, partial=[], reason="full")
        segment.opened(2)
        segment.response_head(2)
        segment.small(3)
    again.done(2)
    again.small(4)
    again.seal()
    log_of(tmp_path, suspect, again)
    # With the suspect segment's last pages lost or there, the account is the same.
    lengths = [len(suspect.buffer), *(place[0] for place in suspect.frames[1:])]
    for length in lengths:
        suspect.write(tmp_path, bytes(suspect.buffer[:length]))
        report = verify(tmp_path)
        assert (report.exchanges, report.done, report.dropped, report.closed_cleanly) == (4, 4, 3, True)
        assert (report.gaps, report.lost, report.interrupted, report.damaged) == ([], [], [], [])


def test_hostile_event_details_are_taken_for_nothing(tmp_path: Path) -> None:
    segment = SegmentBuilder()
    segment.event("dropped", exchanges=-5, partial={"a": 1})
    segment.event("dropped", exchanges="many", partial=["x", None])
    segment.event("dropped")
    segment.seal()
    report = verify(log_of(tmp_path, segment))
    assert (report.dropped, report.partial) == (0, [])


def test_a_segment_of_another_session_is_named_and_not_counted(tmp_path: Path) -> None:
    segment = SegmentBuilder()
    segment.small(1)
    segment.seal()
    foreign = SegmentBuilder(session="another", number=2)
    foreign.small(2)
    report = verify(log_of(tmp_path, segment, foreign))
    assert report.exchanges == 1
    (gap,) = report.gaps
    assert (gap.segment, gap.length) == (foreign.name, len(foreign.buffer))
    assert gap.reason == "a segment of another session, 'another'"


def test_a_copied_segment_is_counted_once(tmp_path: Path) -> None:
    first, second = two_segments()
    log_of(tmp_path, first, second)
    first.write(tmp_path, name="0-00000003.wlog")
    report = verify(tmp_path)
    assert (report.exchanges, report.done, report.interrupted) == (6, 6, [])
    assert [(gap.segment, gap.reason) for gap in report.gaps] == [("0-00000003.wlog", f"a copy of {first.name}")]


def test_renamed_and_swapped_segments_are_read_at_their_places(tmp_path: Path) -> None:
    first, second = two_segments()
    first.write(tmp_path, name=second.name)
    second.write(tmp_path, name=first.name)
    report = verify(tmp_path)
    assert (report.exchanges, report.done, report.closed_cleanly) == (6, 6, True)
    assert report.gaps == []
    assert len(report.notes) == 2


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"garbage" * 100])
def test_a_last_segment_without_any_frame_is_accounted_for(tmp_path: Path, content: bytes) -> None:
    first, second = two_segments()
    log_of(tmp_path, first)
    second.write(tmp_path, content)
    report = verify(tmp_path)
    assert (report.exchanges, report.interrupted, report.closed_cleanly) == (4, [4], False)
    assert sum(gap.length for gap in (*report.gaps, *report.tails)) == len(content)


def test_strange_files_are_noted_and_links_not_followed(tmp_path: Path) -> None:
    log = log_of(tmp_path / "log", *two_segments())
    (log / "notes.txt").write_text("mine")
    (log / "0-1.wlog").write_bytes(b"x")
    (log / "0-00000003.wlog").symlink_to("/dev/zero")
    os.mkfifo(log / "0-00000004.wlog")
    (log / "0-00000005.wlog").mkdir()
    report = verify_log(log, SESSION)
    assert (report.exchanges, report.gaps, report.closed_cleanly) == (6, [], True)
    named = ("0-00000003.wlog", "0-00000004.wlog", "0-00000005.wlog", "0-1.wlog", "notes.txt")
    assert report.notes == [f"{name!r} in the log's folder is not a segment; it is left alone" for name in named]


def test_an_empty_log_has_nothing_and_was_not_closed(tmp_path: Path) -> None:
    report = verify(tmp_path)
    assert (report.exchanges, report.closed_cleanly, report.gaps) == (0, False, [])
    with pytest.raises(NotFoundError):
        verify_log(tmp_path / "nowhere", SESSION)


def test_a_newer_format_is_an_error(tmp_path: Path) -> None:
    from tests.log.test_scan import with_version

    segment = SegmentBuilder()
    segment.write(tmp_path, with_version(bytes(segment.buffer), 9))
    with pytest.raises(LogVersionError, match="log format 9"):
        verify_log(tmp_path, SESSION)


def test_p8_a_log_of_nothing_but_damage_gives_a_bounded_report_with_exact_counts(tmp_path: Path) -> None:
    segment = SegmentBuilder()
    for seq in range(1, 10_101):
        segment.opened(seq)
        segment.marked(seq, "")
    segment.seal()
    content = bytearray(segment.buffer)
    for offset, size, kind, _ in segment.frames:
        if kind == FrameType.OPENED:
            content[offset + size - 1] ^= 1
    segment.write(tmp_path, bytes(content))
    report = verify_log(tmp_path, SESSION)
    assert (len(report.gaps), len(report.lost), report.lost_exchanges) == (10_000, 10_000, 10_100)
    assert report.notes[-1] == "100 further damaged ranges are counted and not listed"
    assert all(gap.lost == [seq] for seq, gap in enumerate(report.gaps, 1))
    assert report.damaged_bytes == sum(place[1] for place in segment.frames if place[2] == FrameType.OPENED)


def test_progress_reaches_the_whole(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    log_of(tmp_path, *two_segments())
    verify_log(tmp_path, SESSION, lambda done, total: calls.append((done, total)))
    total = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert calls[-1] == (total, total)
    assert [call[0] for call in calls] == sorted(call[0] for call in calls)
