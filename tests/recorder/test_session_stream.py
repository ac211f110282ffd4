"""The stream: nothing is released before its frames are in the log, and at ``always`` before they are on the disk."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

from tests.support.failing_files import FailingFiles
from wiretape.log.format import BodyChunk, FrameType
from wiretape.log.items import Frame
from wiretape.log.scan import scan_segment
from wiretape.log.store import list_segments
from wiretape.log.stream_writer import StreamIdentity, StreamWriter
from wiretape.recorder.session_stream import SessionStream

ME = StreamIdentity(
    session_id="20260101T000000-00000a", stream=0, streams=1, run=7, pid=os.getpid(), boot_id="boot", program="test"
)


def make(folder: Path, files: FailingFiles, **options: Any) -> SessionStream:
    """Make a stream on the running loop."""
    writer = StreamWriter(folder, ME, clock_ns=lambda: 1, next_number=1, next_seq=1, files=files)
    return SessionStream(asyncio.get_running_loop(), writer, ME.session_id, **options)


def count(folder: Path, kind: int) -> int:
    """Count frames of a kind."""
    found = [item for ref in list_segments(folder) for item in scan_segment(ref.path, live=True)]
    return sum(1 for item in found if isinstance(item, Frame) and item.kind == kind)


def test_p1_a_release_comes_after_the_write_and_in_order(tmp_path: Path) -> None:
    seen: list[tuple[str, int]] = []

    async def run() -> None:
        stream = make(tmp_path, FailingFiles())
        done = asyncio.Event()
        for name in "ab":
            stream.append(FrameType.REQUEST_BODY, 1, BodyChunk(0), b"x")
            stream.release(lambda what: seen.append((what, count(tmp_path, FrameType.REQUEST_BODY))), name)
        assert seen == []
        stream.release(lambda event: event.set(), done)
        await done.wait()
        stream.close()

    asyncio.run(run())
    assert seen == [("a", 2), ("b", 2)]


def test_p9_at_always_the_last_byte_waits_for_the_disk(tmp_path: Path) -> None:
    order: list[str] = []

    async def run() -> None:
        files = FailingFiles()
        files.before_sync = lambda: order.append("sync")
        stream = make(tmp_path, files, durability="always")
        done = asyncio.Event()
        stream.append(FrameType.REQUEST_BODY, 1, BodyChunk(0), b"x")

        def released(event: asyncio.Event) -> None:
            order.append("released")
            event.set()

        stream.release_last(released, done)
        await done.wait()
        stream.close()

    asyncio.run(run())
    assert order[:2] == ["sync", "released"]


def test_p9_a_failed_fsync_is_not_tried_again_on_the_same_file_and_the_frames_are_written_again(tmp_path: Path) -> None:
    async def run() -> None:
        files = FailingFiles()
        files.sync_errors = 1
        stream = make(tmp_path, files, durability="always")
        done = asyncio.Event()
        stream.append(FrameType.REQUEST_BODY, 1, BodyChunk(0), b"x")
        stream.release_last(lambda event: event.set(), done)
        await done.wait()
        assert files.synced >= 1
        stream.close()

    asyncio.run(run())
    assert [ref.number for ref in list_segments(tmp_path)] == [1, 2]
    assert count(tmp_path, FrameType.REQUEST_BODY) == 2  # the suspect one and its copy
    assert count(tmp_path, FrameType.EVENT) == 1


def test_p9_a_disk_that_never_syncs_does_not_hold_traffic_for_ever(tmp_path: Path) -> None:
    async def run() -> None:
        files = FailingFiles()
        files.sync_errors = 1000
        stream = make(tmp_path, files, durability="always")
        done = asyncio.Event()
        stream.append(FrameType.REQUEST_BODY, 1, BodyChunk(0), b"x")
        stream.release_last(lambda event: event.set(), done)
        await asyncio.wait_for(done.wait(), 20)
        stream.close()

    asyncio.run(run())
    assert len(list_segments(tmp_path)) < 15


def test_p9_group_syncs_by_itself(tmp_path: Path) -> None:
    async def run() -> None:
        files = FailingFiles()
        synced = asyncio.Event()
        loop = asyncio.get_running_loop()
        files.before_sync = lambda: loop.call_soon_threadsafe(synced.set)
        stream = make(tmp_path, files, durability="group")
        stream.append(FrameType.REQUEST_BODY, 1, BodyChunk(0), b"x")
        await asyncio.wait_for(synced.wait(), 20)
        stream.close()

    asyncio.run(run())


def test_p10_a_cap_stops_recording_but_not_the_session_s_end(tmp_path: Path) -> None:
    async def run() -> None:
        stream = make(tmp_path, FailingFiles(), max_disk=300 * 1024)
        accepting = [stream.accepting]
        stream.append(FrameType.REQUEST_BODY, 1, BodyChunk(0), b"x" * 200 * 1024)
        done = asyncio.Event()
        stream.release(lambda event: event.set(), done)
        await done.wait()
        accepting.append(stream.accepting)
        assert accepting == [True, False]
        stream.begin()
        stream.count_unrecorded()
        stream.end()
        assert stream.dropped == 1
        stream.close()

    asyncio.run(run())
    assert count(tmp_path, FrameType.SEAL) == 1
    assert count(tmp_path, FrameType.EVENT) == 1
