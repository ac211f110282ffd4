"""P9: what a sync has not saved is saved by the next one, or by a copy, or it is said to be lost."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from harness.disks.memory import MemoryDisk, MemoryFiles
from tests.support.failing_files import FailingFiles
from wiretape.log.files import Files
from wiretape.log.format import Done, EndState, FrameType
from wiretape.log.items import Frame
from wiretape.log.resume import resume_point
from wiretape.log.scan import scan_segment
from wiretape.log.store import list_segments
from wiretape.log.stream_writer import StreamIdentity, StreamWriter
from wiretape.log.verify import verify_log

LOG = Path("/log")
DONE = Done(1, EndState.COMPLETE, 200, 0, 0, 0, 0, 0, 0, 0)


def blank() -> MemoryDisk:
    disk = MemoryDisk()
    disk.make_folder(LOG)
    return disk


def begin(files: Files, run: int = 1) -> StreamWriter:
    number, seq = resume_point(LOG, 0, 1, files)
    me = StreamIdentity("s", 0, 1, run, 1, "boot", "test")
    return StreamWriter(LOG, me, clock_ns=lambda: 1, next_number=number, next_seq=seq, files=files, segment_bytes=4000)


def put(writer: StreamWriter, data: bytes = b"") -> int:
    seq = writer.take_seq()
    writer.append(FrameType.DONE, seq, DONE, data)
    return seq


def sync(writer: StreamWriter) -> None:
    until = writer.here
    writer.sync_job()()
    writer.synced(until)


def ends(disk: MemoryDisk) -> set[int]:
    files = MemoryFiles(disk)
    return {
        item.seq
        for ref in list_segments(LOG, files)
        for item in scan_segment(ref.path, files=files)
        if isinstance(item, Frame) and item.kind == FrameType.DONE
    }


def test_p9_what_a_killed_writer_left_unsynced_is_saved_by_the_next_ones_first_sync() -> None:
    disk = blank()
    writer = begin(MemoryFiles(disk))
    seq = put(writer)
    writer.flush()
    disk = disk.after_kill()
    assert any(seq not in ends(disk.after_power_cut(Random(seed))) for seed in range(20))
    sync(begin(MemoryFiles(disk), run=2))
    assert all(seq in ends(disk.after_power_cut(Random(seed))) for seed in range(20))


def test_p9_what_a_killed_writer_left_is_copied_when_its_only_sync_fails() -> None:
    disk = blank()
    writer = begin(MemoryFiles(disk))
    seqs = {put(writer, b"x" * 600) for _ in range(12)}  # in several segments
    writer.flush()
    disk = disk.after_kill()
    files = MemoryFiles(disk)
    writer = begin(files, run=2)
    files.failing = 1
    with pytest.raises(OSError, match="Input/output"):
        writer.sync_job()()
    assert writer.rewrite_unsynced()
    sync(writer)
    for seed in range(40):
        assert seqs <= ends(disk.after_power_cut(Random(seed)))
    report = verify_log(LOG, "s", files=files)
    assert report.done == len(seqs)
    assert (report.gaps, report.lost_exchanges, report.notes) == ([], 0, [])


def test_p9_only_the_segment_that_was_refused_is_copied() -> None:
    disk = blank()
    writer = begin(MemoryFiles(disk))
    for _ in range(12):
        put(writer, b"x" * 600)
        writer.flush()
    assert len(list_segments(LOG, MemoryFiles(disk))) > 2
    files = FailingFiles(MemoryFiles(disk.after_kill()))
    writer = begin(files, run=2)
    files.sync_errors = 1
    with pytest.raises(OSError, match="input/output"):
        writer.sync_job()()
    before = {ref.number for ref in list_segments(LOG, files)}
    assert writer.rewrite_unsynced()
    copies = [
        item.seq
        for ref in list_segments(LOG, files)
        if ref.number not in before
        for item in scan_segment(ref.path, files=files, live=True)
        if isinstance(item, Frame) and item.kind == FrameType.DONE
    ]
    first = next(ref for ref in list_segments(LOG, files))
    held = [item.seq for item in scan_segment(first.path, files=files) if isinstance(item, Frame) and item.seq]
    assert copies == held


def test_p9_what_is_gathered_during_a_sync_is_not_taken_for_saved() -> None:
    files = MemoryFiles(blank())
    writer = begin(files)
    put(writer)
    writer.flush()
    seq = put(writer)
    sync(writer)
    writer.flush()
    files.failing = 1
    with pytest.raises(OSError, match="Input/output"):
        writer.sync_job()()
    assert writer.rewrite_unsynced()
    sync(writer)
    assert all(seq in ends(files.disk.after_power_cut(Random(seed))) for seed in range(20))


@pytest.mark.parametrize("seed", range(8))
def test_p9_pages_that_a_failed_sync_took_from_memory_too_are_named_as_lost(seed: int) -> None:
    disk = blank()
    files = MemoryFiles(disk, Random(seed))
    writer = begin(files)
    written = set()
    for _ in range(12):  # three segments
        written.add(put(writer, b"x" * 700))
        writer.flush()
    files.failing, files.forget = 1, True
    with pytest.raises(OSError, match="Input/output"):
        writer.sync_job()()
    epoch = writer.epoch
    assert writer.rewrite_unsynced()
    lost = set(writer.gone)
    assert lost
    assert len(writer.gone) == len(lost)
    assert writer.epoch > epoch
    assert ends(disk) == written - lost
    sync(writer)
    for cut in range(10):
        assert ends(disk.after_power_cut(Random(cut))) == written - lost


def test_p9_copies_that_cannot_be_written_cost_nothing_and_are_made_later() -> None:
    memory = MemoryFiles(blank())
    files = FailingFiles(memory)
    writer = begin(files)
    written = {put(writer, b"x" * 500) for _ in range(5)}
    writer.flush()
    memory.failing = 1
    with pytest.raises(OSError, match="Input/output"):
        writer.sync_job()()
    files.room = 1000
    assert not writer.rewrite_unsynced()
    assert not writer.lost
    files.room = None
    assert writer.rewrite_unsynced()
    sync(writer)
    assert all(ends(memory.disk.after_power_cut(Random(seed))) == written for seed in range(20))


def test_p9_a_folder_whose_sync_failed_is_synced_again_with_the_new_segment() -> None:
    disk = blank()
    files = FailingFiles(MemoryFiles(disk))
    writer = begin(files)
    seq = put(writer)
    writer.flush()
    files.folder_errors = 1
    with pytest.raises(OSError, match="input/output"):
        writer.sync_job()()
    assert not files.folder_errors
    assert writer.rewrite_unsynced()
    sync(writer)
    assert all(seq in ends(disk.after_power_cut(Random(seed))) for seed in range(20))


def test_p9_after_giving_up_a_new_segment_keeps_the_promise_again() -> None:
    disk = blank()
    memory = MemoryFiles(disk)
    writer = begin(memory)
    put(writer)
    writer.flush()
    memory.failing = 1
    with pytest.raises(OSError, match="Input/output"):
        writer.sync_job()()
    writer.leave_unsynced()
    later = put(writer)
    writer.flush()
    sync(writer)
    assert all(later in ends(disk.after_power_cut(Random(seed))) for seed in range(20))


def test_p5_copies_without_their_segments_head_do_not_hide_the_numbers_before(tmp_path: Path) -> None:
    memory = MemoryFiles(blank())
    writer = begin(memory)
    for _ in range(3):
        put(writer, b"x" * 600)
    writer.flush()
    assert writer.rewrite_unsynced()
    first, second = (memory.disk.content(LOG)[f"0-0000000{number}.wlog"] for number in (1, 2))
    (tmp_path / "0-00000001.wlog").write_bytes(first)
    # The power went: of the copies only the first is there, and the sector in front of it is not.
    (tmp_path / "0-00000002.wlog").write_bytes(bytes(64) + second[64:1000])
    assert resume_point(tmp_path, 0, 1) == (3, 4)


@pytest.mark.parametrize("kept", range(41, 52))
def test_p5_a_seal_of_which_the_power_took_the_end_gives_no_number_again(tmp_path: Path, kept: int) -> None:
    memory = MemoryFiles(blank())
    writer = begin(memory)
    for _ in range(3):
        put(writer, b"x")
    writer.close()
    content = memory.disk.content(LOG)["0-00000001.wlog"]
    seal = len(content) - content[::-1].index(b"TW\x89") - 3
    # The file's length reached the disk, and of the seal's record only what lies in front of a sector's end.
    (tmp_path / "0-00000001.wlog").write_bytes(content[: seal + kept].ljust(len(content), b"\0"))
    assert resume_point(tmp_path, 0, 1) == (2, 4)


def test_p9_a_sync_while_no_segment_can_be_begun_says_nothing_of_the_next_one() -> None:
    memory = MemoryFiles(blank())
    files = FailingFiles(memory)
    writer = begin(files)
    put(writer, b"x" * 3000)
    writer.flush()
    create, failures = memory.create, [OSError(24, "too many open files")]

    def create_after_a_failure(path: Path) -> int:
        if failures and not path.name.endswith("1.wlog"):
            raise failures.pop()
        return create(path)

    memory.create = create_after_a_failure  # type: ignore[method-assign]
    assert not writer.begin_new_segment()
    sync(writer)
    assert writer.begin_new_segment()
    seq = put(writer)
    writer.flush()
    memory.failing = 1
    with pytest.raises(OSError, match="Input/output"):
        writer.sync_job()()
    assert writer.rewrite_unsynced()
    sync(writer)
    assert all(seq in ends(memory.disk.after_power_cut(Random(cut))) for cut in range(20))
