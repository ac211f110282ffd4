"""Load by wrk, for plain HTTP: it takes less of the load's core than a client in Python, so that more is left."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

from bench.errors import BenchError, UnavailableError
from bench.load import cores
from bench.load.spec import LoadResult, LoadSpec

_SCRIPT = Path(__file__).with_suffix(".lua")
_ERRORS = ("status", "connect", "read", "write", "timeout")
_HOST = "127.0.0.1"


def run(spec: LoadSpec, *, cpu: int) -> LoadResult:
    """Warm up, then measure. wrk leaves at once when its time is up: what it had in flight counts as unfinished.

    Raises:
        BenchError: wrk failed, or an answer was an error.
        UnavailableError: wrk is not installed.
    """
    warm = _once(spec, spec.warmup, cpu) if spec.warmup else None
    measured = _once(spec, spec.duration, cpu)
    if warm is None:
        return measured
    return replace(
        measured, answered=measured.answered + warm.answered, unfinished=measured.unfinished + warm.unfinished
    )


def _once(spec: LoadSpec, seconds: float, cpu: int) -> LoadResult:
    program = shutil.which("wrk")
    if program is None:
        raise UnavailableError("wrk is not installed; on Debian: apt-get install wrk")
    target = f"http://{spec.host}{spec.path}" if spec.absolute else spec.path
    # wrk takes whole seconds only.
    command = [
        "taskset", "-c", str(cpu), program, "-t1", f"-c{spec.connections}", f"-d{max(1, round(seconds))}s",
        "-s", str(_SCRIPT), f"http://{_HOST}:{spec.port}/", "--", target, spec.host,
    ]  # fmt: skip
    ticks = cores.times()
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds + 60)
    busy = cores.busy(ticks, cores.times())
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        raise BenchError(f"wrk failed: {(done.stderr or done.stdout).strip()[-400:]}")
    return result(json.loads(lines[-1]), spec.connections, busy)


def result(summary: dict[str, int], connections: int, busy: dict[str, float]) -> LoadResult:
    """Return what wrk's own summary, as ``wrk.lua`` prints it, says."""
    # wrk counts answers that are errors among the answers.
    answered = summary["answered"] - summary["status"]
    return LoadResult(
        answered=answered,
        measured=answered,
        seconds=summary["microseconds"] / 1e6,
        bytes=summary["bytes"],
        errors={f"wrk: {name}": summary[name] for name in _ERRORS if summary[name]},
        unfinished=connections,
        p50_ms=summary["p50"] / 1e3,
        p99_ms=summary["p99"] / 1e3,
        busy=busy,
    )
