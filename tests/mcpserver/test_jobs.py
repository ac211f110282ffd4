"""What takes longer than an answer may: a job, its progress, its result, its end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from mcp.client import Client

from harness.logs import Recording, new_session
from tests.mcpserver.conftest import InProcess
from wiretape.daemon.jobs import Job, Jobs
from wiretape.errors import NotFoundError
from wiretape.mcpserver.tools import carrying
from wiretape.session.answers.export import export_file
from wiretape.session.answers.secrets import SecretsFound


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with one session of ten exchanges, ``ten``."""
    root = tmp_path_factory.mktemp("jobs") / "root"
    recording = Recording(new_session(root, "ten"))
    for number in range(10):
        recording.exchange(f"http://a.test/{number}?token=Zq7k1Lm9Xw2Rt5Yb8Nc4Vd6{number}")
    recording.close()
    return root


class Slow:
    """Stands where secrets are looked for, and goes on when it is told to."""

    def __init__(self) -> None:
        self.calls = 0
        self.began = threading.Event()
        self.go_on = threading.Event()

    def find(self, session: Any, *_: Any, progress: Any, **__: Any) -> SecretsFound:
        self.calls += 1
        progress(3, 10)
        self.began.set()
        assert self.go_on.wait(30)
        progress(10, 10)
        return SecretsFound(session=session.session_id, exchanges=10, values=[], complete=True)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[Slow]:
    """A tool whose work waits, and a server that has little patience."""
    found = Slow()
    monkeypatch.setattr(carrying, "find_secrets", found.find)
    monkeypatch.setattr("wiretape.mcpserver.tool.PATIENCE", 0.05)
    yield found
    found.go_on.set()


async def call(client: Client, name: str, **arguments: Any) -> Any:
    result = await client.call_tool(name, arguments)
    assert not result.is_error, result.content
    return result.structured_content


async def finished(client: Client, name: str, **arguments: Any) -> Any:
    """Call the same until it is done, as it is told."""
    while (answer := await call(client, name, **arguments))["status"] == "running":
        pass
    return answer


def test_what_takes_long_is_a_job_with_progress_and_its_result_is_asked_for(root: Path, slow: Slow) -> None:
    async def ask(client: Client) -> None:
        begun = await call(client, "proxy_find_secrets", session_id="ten")
        assert begun.keys() == {"status", "job", "progress", "next"}
        assert (begun["status"], begun["job"], begun["next"]) == ("running", "job-1", "proxy_job job_id=job-1")
        assert await asyncio.to_thread(slow.began.wait, 30)
        waiting = await call(client, "proxy_job", job_id="job-1", wait_ms=0)
        assert (waiting["state"], waiting["tool"]) == ("running", "proxy_find_secrets")
        assert waiting["progress"] == {"done": 3, "total": 10, "said": "3 of 10 exchanges"}
        slow.go_on.set()
        done = await call(client, "proxy_job", job_id="job-1", wait_ms=60_000)
        assert (done["state"], done["progress"]["done"]) == ("done", 10)
        assert done["result"]["exchanges"] == 10
        assert (await call(client, "proxy_job", job_id="job-1", wait_ms=60_000))["result"] == done["result"], (
            "as often as it is asked"
        )

    InProcess(root).run(ask)


def test_who_has_no_tool_for_jobs_calls_the_same_again_and_gets_the_same_job(root: Path, slow: Slow) -> None:
    async def ask(client: Client) -> None:
        begun = await call(client, "proxy_find_secrets", session_id="ten")
        assert begun["next"] == "proxy_find_secrets with the same arguments again"
        assert (await call(client, "proxy_find_secrets", session_id="ten"))["job"] == begun["job"]
        slow.go_on.set()
        assert (await finished(client, "proxy_find_secrets", session_id="ten"))["exchanges"] == 10
        assert slow.calls == 1
        await finished(client, "proxy_find_secrets", session_id="ten")
        assert slow.calls == 2, "what was answered is not answered again from memory"

    InProcess(root).run(ask, toolsets=("core",))


def test_a_job_ends_when_it_is_cancelled(root: Path, slow: Slow) -> None:
    async def ask(client: Client) -> None:
        begun = await call(client, "proxy_find_secrets", session_id="ten")
        assert await asyncio.to_thread(slow.began.wait, 30)
        assert (await call(client, "proxy_job", job_id=begun["job"], cancel=True, wait_ms=0))["state"] == "cancelling"
        slow.go_on.set()
        ended = await call(client, "proxy_job", job_id=begun["job"], wait_ms=60_000)
        assert (ended["state"], ended["error"]["code"]) == ("cancelled", "cancelled")
        assert "result" not in ended

    InProcess(root).run(ask)


def test_a_cancelled_export_leaves_no_file(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wiretape.mcpserver.tool.PATIENCE", 0.0)
    monkeypatch.setattr("wiretape.session.answers.export._EVERY", 1)
    began, go_on = threading.Event(), threading.Event()
    whole = export_file

    def held(*arguments: Any, progress: Any, **named: Any) -> Any:
        def report(done: int, total: int) -> None:
            began.set()
            assert go_on.wait(30)
            progress(done, total)

        return whole(*arguments, progress=report, **named)

    monkeypatch.setattr(carrying, "export_file", held)

    async def ask(client: Client) -> None:
        begun = await call(client, "proxy_export", what="har", session_id="ten", output_file="gone.har")
        assert await asyncio.to_thread(began.wait, 30)
        await call(client, "proxy_job", job_id=begun["job"], cancel=True, wait_ms=0)
        go_on.set()
        assert (await call(client, "proxy_job", job_id=begun["job"], wait_ms=60_000))["state"] == "cancelled"

    InProcess(root).run(ask)
    assert list((root / "exports").iterdir()) == []


def test_a_job_that_does_not_exist_is_a_clear_error(root: Path) -> None:
    async def ask(client: Client) -> Any:
        return await client.call_tool("proxy_job", {"job_id": "job-9"})

    answer = InProcess(root).run(ask)
    assert answer.is_error
    assert "'job-9'" in answer.content[0].text


def test_a_client_that_asks_for_progress_is_told_of_it_and_waits_longer(root: Path, slow: Slow) -> None:
    """As it comes over a wire: a client in the same process that speaks the newer protocol sends no token."""
    seen: list[tuple[float, float | None, str | None]] = []

    async def told(progress: float, total: float | None, message: str | None) -> None:
        seen.append((progress, total, message))
        slow.go_on.set()

    async def ask(client: Client) -> Any:
        result = await client.call_tool("proxy_find_secrets", {"session_id": "ten"}, progress_callback=told)
        return result.structured_content

    assert InProcess(root).run(ask, mode="legacy")["exchanges"] == 10
    assert seen[0] == (3, 10, "3 of 10 exchanges")


def test_p18_a_job_of_a_server_that_reveals_is_nobody_elses() -> None:
    async def ask() -> None:
        jobs = Jobs()

        async def work(_: Any) -> str:
            return "value"

        job = jobs.begin("proxy_export", "key", work, open_=True)
        assert jobs.same("key", open_=False) is None
        assert jobs.find(job.number, open_=True) is job
        with pytest.raises(NotFoundError):
            jobs.find(job.number, open_=False)
        await jobs.close()

    asyncio.run(ask())


def test_results_are_kept_until_they_are_many_or_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wiretape.daemon.jobs.KEPT_BYTES", 1_000)

    async def results() -> list[str]:
        jobs = Jobs()
        for size in (400, 400, 400, 10):
            await jobs.begin("what", str(size), partial(_letters, size), open_=False).task
        jobs.begin("what", "last", partial(_letters, 1), open_=False)
        return [number for number in ("job-1", "job-2", "job-3", "job-4") if _is_kept(jobs, number)]

    assert asyncio.run(results()) == ["job-2", "job-3", "job-4"]


async def _letters(count: int, _: Job) -> str:
    return "x" * count


def _is_kept(jobs: Jobs, number: str) -> bool:
    try:
        jobs.find(number, open_=False)
    except NotFoundError:
        return False
    return True
