"""A forked command is what a started one is."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from harness.logs import closed_session
from harness.prefork import Prefork
from tests.cli.support import COMMAND, PREFORK, wiretape, wiretape_json


@pytest.mark.parametrize("arguments", [["sessions"], ["cat", "last"], ["query", "--json"], ["--help"], ["no-such"]])
def test_a_forked_command_says_and_returns_what_a_started_one_does(root: Path, arguments: list[str]) -> None:
    closed_session(root)
    given = [*arguments, "--root", str(root)] if arguments[0] in {"sessions", "cat"} else arguments
    started = subprocess.run([*COMMAND, *given], stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=60)
    forked = wiretape(*given)
    assert (forked.returncode, forked.stdout, forked.stderr) == (started.returncode, started.stdout, started.stderr)


def test_each_command_has_its_own_process_environment_and_folder(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed_session(root)
    monkeypatch.chdir(tmp_path)
    outside = {"WIRETAPE_ROOT": str(tmp_path / "empty")}
    assert wiretape("sessions", env={"WIRETAPE_ROOT": root.name}).stdout.count(b"\n") == 2
    assert wiretape("sessions", env=outside).stdout.count(b"\n") < 2
    assert "WIRETAPE_ROOT" not in os.environ


def test_a_command_that_does_not_end_is_killed_and_the_next_one_runs(root: Path) -> None:
    serve = ["serve", "--root", str(root), "--proxy", "none", "--api", "127.0.0.1:0"]
    with pytest.raises(subprocess.TimeoutExpired):
        PREFORK.run(serve, env=dict(os.environ), timeout=0.2)
    assert wiretape_json("status", "--root", root)["status"] == "stopped"


def test_what_an_interrupted_command_would_say_late_is_not_taken_for_the_next_ones(root: Path) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    serve = ["serve", "--root", str(root), "--proxy", "none", "--api", "127.0.0.1:0"]
    before = signal.signal(signal.SIGUSR1, interrupt)
    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGUSR1))
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            PREFORK.run(serve, env=dict(os.environ), timeout=60)
    finally:
        timer.join()
        signal.signal(signal.SIGUSR1, before)
    assert wiretape_json("status", "--root", root)["status"] == "stopped"


def test_one_that_was_closed_starts_again() -> None:
    commands = Prefork()
    for _ in range(2):
        assert commands.run(["--version"], env=dict(os.environ), timeout=60).returncode == 0
        commands.close()
