"""HAR export and import as a person calls them: whole processes, their time and their memory."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.answers.session import make
from bench.errors import BenchError
from wiretape.session.session import Session

EXCHANGES = 100_000


def carry(folder: Path, exchanges: int = EXCHANGES) -> dict[str, Any]:
    """Export a session of so many exchanges, and import the file; return exchanges a second and MiB of each.

    Raises:
        BenchError: a command failed.
    """
    made = make(folder / "from", exchanges)
    with Session(made.session.path, made.session.session_id) as session:
        session.follow()
    har = folder / "all.har"
    found: dict[str, Any] = {"exchanges": exchanges}
    for name, command in (
        ("export", ["export", "last", "--format", "har", "-o", str(har), "--root", str(folder / "from")]),
        ("import", ["import", str(har), "--root", str(folder / "into")]),
    ):
        found[name] = _run([sys.executable, "-m", "wiretape", *command], exchanges)
    found["harBytes"] = har.stat().st_size
    har.unlink()
    return found


def _run(command: Sequence[str], exchanges: int) -> dict[str, float]:
    begun = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as child:
        assert child.stderr is not None
        said = child.stderr.read()
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - begun
    if status:
        raise BenchError(f"{' '.join(command[2:6])} failed: {said.decode('utf-8', 'replace')[-300:]}")
    cpu = used.ru_utime + used.ru_stime
    return {"rate": exchanges / seconds, "cpuRate": exchanges / cpu, "mib": used.ru_maxrss / 1024}
