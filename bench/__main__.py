"""``python -m bench``: measures, prints a table and writes it with all figures to ``bench/results/``."""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from bench import goals, report, rounds
from bench.errors import BenchError
from bench.measure import STEPS
from bench.peers import others, wiretape
from bench.peers.base import QUIET, THIS, Peer
from bench.workloads import FULL, QUICK

PEERS = (
    wiretape.CURRENT.recording(),
    wiretape.CURRENT.not_recording(),
    others.MOCKTTP,
    others.MITMPROXY,
    others.NGINX,
    others.DIRECT,
)
_RESULTS = Path(__file__).parent / "results"


def main() -> int:
    """Run what the command line asks for; 0 when all of it was measured and all that was answered was recorded."""
    options = _options()
    if not sys.platform.startswith("linux") or shutil.which("taskset") is None:
        print("bench: needs Linux, for /proc and taskset", file=sys.stderr)
        return 2
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        print("bench: needs two cores, one for the proxy and one for load and origin", file=sys.stderr)
        return 2
    extent = QUICK if options.quick else FULL
    if options.rounds:
        extent = replace(extent, rounds=options.rounds)
    folder = Path(tempfile.mkdtemp(prefix="wiretape-bench-"))
    # The benchmark itself only waits; it does so on the load's core, to leave the proxy's alone.
    os.sched_setaffinity(0, {cpus[1]})
    try:
        peers = _peers(options)
        results = rounds.run(_command(), peers, _wanted(options), extent, folder, (cpus[0], cpus[1]))
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    name = options.name or ("quick" if options.quick else "latest")
    print(report.write(results, Path(options.results), name=name))
    return 0 if report.sound(results) else 1


def _peers(options: argparse.Namespace) -> list[Peer]:
    peers = {peer.key: [peer] for peer in PEERS}
    if options.against is not None:
        before = wiretape.before(options.against)
        # Each next to its counterpart, so that as little time as possible lies between the two.
        peers[THIS].append(before.recording())
        peers[THIS + QUIET].append(before.not_recording())
    return [peer for key in peers if key in options.peers for peer in peers[key]]


def _wanted(options: argparse.Namespace) -> rounds.Wanted:
    for_goals = goals.needed() if options.goals else None

    def wanted(step: str, peer: str) -> bool:
        if step not in options.workloads or (step, peer) == ("memory", others.DIRECT.key):
            return False
        return for_goals is None or (step, peer) in for_goals

    return wanted


def _command() -> str:
    """What was typed, for the reader of the results; of a path its last part alone."""
    shown = [Path(word).name if "/" in word else word for word in sys.argv[1:]]
    return shlex.join(["python", "-m", "bench", *shown])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="wiretape against its peers, on this machine")
    keys = [step.key for step in STEPS]
    peers = [peer.key for peer in PEERS]
    parser.add_argument("--quick", action="store_true", help="one short round of each")
    parser.add_argument("--rounds", type=int, default=0, help="rounds of each measurement (the median counts)")
    parser.add_argument("--goals", action="store_true", help="only what the table of goals takes")
    parser.add_argument("--against", type=Path, metavar="FOLDER", help="another checkout of wiretape, with its .venv")
    parser.add_argument("--peers", type=_choice(peers), default=peers, metavar="KEY,...", help=", ".join(peers))
    parser.add_argument("--workloads", type=_choice(keys), default=keys, metavar="KEY,...", help=", ".join(keys))
    parser.add_argument("--results", default=str(_RESULTS), help="folder for the results")
    parser.add_argument("--name", help="what they are called there; latest, or quick")
    return parser.parse_args()


def _choice(valid: list[str]) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        chosen = text.split(",")
        unknown = [name for name in chosen if name not in valid]
        if unknown:
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; there are {', '.join(valid)}")
        return chosen

    return parse


if __name__ == "__main__":
    raise SystemExit(main())
