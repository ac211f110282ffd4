"""``python -m bench``: measures, prints a table and writes it with all figures to ``bench/results/``."""

from __future__ import annotations

import argparse
import datetime as dt
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from bench import measure, report
from bench.errors import BenchError
from bench.load import cores
from bench.load.run import tool_limits
from bench.machine import facts
from bench.measure import Ground, Measurement
from bench.origin import start_origin
from bench.peers import others, wiretape
from bench.peers.base import Peer
from bench.workloads import FULL, QUICK, WORKLOADS, Extent

PEERS = (wiretape.RECORDING, wiretape.NOT_RECORDING, others.MOCKTTP, others.MITMPROXY, others.NGINX, others.DIRECT)
_RESULTS = Path(__file__).parent / "results"
_KEYS = (*(workload.key for workload in WORKLOADS), "memory")


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
        extent = Extent(options.rounds, extent.seconds, extent.warmup, extent.big)
    peers = [peer for peer in PEERS if peer.key in options.peers]
    folder = Path(tempfile.mkdtemp(prefix="wiretape-bench-"))
    # The benchmark itself only waits; it does so on the load's core, to leave the proxy's alone.
    os.sched_setaffinity(0, {cpus[1]})
    try:
        results = _run(peers, options.workloads, extent, folder, (cpus[0], cpus[1]))
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    table = report.write(results, Path(options.results), name="quick" if options.quick else "latest")
    print(table)
    return 0 if report.sound(results) else 1


def _run(peers: list[Peer], keys: list[str], extent: Extent, folder: Path, cpus: tuple[int, int]) -> report.Results:
    began = dt.datetime.now(dt.UTC)
    disturbance = cores.share_in_use(seconds=1.0)
    home = folder / "origin"
    home.mkdir()
    origin = start_origin(home, cpu=cpus[1], big=extent.big)
    try:
        ground = Ground(origin, extent, cpus[0], cpus[1], folder)
        failures: dict[str, str] = {}
        versions = _versions(peers, failures)
        limits = tool_limits(origin, cpu=cpus[1], seconds=extent.seconds)
        measurements = _all_rounds(peers, keys, ground, failures)
    finally:
        origin.child.stop()
    return report.Results(
        date=f"{began:%Y-%m-%d}",
        machine=facts(),
        disturbance=disturbance,
        extent=extent,
        peers=peers,
        versions=versions,
        tool_limits=limits,
        measurements=measurements,
        failures=failures,
    )


def _versions(peers: list[Peer], failures: dict[str, str]) -> dict[str, str]:
    versions = {}
    for peer in peers:
        try:
            versions[peer.key] = peer.version()
        except (BenchError, OSError) as error:
            failures[peer.key] = str(error)
    return versions


def _all_rounds(peers: list[Peer], keys: list[str], ground: Ground, failures: dict[str, str]) -> list[Measurement]:
    """Peers alternate within a round, so that what changes on the machine in the meantime hits all of them."""
    measurements: list[Measurement] = []
    steps = [(workload, round_) for workload in WORKLOADS if workload.key in keys for round_ in _rounds(ground)]
    for workload, round_ in steps:
        for peer in _able(peers, failures):
            _say(f"{workload.title}, round {round_}: {peer.title}")
            try:
                measurements.append(measure.throughput(peer, workload, ground, round_))
            except BenchError as error:
                failures[f"{peer.key} {workload.key}"] = str(error)
    if "memory" in keys:
        for peer in _able(peers, failures):
            if peer.key == others.DIRECT.key:
                continue
            _say(f"memory: {peer.title}")
            try:
                measurements.append(measure.memory_use(peer, ground, 1))
            except BenchError as error:
                failures[f"{peer.key} memory"] = str(error)
    return measurements


def _rounds(ground: Ground) -> range:
    return range(1, ground.extent.rounds + 1)


def _able(peers: list[Peer], failures: dict[str, str]) -> list[Peer]:
    return [peer for peer in peers if peer.key not in failures]


def _say(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
    else:
        print(text, file=sys.stderr, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="wiretape against its peers, on this machine")
    parser.add_argument("--quick", action="store_true", help="one short round of each")
    parser.add_argument("--rounds", type=int, default=0, help="rounds of each measurement (the median counts)")
    parser.add_argument("--peers", type=_choice([peer.key for peer in PEERS]), default=[peer.key for peer in PEERS])
    parser.add_argument("--workloads", type=_choice(list(_KEYS)), default=list(_KEYS))
    parser.add_argument("--results", default=str(_RESULTS), help="folder for the results")
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
