"""The writer: what is in the segment after each flush, also when the disk refuses."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.failing_files import FailingFiles
from wiretape.errors import BusyError, StorageError
from wiretape.log.files import REAL
from wiretape.log.format import BodyChunk, FrameType, Seal, SegmentHead
from wiretape.log.items import Damage, Frame
from wiretape.log.resume import resume_point
from wiretape.log.scan import scan_segment
from wiretape.log.store import list_segments
from wiretape.log.stream_writer import StreamIdentity, StreamWriter

ME = StreamIdentity(
    session_id="20260101T000000-00000a", stream=0, streams=1, run=7, pid=os.getpid(), boot_id="boot", program="test"
)


def make(log_dir: Path, *, files: FailingFiles | None = None, segment_bytes: int = 1 << 26) -> StreamWriter:
    """Make a writer that goes on where the last one ended."""
    log_dir.mkdir(exist_ok=True)
    number, seq = resume_point(log_dir, 0, 1)
    return StreamWriter(
        log_dir,
        ME,
        clock_ns=lambda: 1,
        next_number=number,
        next_seq=seq,
        files=files or REAL,
        segment_bytes=segment_bytes,
    )


def put(writer: StreamWriter, data: bytes) -> int:
    """Gather one frame with a seq of its own."""
    seq = writer.take_seq()
    writer.append(FrameType.REQUEST_BODY, seq, BodyChunk(0), data)
    return seq


def items(log_dir: Path) -> list[Frame | Damage]:
    """Give all that the log holds."""
    return [item for ref in list_segments(log_dir) for item in scan_segment(ref.path)]


def bodies(log_dir: Path) -> dict[int, bytes]:
    """Give the data frames by seq."""
    frames = [item for item in items(log_dir) if isinstance(item, Frame) and item.kind == FrameType.REQUEST_BODY]
    return {frame.seq: bytes(frame.data) for frame in frames}


def test_what_was_flushed_is_read_back_and_a_seal_says_how_much(tmp_path: Path) -> None:
    writer = make(tmp_path / "log")
    put(writer, b"one")
    put(writer, b"")
    assert writer.flush()
    writer.close()
    found = items(tmp_path / "log")
    assert all(isinstance(item, Frame) for item in found)
    head, *_, seal = (item.record() for item in found if isinstance(item, Frame))
    assert isinstance(head, SegmentHead)
    assert isinstance(seal, Seal)
    assert (head.first_seq, seal.next_seq, seal.frames) == (1, 3, 3)
    assert bodies(tmp_path / "log") == {1: b"one", 2: b""}


def test_frames_that_were_not_flushed_are_not_in_the_log(tmp_path: Path) -> None:
    writer = make(tmp_path / "log")
    put(writer, b"kept")
    writer.flush()
    put(writer, b"only gathered")
    assert list(bodies(tmp_path / "log").values()) == [b"kept"]
    writer.close()


def test_a_full_segment_is_sealed_and_the_next_one_goes_on_with_the_numbers(tmp_path: Path) -> None:
    writer = make(tmp_path / "log", segment_bytes=500)
    for index in range(20):
        put(writer, bytes([index]) * 100)
        assert writer.flush()
    writer.close()
    assert len(list_segments(tmp_path / "log")) > 3
    assert bodies(tmp_path / "log") == {index + 1: bytes([index]) * 100 for index in range(20)}
    assert all(isinstance(item, Frame) for item in items(tmp_path / "log"))


def test_p6_a_second_writer_is_refused_with_the_holders_pid(tmp_path: Path) -> None:
    writer = make(tmp_path / "log")
    with pytest.raises(BusyError) as caught:
        make(tmp_path / "log")
    assert caught.value.pid == os.getpid()
    writer.close()
    make(tmp_path / "log").close()


def test_p3_a_successor_begins_a_new_segment_and_changes_no_byte(tmp_path: Path) -> None:
    writer = make(tmp_path / "log")
    put(writer, b"first")
    writer.flush()
    writer.close(final=False)
    before = (tmp_path / "log" / "0-00000001.wlog").read_bytes()
    successor = make(tmp_path / "log")
    assert successor.next_seq == 2
    put(successor, b"second")
    successor.close()
    assert (tmp_path / "log" / "0-00000001.wlog").read_bytes() == before
    assert bodies(tmp_path / "log") == {1: b"first", 2: b"second"}


@pytest.mark.parametrize("room", range(0, 364, 7))
def test_p10_a_disk_that_fills_at_any_byte_harms_nothing_before_and_recording_resumes(
    tmp_path: Path, room: int
) -> None:
    files = FailingFiles()
    writer = make(tmp_path / "log", files=files)
    kept = put(writer, b"before")
    assert writer.flush()
    files.room = room
    lost = [put(writer, b"x" * 50) for _ in range(4)]
    assert not writer.flush()
    dropped = {seq for _, seq in writer.lost}
    assert dropped
    assert dropped <= set(lost)
    assert not writer.flush()  # still full
    files.room = None
    writer.begin_new_segment()
    after = put(writer, b"after")
    assert writer.flush()
    writer.close()
    found = bodies(tmp_path / "log")
    assert found[kept] == b"before"
    assert found[after] == b"after"
    assert set(lost) - dropped == set(found) - {kept, after}


def test_p5_seqs_that_damage_hides_are_not_given_again(tmp_path: Path) -> None:
    writer = make(tmp_path / "log")
    for _ in range(20):
        put(writer, b"x" * 100)
    writer.flush()
    writer.close(final=False)
    segment = tmp_path / "log" / "0-00000001.wlog"
    segment.write_bytes(bytes([0xAA]) * segment.stat().st_size)
    assert resume_point(tmp_path / "log", 0, 1)[1] > 20


def test_p10_no_empty_segments_are_left_behind_while_the_disk_is_full(tmp_path: Path) -> None:
    files = FailingFiles()
    writer = make(tmp_path / "log", files=files)
    files.room = 0
    put(writer, b"x")
    for _ in range(5):
        assert not writer.flush()
    assert len(list_segments(tmp_path / "log")) == 1
    writer.close()


def test_p9_after_a_failed_fsync_the_unsynced_frames_are_in_a_new_segment(tmp_path: Path) -> None:
    files = FailingFiles()
    writer = make(tmp_path / "log", files=files)
    put(writer, b"safe")
    writer.flush()
    until = writer.here
    writer.sync_job()()
    writer.synced(until)
    put(writer, b"in doubt")
    writer.flush()
    files.sync_errors = 1
    with pytest.raises(OSError, match="input/output"):
        writer.sync_job()()
    assert writer.rewrite_unsynced()
    writer.close()
    second = [item for item in scan_segment(tmp_path / "log" / "0-00000002.wlog") if isinstance(item, Frame)]
    copied = [bytes(frame.data) for frame in second if frame.kind == FrameType.REQUEST_BODY]
    assert copied == [b"in doubt"]


def test_a_folder_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    blocked = tmp_path / "log"
    blocked.write_bytes(b"a file, not a folder")
    with pytest.raises(StorageError):
        StreamWriter(blocked, ME, clock_ns=lambda: 1, next_number=1, next_seq=1)
