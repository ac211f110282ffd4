"""The tape on a disk that fails: what was not recorded is counted exactly, and the count itself is not lost."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.recorder.test_tape import ME, make
from tests.support.disks.memory import MemoryDisk, MemoryFiles
from tests.support.failing_files import FailingFiles
from wiretape.log.format import Done, EndState, FrameType
from wiretape.log.verify import verify_log
from wiretape.log.writer import LogWriter
from wiretape.recorder.tape import Tape

DONE = Done(1, EndState.COMPLETE, 200, 0, 0, 0, 0, 0, 0, 0)


async def written(tape: Tape) -> None:
    """Wait until what was appended was tried to be written."""
    done = asyncio.Event()
    tape.release(lambda event: event.set(), done)
    await done.wait()


def test_p10_a_report_of_drops_that_the_full_disk_refuses_is_made_again(tmp_path: Path) -> None:
    files = FailingFiles()

    async def run() -> int:
        tape = make(tmp_path, files, durability="os")
        files.room = 0
        for seq in (1, 2):
            tape.append(FrameType.DONE, seq, DONE)
        await written(tape)
        assert tape.dropped == 2
        files.room = 100_000
        tape.append(FrameType.DONE, 3, DONE)  # meets no segment, begins the next one
        await written(tape)
        tape.report_dropped()
        files.room = 0
        await written(tape)
        files.room = None
        tape.append(FrameType.DONE, 4, DONE)
        await written(tape)
        tape.close()
        return tape.dropped

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
        writer = LogWriter(folder, ME, clock_ns=lambda: 1, next_number=1, next_seq=1, files=memory)
        tape = Tape(asyncio.get_running_loop(), writer, ME.session_id, durability="always")
        memory.forget = forget
        for round_ in range(6):
            memory.failing = round_ % 2
            done = asyncio.Event()
            for _ in range(4):
                seq = tape.take_seq()
                tape.append(FrameType.DONE, seq, DONE, b"x" * 600)
                told.append(seq)
            tape.release_last(lambda event: event.set(), done)
            await asyncio.wait_for(done.wait(), 20)
        tape.close()

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
        writer = LogWriter(folder, ME, clock_ns=lambda: 1, next_number=1, next_seq=1, files=files)
        tape = Tape(loop, writer, ME.session_id, durability="always")
        tape.append(FrameType.DONE, tape.take_seq(), DONE, b"x" * 600)
        memory.failing, files.room = 1, 700
        failed = asyncio.Event()
        files.before_sync = lambda: loop.call_soon_threadsafe(failed.set)
        tape.release_last(lambda _: None, None)
        await failed.wait()
        while not tape._in_doubt:
            await asyncio.sleep(0)
        files.room = None
        tape.close()

    asyncio.run(run())
    for seed in range(20):
        report = verify_log(folder, ME.session_id, files=MemoryFiles(disk.after_power_cut(Random(seed))))
        assert report.done + report.dropped >= 1
