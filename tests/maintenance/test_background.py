"""The work behind everything else gives way to the recording, and reads again what was written long ago."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.session.logs import Recording, closed_session, flip_in, new_session, segment
from tests.support.serving import Daemon
from tests.support.wait import DEADLINE, wait_until
from wiretape.daemon.client import request
from wiretape.log.scan import SegmentScan, scan_segment
from wiretape.maintenance.background import SCRUB_HOURS, Follower, Pace, Work, retention, scrub_seconds
from wiretape.session.catalogue import Catalogue
from wiretape.session.index.database import Index
from wiretape.session.pin import set_pin
from wiretape.session.recovery.heal import unprotected, want_parity

ALWAYS = "0.0001"
"""Hours between two readings of a segment: a third of a second."""


@pytest.fixture(autouse=True)
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Work at everybody's priority: at its own it gets hardly any time on a machine that is busy with other tests."""
    monkeypatch.setenv("WIRETAPE_BACKGROUND", "eager")


class Background:
    """The process, and what it says."""

    def __init__(self, root: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "wiretape.maintenance.background", str(root)],
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
def background(root: Path, eager: None) -> Iterator[Background]:
    """The process for the test's root, ended by closing its stdin."""
    process = Background(root)
    yield process
    process.process.communicate(timeout=DEADLINE)
    assert process.process.returncode == 0


def test_it_reports_recovery_first_and_ends_with_its_daemon(background: Background) -> None:
    assert background.hears() == {"recovered": []}
    assert background.hears() == {"doing": "following"}


def test_it_follows_the_session_that_it_is_told_while_it_is_recorded(root: Path, background: Background) -> None:
    made = new_session(root)
    recording = Recording(made)
    background.tell({"follow": made.session_id})
    for number in range(50):
        recording.exchange(f"http://example.com/{number}")
    index = Index(made.path, made.session_id)

    def behind() -> int:
        read, size = index.progress()
        return size - read

    wait_until(lambda: behind() == 0, what="the index at the log's end")
    index.close()
    recording.close()


def test_work_rests_in_proportion_and_longer_when_it_is_given_less_time(monkeypatch: pytest.MonkeyPatch) -> None:
    rests: list[float] = []
    now = iter([0.0, 0.01, 0.05, 0.06, 100.0, 100.0])
    monkeypatch.setattr("wiretape.maintenance.background.time", SimpleNamespace(monotonic=lambda: next(now)))
    pace = Pace(rests.append, 0.25)
    for _ in range(3):
        pace()
    assert rests == [pytest.approx(0.15), pytest.approx(2.0)]


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
    follower.look(folder.session_id)
    assert len([message["problem"] for message in problems if folder.session_id in message["problem"]]) == 1


@pytest.mark.parametrize(
    ("text", "hours"), [(None, SCRUB_HOURS), ("0", 0), ("1.5", 1.5), ("x", SCRUB_HOURS), ("-1", 0)]
)
def test_how_often_is_a_setting(text: str | None, hours: float) -> None:
    assert scrub_seconds(text) == hours * 3600


def test_p4_rot_in_an_old_session_is_found_by_the_running_daemon_and_named(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WIRETAPE_SCRUB_HOURS", ALWAYS)
    made = closed_session(root, 20)
    with Daemon(root) as daemon:
        wait_until((made.path / "scrub.json").exists, what="the first reading")
        with Catalogue(root).open(made.session_id) as session:
            wait_until(lambda: session.summary().verified, what="the session verified")
        at = flip_in(segment(made), b"answer 7")

        def damage() -> list[str]:
            return list(request(root, {"cmd": "status"})["background"]["damage"])

        wait_until(damage, what="the damage in the status")
        (sentence,) = damage()
        assert made.session_id in sentence
        assert "0-00000001.wlog" in sentence
        assert "exchange 7" in sentence
        with Catalogue(root).open(made.session_id) as session:
            wait_until(lambda: session.summary().recovery_state == "damaged", what="the session's state")
            assert session.query().coverage.damaged == 1
        wait_until((made.path / "recovery.json").exists, what="the recovery report")
        report = json.loads((made.path / "recovery.json").read_bytes())["report"]
        assert report["gaps"][0]["offset"] < at < report["gaps"][0]["offset"] + report["gaps"][0]["length"]
        assert report["gaps"][0]["exchanges"] == [7]
        assert daemon.session_id != made.session_id


def test_p4_rot_in_a_session_that_is_being_recorded_is_found_in_its_finished_segments(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WIRETAPE_SCRUB_HOURS", ALWAYS)
    made = new_session(root)
    recording = Recording(made, segment_bytes=3000)
    for number in range(30):
        recording.exchange(f"http://example.com/{number}")
    with Catalogue(root).open(made.session_id) as session:
        session.query()
        flip_in(segment(made), b"GET /3 ")
        before = segment(made).read_bytes()
        with Daemon(root):
            wait_until(lambda: session.coverage().damaged == 1, what="the damage in the coverage")
            summary = session.summary()
        assert (summary.status, summary.recovery_state) == ("active", "damaged")
        recording.close()
        assert session.summary().recovery_state == "damaged"
    assert segment(made).read_bytes() == before


def test_sessions_go_when_the_settings_say_so_and_pinned_ones_stay(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, pinned = closed_session(root, name="old"), closed_session(root, name="pinned")
    set_pin(pinned.path, pinned=True)
    monkeypatch.setenv("WIRETAPE_RETAIN_TOTAL", "1")
    process = Background(root)
    try:
        message = process.hears()
        while "pruned" not in message:
            message = process.hears()
    finally:
        process.process.communicate(timeout=DEADLINE)
    assert old.session_id in message["pruned"]
    assert Catalogue(root).ids() == [pinned.session_id]


def test_settings_that_cannot_be_read_delete_nothing_and_say_so() -> None:
    said: list[dict[str, Any]] = []
    assert retention({"WIRETAPE_RETAIN_DAYS": "many"}, said.append).empty
    assert "no session is deleted" in said[0]["problem"]
    assert retention({}, said.append).empty
    rules = retention({"WIRETAPE_RETAIN_DAYS": "1.5", "WIRETAPE_RETAIN_TOTAL": "2GB"}, said.append)
    assert (rules.older_than, rules.max_total) == (1.5 * 86400, 2_000_000_000)
    assert len(said) == 1


def test_a_damaged_segment_without_parity_is_read_once_and_not_at_every_look(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = closed_session(root)
    sound = closed_session(root)
    flip_in(segment(made), b"answer 2")
    for session in (made, sound):
        want_parity(session.path)
    read: list[Path] = []

    def reading(path: Path, **how: Any) -> SegmentScan:
        read.append(path)
        return scan_segment(path, **how)

    monkeypatch.setattr("wiretape.session.recovery.heal.scan_segment", reading)
    work = Work(Catalogue(root), lambda _: None, scrub_every=0)
    for _ in range(3):
        work.protect()
    assert sorted(read) == sorted([segment(made), segment(sound)])
    assert unprotected(sound.path) == []
