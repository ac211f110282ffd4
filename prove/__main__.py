"""``python -m prove --rounds N``: exit status 0 when every round held."""

from __future__ import annotations

import argparse
import json
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from prove.one_round import open_stage, run_round
from prove.state import Proof
from wiretape.errors import WiretapeError


def main() -> int:
    """Run the rounds that are left, print the account."""
    options = _options()
    proof = _begin(options)
    console = Console(stderr=True)
    console.print(f"prove: {options.rounds} rounds, seed {proof.seed}")
    folder = Path(tempfile.mkdtemp(prefix="wiretape-prove-"))
    try:
        _run(options, proof, folder, console)
    finally:
        if proof.failures:
            console.print(f"what does not hold is left in {folder}", markup=False, soft_wrap=True)
        else:
            shutil.rmtree(folder, ignore_errors=True)
    _print(proof)
    return 1 if proof.failures else 0


def _run(options: argparse.Namespace, proof: Proof, folder: Path, console: Console) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with open_stage(folder) as stage, Progress(*columns, TimeRemainingColumn(), console=console) as bar:
        task = bar.add_task("lost 0", total=options.rounds, completed=proof.rounds)
        while proof.rounds < options.rounds:
            number = proof.rounds + 1
            try:
                result = run_round(stage, number, proof.seed)
            except (WiretapeError, AssertionError, LookupError, ValueError, subprocess.SubprocessError) as error:
                # Whatever a round stumbles over is a round that does not hold, and the others are still to be run.
                result = {
                    "round": number,
                    "victim": "none",
                    "holds": False,
                    "error": f"{type(error).__name__}: {error}",
                }
            proof.take(result)
            if result["holds"]:
                shutil.rmtree(folder / f"round-{number}")
            else:
                bar.console.print(f"round {number} does not hold: {json.dumps(result)}", markup=False, soft_wrap=True)
            lost = proof.sums["lost"] + proof.sums["unseen"]
            bar.update(task, completed=proof.rounds, description=f"answered {proof.sums['answered']:,}, lost {lost}")
            if options.json is not None:
                proof.save(options.json)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m prove",
        description="SIGKILL of recorder, daemon or both under real traffic; every answered exchange must be found.",
    )
    parser.add_argument("--rounds", type=int, default=20, metavar="N", help="rounds in all (default 20)")
    parser.add_argument("--seed", help="draw the same rounds again (default: a new seed, which is printed)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the account there, after each round")
    parser.add_argument("--resume", action="store_true", help="go on with the proof in the --json file")
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error("--rounds takes a number from 1")
    if options.resume and options.json is None:
        parser.error("--resume needs --json FILE")
    return options


def _begin(options: argparse.Namespace) -> Proof:
    if options.resume and options.json.exists():
        return Proof.from_json(json.loads(options.json.read_text()))
    return Proof(seed=options.seed or secrets.token_hex(4))


def _print(proof: Proof) -> None:
    document = proof.to_json()
    failures = document.pop("failures")
    document["failed rounds"] = [failure["round"] for failure in failures]
    for key, value in document.items():
        print(f"{key:<16} {json.dumps(value)}")


if __name__ == "__main__":
    # However it is ended, what it started ends with it.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("prove: interrupted; --resume with the same --json FILE goes on", file=sys.stderr)
        sys.exit(130)
