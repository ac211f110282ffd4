"""P10: what a full disk refuses goes to the reserve, so that the end of a session is always in its log."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest

from tests.support.failing_files import FailingFiles
from wiretape.errors import StorageError
from wiretape.log.files import REAL
from wiretape.log.format import Done, EndState, FrameType, Opened
from wiretape.log.report import LogReport
from wiretape.log.reserve import END_BYTES, RESERVE_BYTES, Reserve, reserve_path
from wiretape.log.resume import resume_point
from wiretape.log.stream_writer import StreamIdentity, StreamWriter
from wiretape.log.verify import verify_log
from wiretape.recorder.session_stream import SessionStream

DONE = Done(1, EndState.COMPLETE, 200, 0, 0, 0, 0, 0, 0, 0)
OPENED = Opened(1, 1, "http", "host", 80, "127.0.0.1:1", 3)
SESSION = "20260101T000000-00000a"
ROOMY = 100 * RESERVE_BYTES


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "session" / "log"
    folder.mkdir(parents=True)
    yield folder
    shutil.rmtree(folder.parent)


@pytest.fixture
def files() -> FailingFiles:
    made = FailingFiles()
    made.room = ROOMY
    return made


def begin(log: Path, files: FailingFiles, run: int = 1, *, patient: bool = False) -> StreamWriter:
    number, seq = resume_point(log, 0, 1)
    me = StreamIdentity(SESSION, 0, 1, run, 1, "boot", "test")
    reserve = Reserve(reserve_path(log, 0), files)
    return StreamWriter(
        log, me, clock_ns=lambda: 1, next_number=number, next_seq=seq, files=files, reserve=reserve, patient=patient
    )


def put(writer: StreamWriter, size: int = 0) -> int:
    seq = writer.take_seq()
    writer.append(FrameType.OPENED, seq, OPENED, b"GET")
    writer.append(FrameType.DONE, seq, DONE, b"x" * size)
    return seq


def whole(report: LogReport) -> bool:
    return report.closed_cleanly and not (report.gaps or report.notes or report.lost_exchanges)


def test_p10_the_reserve_takes_its_room_at_the_beginning_and_is_gone_after_the_end(
    log: Path, files: FailingFiles
) -> None:
    writer = begin(log, files)
    reserve = reserve_path(log, 0)
    found = reserve.stat()
    assert (found.st_size, found.st_mode & 0o777) == (0, 0o600)
    assert found.st_blocks * 512 >= RESERVE_BYTES
    put(writer)
    writer.close()
    assert not reserve.exists()
    assert whole(verify_log(log, SESSION))


@pytest.mark.parametrize("room", [0, 1, 50, 200, 700])
def test_p10_frames_that_a_full_disk_refuses_and_the_end_go_to_the_reserve(
    log: Path, files: FailingFiles, room: int
) -> None:
    writer = begin(log, files)
    put(writer)
    assert writer.flush()
    files.room = room
    for _ in range(3):
        put(writer, 300)
    assert writer.flush()
    assert writer.in_reserve
    assert writer.lost == []
    writer.close()
    report = verify_log(log, SESSION)
    assert (report.exchanges, report.done, report.segments) == (4, 4, 2)
    assert whole(report)


def test_p10_the_seal_itself_goes_to_the_reserve(log: Path, files: FailingFiles) -> None:
    writer = begin(log, files)
    put(writer)
    assert writer.flush()
    files.room = 0
    writer.close()
    assert whole(verify_log(log, SESSION))


def test_p10_a_part_of_the_reserve_is_for_the_end_alone(log: Path, files: FailingFiles) -> None:
    writer = begin(log, files)
    files.room = 0
    written = 0
    while writer.flush() and written < RESERVE_BYTES:
        put(writer, 20_000)
        written += 20_000
    assert written > RESERVE_BYTES - 2 * END_BYTES
    assert [kind for kind, _ in writer.lost] == [FrameType.OPENED, FrameType.DONE]
    writer.close()
    assert whole(verify_log(log, SESSION)) is False  # the number that was lost is reported by the stream
    assert verify_log(log, SESSION).closed_cleanly


def test_p10_more_than_the_reserve_holds_is_lost_and_named(log: Path, files: FailingFiles) -> None:
    writer = begin(log, files)
    files.room = 0
    put(writer, RESERVE_BYTES)
    assert not writer.flush()
    assert [kind for kind, _ in writer.lost] == [FrameType.OPENED, FrameType.DONE]
    assert writer.begin_new_segment()  # the end still has its room
    writer.close()
    assert verify_log(log, SESSION).closed_cleanly


def test_p10_a_reserve_that_fails_as_well_is_left_and_every_end_counts_once(log: Path, files: FailingFiles) -> None:
    writer = begin(log, files)
    seqs = [put(writer), put(writer)]
    files.room, files.reserved = 0, 100  # less than was promised
    assert not writer.flush()
    assert [seq for kind, seq in writer.lost if kind == FrameType.DONE] == seqs
    assert (writer.in_reserve, writer.fd) == (False, -1)
    writer.lost.clear()
    files.room = ROOMY
    assert writer.begin_new_segment()
    put(writer)
    writer.close()
    report = verify_log(log, SESSION)
    assert (report.done, report.closed_cleanly) == (1, True)


def test_p10_recording_leaves_the_reserve_when_there_is_room_for_a_new_one(log: Path, files: FailingFiles) -> None:
    writer = begin(log, files)
    files.room = 0
    put(writer)
    assert writer.flush()
    assert not writer.leave_reserve()
    put(writer)
    assert writer.flush()
    files.room = ROOMY
    assert writer.leave_reserve()
    assert reserve_path(log, 0).exists()
    put(writer)
    assert writer.flush()
    writer.close()
    report = verify_log(log, SESSION)
    assert (report.exchanges, report.done) == (3, 3)
    assert whole(report)


def test_p10_a_killed_recorders_reserve_lets_its_successor_begin_on_a_full_disk(log: Path, files: FailingFiles) -> None:
    writer = begin(log, files)
    put(writer)
    assert writer.flush()
    os.close(writer._lock_fd)  # what a kill does
    files.room = 0
    writer = begin(log, files, run=2)
    assert writer.in_reserve
    put(writer)
    assert writer.flush()
    writer.close()
    report = verify_log(log, SESSION)
    assert (report.exchanges, report.done) == (2, 2)
    assert whole(report)


def test_p10_a_patient_writer_begins_when_there_is_room(log: Path, files: FailingFiles) -> None:
    files.room = 0
    with pytest.raises(StorageError, match="no space left"):
        begin(log, files)
    writer = begin(log, files, patient=True)
    assert writer.fd < 0
    files.room = ROOMY
    assert writer.begin_new_segment()
    put(writer)
    writer.close()
    report = verify_log(log, SESSION)
    assert (report.exchanges, report.segments) == (1, 1)
    assert whole(report)


def test_p10_something_else_under_the_reserves_name_is_never_a_segment(log: Path, tmp_path: Path) -> None:
    path = reserve_path(log, 0)
    other = tmp_path / "other"
    other.write_bytes(b"")
    path.hardlink_to(other)
    REAL.reserve(path, RESERVE_BYTES)
    assert path.stat().st_nlink == 1
    path.write_bytes(b"not empty")
    REAL.reserve(path, RESERVE_BYTES)
    assert path.read_bytes() == b""
    path.unlink()
    path.symlink_to(other)
    with pytest.raises(OSError, match="symbolic"):
        REAL.reserve(path, RESERVE_BYTES)


def test_p10_running_exchanges_end_in_the_reserve_and_new_ones_are_counted_until_there_is_room(
    log: Path, files: FailingFiles
) -> None:
    async def run() -> int:
        loop = asyncio.get_running_loop()
        stream = SessionStream(loop, begin(log, files), SESSION, durability="os")

        async def settled() -> None:
            done = asyncio.Event()
            stream.release(lambda event: event.set(), done)
            await done.wait()

        running = [stream.take_seq() for _ in range(3)]
        for seq in running:
            stream.append(FrameType.OPENED, seq, OPENED, b"GET")
        await settled()
        files.room = 0
        for seq in running:
            stream.append(FrameType.DONE, seq, DONE, b"x" * 500)
        await settled()
        accepting = [stream.accepting]
        stream.count_unrecorded()
        stream.count_unrecorded()
        stream.report_dropped()
        await settled()
        assert stream.unreported == 0
        assert verify_log(log, SESSION).dropped == 2
        files.room = ROOMY
        loop = asyncio.get_running_loop()
        with patch.object(loop, "time", return_value=loop.time() + 1.1):
            accepting.append(stream.accepting)
        assert accepting == [False, True]
        seq = stream.take_seq()
        stream.append(FrameType.OPENED, seq, OPENED, b"GET")
        stream.append(FrameType.DONE, seq, DONE)
        files.room = 0
        stream.count_unrecorded()
        stream.close()
        return stream.dropped

    assert asyncio.run(run()) == 3
    report = verify_log(log, SESSION)
    assert (report.exchanges, report.done, report.dropped, report.interrupted) == (4, 4, 3, [])
    assert whole(report)
