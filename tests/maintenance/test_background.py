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

from harness.logs import Recording, closed_session, flip_in, new_session, segment
from wiretape.cli.demo.stage import Daemon
from wiretape.cli.demo.waiting import DEADLINE, wait_until
from wiretape.daemon.client import request
from wiretape.log.scan import SegmentScan, scan_segment
from wiretape.maintenance.background import Commands, LiveFollower, Pace, Work
from wiretape.session.catalogue import Catalogue
from wiretape.session.index.database import Index
from wiretape.session.pin import set_pin
from wiretape.session.query.text_index import TEXT
from wiretape.session.recovery.heal import unprotected, want_parity
from wiretape.settings import MaintenanceSettings, to_wire

ALWAYS = "0.0001"
"""Hours between two readings of a segment: a third of a second."""


@pytest.fixture(autouse=True)
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Work at everybody's priority: at its own it gets hardly any time on a machine that is busy with other tests."""
    monkeypatch.setenv("WIRETAPE_BACKGROUND", "eager")


EAGER = MaintenanceSettings(eager=True)


class Background:
    """The process, and what it says."""

    def __init__(self, root: Path, settings: MaintenanceSettings = EAGER) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "wiretape.maintenance.background", str(root)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.tell({"cmd": "configure", "settings": to_wire(settings)})

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
    assert background.hears() == {"event": "doing", "doing": "following", "done": 0, "total": 0}


def test_it_follows_the_session_that_it_is_told_while_it_is_recorded(root: Path, background: Background) -> None:
    made = new_session(root)
    recording = Recording(made)
    background.tell({"cmd": "follow", "sessionId": made.session_id})
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
    problems: list[str] = []
    follower = LiveFollower(catalogue, problems.append)
    follower.look(folder.session_id)
    index = folder.path / "index.sqlite"
    index.unlink()
    follower.look(folder.session_id)
    assert not index.exists()
    assert problems == []


def test_a_session_deleted_while_it_is_followed_is_reported_and_given_up(root: Path) -> None:
    problems: list[str] = []
    catalogue = Catalogue(root)
    folder = catalogue.create("gone")
    (folder.path / "log").mkdir(exist_ok=True)
    (folder.path / "log" / "small").write_bytes(b"x")
    follower = LiveFollower(catalogue, problems.append)
    follower.look(folder.session_id)
    shutil.rmtree(folder.path)
    follower.look(folder.session_id)
    follower.look(folder.session_id)
    assert len([sentence for sentence in problems if folder.session_id in sentence]) == 1


def test_what_is_told_of_many_sessions_comes_in_events_of_a_bounded_size(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wiretape.maintenance.background.ITEMS", 2)
    made = [new_session(root) for _ in range(5)]
    for session in made:
        Recording(session).kill()
    told: list[dict[str, Any]] = []
    commands = Commands()
    monkeypatch.setattr(commands, "wait", lambda _: None)
    Work(Catalogue(root), told.append, MaintenanceSettings(), commands).recover()
    named = [event["items"] for event in told if event["event"] == "recovered"]
    assert [len(items) for items in named] == [2, 2, 1]
    assert sorted(item for items in named for item in items) == sorted(session.session_id for session in made)


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


def test_sessions_go_when_the_settings_say_so_and_pinned_ones_stay(root: Path) -> None:
    old, pinned = closed_session(root, name="old"), closed_session(root, name="pinned")
    set_pin(pinned.path, pinned=True)
    process = Background(root, MaintenanceSettings(retain_total=1, eager=True))
    try:
        message = process.hears()
        while message["event"] != "pruned":
            message = process.hears()
    finally:
        process.process.communicate(timeout=DEADLINE)
    assert old.session_id in message["sentence"]
    assert Catalogue(root).ids() == [pinned.session_id]


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
    work = Work(Catalogue(root), lambda _: None, MaintenanceSettings(scrub_seconds=0))
    for _ in range(3):
        work.protect()
    assert sorted(read) == sorted([segment(made), segment(sound)])
    assert unprotected(sound.path) == []


def test_sessions_that_have_been_asked_get_an_index_of_substrings_below_the_cap(root: Path) -> None:
    asked, other = closed_session(root), closed_session(root)
    index = Index(asked.path, asked.session_id)
    index.follow()
    index.close()
    work = Work(Catalogue(root), lambda _: None, MaintenanceSettings(scrub_seconds=0))
    work.index_more()
    made = (asked.path / TEXT).stat()
    assert made.st_mode & 0o777 == 0o600
    assert not (other.path / TEXT).exists()
    (asked.path / TEXT).unlink()
    work.index_more()
    assert not (asked.path / TEXT).exists(), "a log that has not grown is not looked at again"
