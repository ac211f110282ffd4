"""The proof can be resumed, adds up, and does not hold when a round does not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from prove.__main__ import main
from prove.account import Account
from prove.document import ACCOUNT
from prove.part import Part, Result, Task
from prove.state import SUMMED, Proof


def prove(*arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "prove", *map(str, arguments)]
    folder = Path(__file__).parent.parent
    return subprocess.run(command, capture_output=True, check=False, timeout=110, cwd=folder)


def result(number: int, **changes: Any) -> dict[str, Any]:
    return {"round": number, "victim": "both", "holds": True, **dict.fromkeys(SUMMED, 2), **changes}


def test_rounds_add_up_and_one_that_does_not_hold_is_kept_whole() -> None:
    proof = Proof(seed="x")
    proof.take(result(1))
    assert proof.to_json()["holds"] is True
    proof.take(result(2, holds=False, lost=1))
    document = proof.to_json()
    assert document["holds"] is False
    assert (document["rounds"], document["answered"], document["lost"]) == (2, 4, 3)
    assert [failure["round"] for failure in document["failures"]] == [2]
    assert document["victims"] == {"both": 2}


def test_rounds_are_taken_up_where_they_ended() -> None:
    proof = Proof(seed="x")
    proof.take(result(1))
    again = Proof.from_json(json.loads(json.dumps(proof.to_json())))
    again.take(result(2))
    proof.take(result(2))
    assert again.to_json() == proof.to_json()


def test_the_account_in_the_documentation_can_be_gone_on_with() -> None:
    document = json.loads(ACCOUNT.read_text())
    account = Account.from_json(document)
    assert (account.parts, account.kept) == (document["parts"], {})


def test_a_proof_runs_its_rounds_and_resumes_with_the_same_seed(tmp_path: Path) -> None:
    file = tmp_path / "proof.json"
    first = prove("--only", "kills", "--rounds", "1", "--seed", "tested", "--json", file)
    assert first.returncode == 0, first.stderr
    one = json.loads(file.read_text())
    second = prove("--only", "kills", "--rounds", "2", "--resume", "--json", file)
    assert second.returncode == 0, second.stderr
    assert b"everything holds" in second.stdout
    two = json.loads(file.read_text())
    assert one["seed"] == two["seed"] == "tested"
    figures = [document["parts"]["kills"]["figures"] for document in (one, two)]
    assert [figure["rounds"] for figure in figures] == [1, 2]
    assert figures[1]["answered"] > figures[0]["answered"] > 0
    assert figures[1]["lost"] == figures[1]["unseen"] == 0


def test_a_part_that_does_not_hold_or_fails_is_in_the_account(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def breaks(_: Task) -> Result:
        raise ValueError("broken")

    def finds(_: Task) -> Result:
        return Result(figures={"lost": 1}, failures=["seq 7 is gone"])

    parts = (Part("fails", "", breaks), Part("finds", "", finds), Part("holds", "", lambda _: Result(figures={"n": 2})))
    file = tmp_path / "proof.json"
    monkeypatch.setattr("prove.__main__.PARTS", parts)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["prove", "--json", str(file)])
    assert main() == 1
    account = json.loads(file.read_text())
    assert not account["holds"]
    assert {name: part["holds"] for name, part in account["parts"].items()} == {
        "fails": False,
        "finds": False,
        "holds": True,
    }
    printed = capsys.readouterr()
    assert "seq 7 is gone" in printed.out
    assert "ValueError: broken" in printed.out


@pytest.mark.parametrize(
    "arguments", [["--rounds", "0"], ["--resume"], ["--rounds", "many"], ["--effort", "0"], ["--only", "magic"]]
)
def test_wrong_usage_is_refused(arguments: list[str]) -> None:
    done = prove(*arguments)
    assert done.returncode == 2
    assert b"error: " in done.stderr
