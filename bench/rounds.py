"""One run: the origin, and round after round of every step on every peer."""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Callable
from pathlib import Path

from bench.errors import BenchError
from bench.load import cores
from bench.load.run import tool_limits
from bench.machine import facts
from bench.measure import STEPS, Ground, Measurement
from bench.origin import start_origin
from bench.peers.base import Peer
from bench.report import Results
from bench.workloads import Extent

# Whether a step is to be measured on a peer, by their keys.
Wanted = Callable[[str, str], bool]


def run(
    command: str, peers: list[Peer], wanted: Wanted, extent: Extent, folder: Path, cpus: tuple[int, int]
) -> Results:
    """Measure all that is wanted.

    Args:
        command: what was typed, for the reader of the results.
        peers: who there is.
        wanted: whether a step is to be measured on a peer, by their keys.
        extent: how much is done.
        folder: an empty folder for all that is written.
        cpus: the proxies' core, and that of load and origin.

    Raises:
        BenchError: the origin did not start. What goes wrong with a peer is in the results.
    """
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
        measurements = _all(peers, wanted, ground, failures)
    finally:
        origin.child.stop()
    return Results(
        command=command,
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


def _all(peers: list[Peer], wanted: Wanted, ground: Ground, failures: dict[str, str]) -> list[Measurement]:
    """Peers alternate within a round, so that what changes on the machine in the meantime hits all of them."""
    measurements: list[Measurement] = []
    for step in STEPS:
        for round_ in range(1, ground.extent.rounds + 1):
            for peer in peers:
                if peer.key in failures or not wanted(step.key, peer.key):
                    continue
                _say(f"{step.title}, round {round_}: {peer.title}")
                try:
                    measurements.append(step.take(peer, ground, round_))
                except BenchError as error:
                    failures[f"{peer.key} {step.key}"] = str(error)
    return measurements


def _say(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
    else:
        print(text, file=sys.stderr, flush=True)
