"""The recorders that the tests of this folder send traffic through."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from harness.recorder import RecorderProcess
from wiretape.cli.demo.certificates import OriginCA

Recording = Callable[[str], AbstractContextManager[RecorderProcess]]
LOOPS = ["uvloop", "asyncio"]


@pytest.fixture(scope="session")
def recording(tmp_path_factory: pytest.TempPathFactory, origin_ca: OriginCA) -> Iterator[Recording]:
    """Lend the recorder of a loop for one test: it has no session then, and must be able to end those it was given.

    Starting a process for each of 500 tests takes minutes. One that a test has killed or stopped is replaced.
    """
    running: dict[str, RecorderProcess] = {}

    @contextlib.contextmanager
    def lend(loop: str) -> Iterator[RecorderProcess]:
        if loop not in running:
            root = tmp_path_factory.mktemp(f"recorder-{loop}")
            running[loop] = processes.enter_context(RecorderProcess(root, upstream_ca=origin_ca.pem, loop=loop))
        process = running.pop(loop)
        yield process
        if process.process.poll() is None:
            process.clear()
            running[loop] = process

    with contextlib.ExitStack() as processes:
        yield lend


@pytest.fixture(params=LOOPS)
def recorder(recording: Recording, request: pytest.FixtureRequest) -> Iterator[RecorderProcess]:
    """A recorder that records, on either loop; other tests have used it before."""
    with recording(request.param) as process:
        process.record()
        yield process


@pytest.fixture(params=LOOPS)
def new_recorder(root: Path, origin_ca: OriginCA, request: pytest.FixtureRequest) -> Iterator[RecorderProcess]:
    """A recorder that records, on either loop, whose process has done nothing before."""
    root.mkdir()
    with RecorderProcess(root, upstream_ca=origin_ca.pem, loop=request.param) as process:
        process.record()
        yield process
