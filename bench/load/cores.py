"""How busy each core was, from the kernel's own counters."""

from __future__ import annotations

import time
from pathlib import Path


def times() -> dict[str, tuple[int, int]]:
    """For each core its busy and its total time since boot, in ticks. Stolen time counts as busy: it was not ours."""
    result = {}
    for line in Path("/proc/stat").read_text().splitlines():
        name, *fields = line.split()
        if name.startswith("cpu") and name != "cpu":
            ticks = [int(field) for field in fields[:8]]
            total = sum(ticks)
            result[name.removeprefix("cpu")] = (total - ticks[3] - ticks[4], total)
    return result


def busy(before: dict[str, tuple[int, int]], after: dict[str, tuple[int, int]]) -> dict[str, float]:
    """Share of the time between two readings that each core was busy, 0 to 1."""
    shares = {}
    for core, (spent, total) in after.items():
        elapsed = total - before[core][1]
        shares[core] = (spent - before[core][0]) / elapsed if elapsed else 0.0
    return shares


def share_in_use(*, seconds: float) -> float:
    """Share of all cores' time that is in use now, 0 to 1, watched for ``seconds``."""
    before = times()
    time.sleep(seconds)
    shares = busy(before, times())
    return sum(shares.values()) / len(shares)
