"""SIGKILL under load, round after round, and an account of every answer that a client received."""

from __future__ import annotations

import json
import shutil
import subprocess

from prove.one_round import open_stage, run_round
from prove.part import Figure, Result, Task
from prove.state import Proof
from wiretape.errors import WiretapeError

_SHOWN = ("sent", "reachedServer", "answered", "recorded", "interrupted", "aborted", "lost", "unseen", "twice", "wrong")


def run(task: Task) -> Result:
    """Run the rounds that are left; each is kept as soon as it is over."""
    proof = Proof.from_json(task.kept) if task.kept else Proof(seed=task.seed)
    with open_stage(task.folder) as stage:
        while proof.rounds < task.rounds:
            number = proof.rounds + 1
            try:
                result = run_round(stage, number, proof.seed)
            except (WiretapeError, AssertionError, LookupError, ValueError, subprocess.SubprocessError) as error:
                # Whatever a round stumbles over is a round that does not hold, and the others are still to be run.
                cause = f"{type(error).__name__}: {error}"
                result = {"round": number, "victim": "none", "holds": False, "error": cause}
            proof.take(result)
            if result["holds"]:
                shutil.rmtree(task.folder / f"round-{number}")
            lost = proof.sums["lost"] + proof.sums["unseen"]
            task.report(proof.rounds, task.rounds, f"answered {proof.sums['answered']:,}, lost {lost}")
            task.keep(proof.to_json())
    figures: dict[str, Figure] = {"rounds": proof.rounds, **{key: proof.sums[key] for key in _SHOWN}}
    return Result(figures=figures, failures=[json.dumps(failure) for failure in proof.failures])
