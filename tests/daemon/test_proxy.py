"""A proxy's recorders: started, replaced, refused."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from wiretape.cli.demo.waiting import DEADLINE
from wiretape.daemon.listen import bind
from wiretape.daemon.proxy import Capture
from wiretape.errors import DaemonError
from wiretape.session.catalogue import Catalogue
from wiretape.settings import Address, RecordTarget, UpstreamSettings


def capture_for(root: Path, *, upstream_ca: Path | None = None, workers: int = 1) -> Capture:
    upstream = UpstreamSettings(workers=workers, ca=upstream_ca)
    return Capture(bind(Address(host="127.0.0.1", port=0)), root, upstream)


def target(root: Path, name: str) -> RecordTarget:
    folder = Catalogue(root).create(name)
    return RecordTarget(session_id=folder.session_id, dir=folder.path)


def run(capture: Callable[[], Capture], use: Callable[[Capture], Awaitable[None]], to: RecordTarget | None) -> None:
    async def main() -> None:
        running = capture()
        await running.start(to)
        try:
            async with asyncio.timeout(DEADLINE * 2):
                await use(running)
        finally:
            await running.stop()

    asyncio.run(main())


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0)


def test_a_recorder_that_is_killed_again_and_again_comes_back_each_time(root: Path) -> None:
    async def use(capture: Capture) -> None:
        for _ in range(3):
            (old,) = capture.pids
            os.kill(old, signal.SIGKILL)
            await until(lambda pid=old: capture.pids not in ([], [pid]))  # type: ignore[misc]
        assert capture.restarts == 3
        with socket.create_connection((capture.address.host, capture.address.port)):
            assert (await capture.stats())["dropped"] == 0

    to = target(root, "killed")
    run(lambda: capture_for(root), use, to)
    with Catalogue(root).open("killed") as session:
        assert session.verify().lost_exchanges == 0


def test_a_recorder_that_cannot_start_says_why_and_leaves_nothing(root: Path, tmp_path: Path) -> None:
    roots = tmp_path / "roots.pem"
    roots.write_text("no certificate")
    pids: list[int] = []

    async def main() -> None:
        capture = capture_for(root, upstream_ca=roots)
        with pytest.raises(DaemonError, match=r"roots\.pem"):
            await capture.start(None)
        pids.extend(capture.pids)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((capture.address.host, capture.address.port))

    asyncio.run(main())
    assert pids == []


def test_a_session_that_cannot_be_written_is_refused_and_the_old_one_goes_on(root: Path) -> None:
    first = target(root, "first")
    broken = target(root, "broken")
    shutil.rmtree(broken.dir)

    async def use(capture: Capture) -> None:
        with pytest.raises(DaemonError):
            await capture.record(broken)
        assert capture.target == first
        assert len(capture.pids) == 1
        assert capture.restarts == 0

    run(lambda: capture_for(root), use, first)
    with Catalogue(root).open("first") as session:
        assert session.verify().state == "clean"
