"""The stream on a disk that fails: what was not recorded is counted exactly, and the count itself is not lost."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from harness.disks.memory import MemoryDisk, MemoryFiles
from tests.recorder.test_session_stream import ME, make
from tests.support.failing_files import FailingFiles
from wiretape.log.format import Done, EndState, Flag, FrameType, Opened
from wiretape.log.stream_writer import StreamWriter
from wiretape.log.verify import verify_log
from wiretape.recorder.session_stream import SessionStream
from wiretape.settings import Durability

LOG = Path("/log")
DONE = Done(1, EndState.COMPLETE, 200, 0, 0, 0, 0, 0, 0, 0)


async def written(stream: SessionStream) -> None:
    """Wait until what was appended was tried to be written."""
    done = asyncio.Event()
    stream.release(lambda event: event.set(), done)
    await done.wait()


def test_p10_a_report_of_drops_that_the_full_disk_refuses_is_made_again(tmp_path: Path) -> None:
    files = FailingFiles()

    async def run() -> int:
        stream = make(tmp_path, files, durability="os")
        files.room = 0
        for seq in (1, 2):
            stream.append(FrameType.DONE, seq, DONE)
        await written(stream)
        assert stream.dropped == 2
        files.room = 100_000
        stream.append(FrameType.DONE, 3, DONE)  # meets no segment, begins the next one
        await written(stream)
        files.room = 0
        stream.report_dropped()
        await written(stream)
        files.room = None
        stream.append(FrameType.DONE, 4, DONE)
        await written(stream)
        stream.close()
        return stream.dropped

    dropped = asyncio.run(run())
    report = verify_log(tmp_path, ME.session_id)
    assert report.dropped == dropped == 4
    assert report.partial == [1, 2, 3, 4]


@pytest.mark.parametrize("forget", [False, True])
def test_p9_an_acknowledged_exchange_is_on_the_disk_or_counted_as_dropped(forget: bool) -> None:
    folder = Path("/log")
    disk = MemoryDisk()
    disk.make_folder(folder)
    memory = MemoryFiles(disk)
    told: list[int] = []

    async def run() -> None:
        writer = StreamWriter(folder, ME, clock_ns=lambda: 1, next_number=1, next_seq=1, files=memory)
        stream = SessionStream(asyncio.get_running_loop(), writer, ME.session_id, durability="always")
        memory.forget = forget
        for round_ in range(6):
            memory.failing = round_ % 2
            done = asyncio.Event()
            for _ in range(4):
                seq = stream.take_seq()
                stream.append(FrameType.DONE, seq, DONE, b"x" * 600)
                told.append(seq)
            stream.release_last(lambda event: event.set(), done)
            await asyncio.wait_for(done.wait(), 20)
        stream.close()

    asyncio.run(run())
    seen: set[int] = set()

    def watch(items: Any) -> Any:
        for item in items:
            seen.add(getattr(item, "seq", 0))
            yield item

    report = verify_log(folder, ME.session_id, watch=watch, files=MemoryFiles(disk))
    assert set(told) <= seen | set(report.partial)
    assert bool(report.partial) == forget
    assert report.dropped == len(report.partial)


def test_p9_closing_in_doubt_writes_the_copies_first() -> None:
    folder = Path("/log")
    disk = MemoryDisk()
    disk.make_folder(folder)
    memory = MemoryFiles(disk)
    files = FailingFiles(memory)

    async def run() -> None:
        loop = asyncio.get_running_loop()
        writer = StreamWriter(folder, ME, clock_ns=lambda: 1, next_number=1, next_seq=1, files=files)
        stream = SessionStream(loop, writer, ME.session_id, durability="always")
        stream.append(FrameType.DONE, stream.take_seq(), DONE, b"x" * 600)
        memory.failing, files.room = 1, 700
        failed = asyncio.Event()
        files.before_sync = lambda: loop.call_soon_threadsafe(failed.set)
        stream.release_last(lambda _: None, None)
        await failed.wait()
        while not stream.in_doubt:
            await asyncio.sleep(0)
        files.room = None
        stream.close()

    asyncio.run(run())
    for seed in range(20):
        report = verify_log(folder, ME.session_id, files=MemoryFiles(disk.after_power_cut(Random(seed))))
        assert report.done + report.dropped >= 1


@pytest.mark.parametrize("failing", [1, 2, 3])
@pytest.mark.parametrize("forget", [False, True])
def test_p9_a_sync_that_fails_at_the_end_is_made_up_for_by_copies(failing: int, forget: bool) -> None:
    folder = Path("/log")
    disk = MemoryDisk()
    disk.make_folder(folder)
    memory = MemoryFiles(disk)
    memory.forget = forget
    told: list[int] = []

    async def run() -> None:
        writer = StreamWriter(folder, ME, clock_ns=lambda: 1, next_number=1, next_seq=1, files=memory)
        stream = SessionStream(asyncio.get_running_loop(), writer, ME.session_id, durability="group")
        for _ in range(3):
            stream.append(FrameType.DONE, stream.take_seq(), DONE, b"x" * 600)
            stream.release(told.append, writer.next_seq - 1)
        await written(stream)
        memory.failing = failing
        stream.close()

    asyncio.run(run())
    assert told == [1, 2, 3]
    for seed in range(20):
        report = verify_log(folder, ME.session_id, files=MemoryFiles(disk.after_power_cut(Random(seed))))
        assert report.closed_cleanly
        assert report.done + report.dropped == 3
        assert forget or report.dropped == 0


def test_p9_a_sync_that_runs_at_the_end_is_waited_for() -> None:
    folder = Path("/log")
    disk = MemoryDisk()
    disk.make_folder(folder)
    memory = MemoryFiles(disk)
    files = FailingFiles(memory)
    order: list[str] = []

    async def run() -> None:
        loop = asyncio.get_running_loop()
        writer = StreamWriter(folder, ME, clock_ns=lambda: 1, next_number=1, next_seq=1, files=files)
        stream = SessionStream(loop, writer, ME.session_id, durability="always")
        entered, drained, going_on = asyncio.Event(), asyncio.Event(), threading.Event()

        def before_sync() -> None:
            loop.call_soon_threadsafe(entered.set)
            going_on.wait(20)
            order.append("synced")

        files.before_sync = before_sync
        stream.append(FrameType.DONE, stream.take_seq(), DONE, b"x" * 600)
        stream.release_last(order.append, "released")
        await entered.wait()

        def on_drained() -> None:
            order.append("drained")
            drained.set()

        stream.when_drained(on_drained)
        for _ in range(5):
            await asyncio.sleep(0)
        assert stream.syncing
        going_on.set()
        await drained.wait()
        stream.close()

    asyncio.run(run())
    assert order[:3] == ["synced", "released", "drained"]
    report = verify_log(folder, ME.session_id, files=memory)
    assert (report.segments, report.closed_cleanly) == (1, True)


def test_p9_a_tape_closed_in_the_middle_of_a_sync_that_fails_loses_nothing() -> None:
    folder = Path("/log")
    disk = MemoryDisk()
    disk.make_folder(folder)
    memory = MemoryFiles(disk)
    files = FailingFiles(memory)
    released: list[str] = []

    async def run() -> None:
        loop = asyncio.get_running_loop()
        writer = StreamWriter(folder, ME, clock_ns=lambda: 1, next_number=1, next_seq=1, files=files)
        stream = SessionStream(loop, writer, ME.session_id, durability="always")
        entered, going_on = asyncio.Event(), threading.Event()

        def before_sync() -> None:
            files.before_sync = lambda: None
            loop.call_soon_threadsafe(entered.set)
            going_on.wait(20)
            memory.failing = 1

        files.before_sync = before_sync
        stream.append(FrameType.DONE, stream.take_seq(), DONE, b"x" * 600)
        stream.release_last(released.append, "last byte")
        await entered.wait()
        stream.close()
        assert released == ["last byte"]
        going_on.set()

    asyncio.run(run())
    assert released == ["last byte"]
    for seed in range(20):
        report = verify_log(folder, ME.session_id, files=MemoryFiles(disk.after_power_cut(Random(seed))))
        assert report.done == 1


class Unlucky(Random):
    """Draws that leave nothing of what a failed sync should have saved."""

    def random(self) -> float:
        """Draw."""
        return 1.0


class Forgetful(FailingFiles):
    """Files of which a failed sync takes everything since the last one that succeeded: it reads as zeros."""

    def __init__(self, memory: MemoryFiles) -> None:
        super().__init__(memory)
        memory.forget = True
        self.memory = memory

    def fdatasync(self, fd: int) -> None:
        """Sync, or fail."""
        if self.sync_errors > 0:
            self.sync_errors -= 1
            self.memory.failing = 1
        super().fdatasync(fd)


def exchange(stream: SessionStream) -> None:
    """Record a small exchange."""
    stream.begin()
    seq = stream.take_seq()
    stream.append(FrameType.OPENED, seq, Opened(1, 1, "http", "a", 80, "c", 0), flags=Flag.REQUEST_COMPLETE)
    stream.append(FrameType.DONE, seq, DONE)
    stream.end(seq=seq)


@pytest.mark.parametrize(
    ("ends", "durability", "streams"),
    [(13_500, "group", 1), (13_500, "os", 3), (101_000, "os", 1)],
)
def test_p10_however_many_ends_a_failed_sync_takes_they_are_counted_and_the_session_is_sealed(
    ends: int, durability: Durability, streams: int
) -> None:
    disk = MemoryDisk()
    disk.make_folder(LOG)
    files = Forgetful(MemoryFiles(disk, Unlucky()))
    me = replace(ME, streams=streams)

    async def run() -> tuple[int, int]:
        writer = StreamWriter(LOG, me, clock_ns=lambda: 1, next_number=1, next_seq=1, files=files)
        stream = SessionStream(asyncio.get_running_loop(), writer, ME.session_id, durability=durability)
        recorded = threading.Event()
        files.before_sync = recorded.wait
        files.sync_errors = 1
        for number in range(ends):
            exchange(stream)
            if number % 5_000 == 0:
                await written(stream)
        await written(stream)
        recorded.set()
        if durability == "group":
            await wait_for(lambda: not files.sync_errors and not stream.syncing)
        stream.close()
        return stream.dropped, stream.unreported

    dropped, unreported = asyncio.run(run())
    report = verify_log(LOG, ME.session_id, files=files)
    assert unreported == 0
    assert report.dropped == dropped == ends
    assert report.closed_cleanly
    assert len(report.partial) == min(dropped, 100_000)
    assert report.done == 0


async def wait_for(condition: Callable[[], bool]) -> None:
    """Let the loop run until something is so."""
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.001)
