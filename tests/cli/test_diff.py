"""``wiretape diff`` exits as diff(1) does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.logs import Recording, new_session
from wiretape.cli.main import run


def record(root: Path, name: str, answer: bytes) -> None:
    recording = Recording(new_session(root, name))
    recording.done(recording.open("http://a.example/x"), answer, headers="Content-Type: application/json\r\n")
    recording.close()


def test_0_the_same_1_different_2_trouble(root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    record(root, "one", b'{"n":1}')
    record(root, "again", b'{"n":1}')
    record(root, "two", b'{"n":2}')
    assert run(["diff", "one", "again", "--root", str(root)]) == 0
    assert capfd.readouterr().out == "one and again are the same: 1 exchange\n"
    assert run(["diff", "one", "two", "--root", str(root)]) == 1
    assert capfd.readouterr().out == "! 1, 1  GET /x\n    response /n: 1 -> 2\n0 exchanges the same\n"
    assert run(["diff", "one:1", "two:1", "--json", "--root", str(root)]) == 1
    assert json.loads(capfd.readouterr().out)["first"]["response"] == [["/n", 1, 2]]
    assert run(["diff", "one", "three", "--root", str(root)]) == 2
    assert run(["diff", "one", "--root", str(root)]) == 2
