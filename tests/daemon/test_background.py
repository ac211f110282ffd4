"""The work behind everything else gives way to the recording."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.wait import DEADLINE
from wiretape.daemon.background import QUIET, TICK, Follower
from wiretape.session.catalogue import Catalogue


class Background:
    """The process, and what it says."""

    def __init__(self, root: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "wiretape.daemon.background", str(root)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def tell(self, message: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        self.process.stdin.flush()

    def hears(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        message = json.loads(self.process.stdout.readline())
        assert isinstance(message, dict)
        return message


@pytest.fixture
def background(root: Path) -> Iterator[Background]:
    """The process for the test's root, ended by closing its stdin."""
    process = Background(root)
    yield process
    process.process.communicate(timeout=DEADLINE)
    assert process.process.returncode == 0


def test_it_reports_recovery_first_and_ends_with_its_daemon(background: Background) -> None:
    assert background.hears() == {"recovered": []}
    assert background.hears() == {"doing": "following"}


def test_it_follows_a_quiet_log_and_leaves_a_busy_one_alone(root: Path) -> None:
    catalogue = Catalogue(root)
    folder = catalogue.create("followed")
    index = folder.path / "index.sqlite"
    log = folder.path / "log"
    log.mkdir(exist_ok=True)
    busy = log / "growing"
    busy.write_bytes(b"")
    problems: list[dict[str, Any]] = []
    follower = Follower(catalogue, problems.append)
    for _ in range(5):
        # A hole: it costs no disk, and no more time than a small file.
        os.truncate(busy, busy.stat().st_size + int(QUIET * TICK) + 1)
        follower.look(folder.session_id)
        assert not index.exists()
    follower.look(folder.session_id)
    assert index.exists()
    assert problems == []


def test_a_quiet_log_is_not_read_again_and_again(root: Path) -> None:
    catalogue = Catalogue(root)
    folder = catalogue.create("quiet")
    (folder.path / "log").mkdir(exist_ok=True)
    (folder.path / "log" / "small").write_bytes(b"x")
    problems: list[dict[str, Any]] = []
    follower = Follower(catalogue, problems.append)
    follower.look(folder.session_id)
    index = folder.path / "index.sqlite"
    index.unlink()
    follower.look(folder.session_id)
    assert not index.exists()
    assert problems == []


def test_a_session_deleted_while_it_is_followed_is_reported_and_given_up(root: Path) -> None:
    problems: list[dict[str, Any]] = []
    catalogue = Catalogue(root)
    folder = catalogue.create("gone")
    (folder.path / "log").mkdir(exist_ok=True)
    (folder.path / "log" / "small").write_bytes(b"x")
    follower = Follower(catalogue, problems.append)
    follower.look(folder.session_id)
    shutil.rmtree(folder.path)
    follower.look(folder.session_id)
    assert [message["problem"] for message in problems if folder.session_id in message["problem"]]
