"""Runs of the benchmark that never took place, for tests of what is made of them."""

from __future__ import annotations

from bench import report
from bench.__main__ import PEERS
from bench.measure import Account, Measurement
from bench.workloads import QUICK


def made(
    figures: dict[str, list[float]], account: Account | None = None, failures: dict[str, str] | None = None
) -> report.Results:
    """A run in which small GETs over HTTP gave these figures, round after round."""
    measurements = [
        Measurement("http", peer, round_, {"": value}, account=account if peer == "wiretape" else None)
        for peer, values in figures.items()
        for round_, value in enumerate(values, 1)
    ]
    return report.Results(
        command="python -m bench --against old",
        date="2026-01-01",
        machine={"cpu": "a CPU", "cores": 2, "memoryGiB": 4, "kernel": "Linux 6", "python": "CPython 3.11.7"},
        disturbance=0.0,
        extent=QUICK,
        peers=list(PEERS),
        versions={peer.key: "1.0" for peer in PEERS},
        tool_limits={},
        measurements=measurements,
        failures=failures or {},
    )
