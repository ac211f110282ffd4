"""The proof can be resumed, adds up, and does not hold when a round does not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

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


def test_a_proof_is_taken_up_where_its_file_ends(tmp_path: Path) -> None:
    file = tmp_path / "proof.json"
    proof = Proof(seed="x")
    proof.take(result(1))
    proof.save(file)
    again = Proof.from_json(json.loads(file.read_text()))
    again.take(result(2))
    proof.take(result(2))
    assert again.to_json() == proof.to_json()


def test_a_proof_runs_its_rounds_and_resumes_with_the_same_seed(tmp_path: Path) -> None:
    file = tmp_path / "proof.json"
    first = prove("--rounds", "1", "--seed", "tested", "--json", file)
    assert first.returncode == 0, first.stderr
    one = json.loads(file.read_text())
    second = prove("--rounds", "2", "--resume", "--json", file)
    assert second.returncode == 0, second.stderr
    two = json.loads(file.read_text())
    assert (one["rounds"], two["rounds"]) == (1, 2)
    assert one["seed"] == two["seed"] == "tested"
    assert two["answered"] > one["answered"] > 0
    assert two["lost"] == two["unseen"] == 0


@pytest.mark.parametrize("arguments", [["--rounds", "0"], ["--resume"], ["--rounds", "many"]])
def test_wrong_usage_is_refused(arguments: list[str]) -> None:
    done = prove(*arguments)
    assert done.returncode == 2
    assert b"error: " in done.stderr
