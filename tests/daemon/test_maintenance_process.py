"""The background process: watched, started again, and what it tells kept within bounds."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from harness.logs import Recording, new_session
from harness.processes import wait_gone
from wiretape.cli.demo.stage import Daemon
from wiretape.cli.demo.waiting import DEADLINE, wait_until
from wiretape.daemon.client import request
from wiretape.daemon.maintenance_process import NEWEST, Maintenance
from wiretape.session.catalogue import Catalogue
from wiretape.settings import MaintenanceSettings

EAGER = MaintenanceSettings(eager=True)


def run(root: Path, use: Callable[[Maintenance], Awaitable[None]], settings: MaintenanceSettings = EAGER) -> None:
    async def main() -> None:
        maintenance = Maintenance(root, settings)
        await maintenance.start()
        try:
            async with asyncio.timeout(DEADLINE):
                await use(maintenance)
        finally:
            await maintenance.stop()

    asyncio.run(main())


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0)


def test_a_killed_background_process_is_replaced_said_and_told_what_to_follow(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WIRETAPE_BACKGROUND", "eager")
    with Daemon(root) as daemon:

        def background() -> dict[str, object]:
            return dict(request(root, {"cmd": "status"})["background"])

        killed = 0
        for restarts in (1, 2):
            wait_until(lambda: background()["doing"] == "following", what="the background at work")
            pid = background()["pid"]
            assert isinstance(pid, int)
            os.kill(pid, signal.SIGKILL)
            killed = pid
            wait_until(lambda n=restarts: background()["restarts"] == n, what="its end in the status")  # type: ignore[misc]
        wait_until(lambda: background()["doing"] == "following", what="its successor at work")
        now = background()
        assert now["pid"] not in {None, killed}
        assert [f"ended by signal {signal.SIGKILL:d}" in sentence for sentence in now["problems"]] == [True, True]  # type: ignore[attr-defined]
        assert "another one starts in" in daemon.messages.read_text()
        last = now["pid"]
        assert daemon.stop()[0] == 0
        assert isinstance(last, int)
        wait_gone(last)


def test_one_that_ends_again_and_again_is_started_ever_later(root: Path) -> None:
    async def use(maintenance: Maintenance) -> None:
        for _ in range(3):
            await until(lambda: maintenance.state.pid)
            pid = maintenance.state.pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            await until(lambda gone=pid: maintenance.state.pid != gone)  # type: ignore[misc]

    said: list[str] = []

    async def watch(maintenance: Maintenance) -> None:
        await use(maintenance)
        said.extend(maintenance.state.problems)

    run(root, watch)
    assert [sentence.rpartition(" in ")[2] for sentence in said] == ["0.25 s", "0.5 s", "1 s"]


def test_p13_more_unclean_sessions_than_are_named_are_all_recovered_and_counted(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wiretape.daemon.maintenance_process.NEWEST", 3)
    made = [new_session(root) for _ in range(5)]
    for session in made:
        recording = Recording(session)
        recording.exchange("http://example.com/")
        recording.kill()

    async def use(maintenance: Maintenance) -> None:
        await until(lambda: maintenance.state.doing == "following")
        assert maintenance.state.recovered_total == 5
        assert len(maintenance.state.recovered) == 3
        assert set(maintenance.state.recovered) < {session.session_id for session in made}

    run(root, use)
    assert {summary.recovery_state for summary in Catalogue(root).list()} == {"recovered"}


def test_what_the_status_names_is_bounded(root: Path) -> None:
    problems = tuple(f"problem {number}: {'x' * 5000}" for number in range(NEWEST + 20))

    async def use(maintenance: Maintenance) -> None:
        await until(lambda: maintenance.state.doing == "following")
        assert len(maintenance.state.problems) == NEWEST
        assert maintenance.state.problems[-1].startswith(f"problem {NEWEST + 19}: ")
        assert max(map(len, maintenance.state.problems)) <= 1000

    run(root, use, MaintenanceSettings(eager=True, problems=problems))
