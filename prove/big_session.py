"""A session of 20 GB whose recorder is killed: how long until the first answer, and what checking all of it takes.

Each figure is measured in a fresh process: that is what an agent or a person meets after a crash.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from prove.part import Figure, Result, Task
from wiretape.session.catalogue import Catalogue, SessionDir
from wiretape.session.session import Session

WHOLE = 20 * 10**9
TAIL = 48 * 2**20
"""Bytes that the index has not read when the recorder is killed: most of a segment."""
MEMORY = 64
"""MiB over an idle process that recovery and verification may take (P8)."""
DERIVED = ("manifest.json", "index.sqlite", "index.sqlite-wal", "index.sqlite-shm", "recovery.json")

_FIRST = """
import json, sys, time
from pathlib import Path
from wiretape.session.session import Session
begun = time.perf_counter()
with Session(Path(sys.argv[1]), Path(sys.argv[1]).name) as session:
    page = session.query(limit=50)
spent = time.perf_counter() - begun
print(json.dumps({"ms": spent * 1000, "matched": page.matched, "newest": page.items[0].state}))
"""
_WHOLE = """
import json, resource, sys, time
from pathlib import Path
from wiretape.session.session import Session
def peak():
    # Linux' ru_maxrss counts what the parent had before exec, too; this does not.
    status = Path("/proc/self/status")
    if status.exists():
        return next(int(line.split()[1]) for line in status.open() if line.startswith("VmHWM"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "darwin" else 1)
idle = peak()
begun = time.perf_counter()
with Session(Path(sys.argv[1]), Path(sys.argv[1]).name) as session:
    found = session.recover() if sys.argv[2] == "recover" else session.verify()
spent = time.perf_counter() - begun
print(json.dumps({"seconds": spent, "mib": (peak() - idle) / 1024, "exchanges": found.exchanges}))
"""


@dataclass(frozen=True, slots=True)
class Written:
    """A session on the disk, its size and the exchanges in it."""

    made: SessionDir
    bytes: int
    exchanges: int


def run(task: Task) -> Result:
    """Build, kill, ask, recover, verify; the files are removed afterwards."""
    size = task.share(WHOLE, at_least=200_000_000)
    free = shutil.disk_usage(task.folder).free
    if free < size * 1.3:
        return Result(
            figures={}, failures=[f"{size * 1.3 / 1e9:.0f} GB of free disk are needed, there are {free / 1e9:.0f}"]
        )
    root = task.folder / "root"
    failures: list[str] = []
    try:
        figures = _opening(task, root, size, failures)
        figures |= _rates(task, root, min(size // 4, 1_000_000_000))
        return Result(figures=figures, failures=failures)
    finally:
        if not failures:
            shutil.rmtree(root, ignore_errors=True)


def _opening(task: Task, root: Path, size: int, failures: list[str]) -> dict[str, Figure]:
    task.report(0, 6, f"writing {size / 1e9:.1f} GB")
    small = _write(root, 10_000_000, TAIL, "small", index=True)
    all_small = _ask(_FIRST, small.made.path)
    shutil.rmtree(small.made.path)
    written = _write(root, size, TAIL, "real", index=True)
    folder = written.made.path
    after_kill = _keep(folder, task.folder / "derived")
    task.report(1, 6, "the first query")
    first = _ask(_FIRST, folder)
    if (first["matched"], first["newest"]) != (written.exchanges, "interrupted"):
        failures.append(f"the first query of {folder} found {first} of {written.exchanges} exchanges, the last cut off")
    _restore(folder, after_kill)
    task.report(2, 6, "the first query, as a command")
    begun = time.perf_counter()
    _command(root, "query", "last", "--json")
    command_ms = (time.perf_counter() - begun) * 1000
    task.report(3, 6, "verify")
    verify = _ask(_WHOLE, folder, "verify")
    task.report(4, 6, "recover")
    recover = _ask(_WHOLE, folder, "recover")
    for name, found in (("verify", verify), ("recover", recover)):
        if found["exchanges"] != written.exchanges:
            failures.append(f"{name} of {folder} found {found['exchanges']} of {written.exchanges} exchanges")
        if found["mib"] > MEMORY:
            failures.append(f"{name} of {folder} took {found['mib']:.0f} MiB over idle; {MEMORY} are promised")
    return {
        "log, GB": round(written.bytes / 1e9, 1),
        "log, exchanges": written.exchanges,
        "first query after SIGKILL, ms": round(first["ms"]),
        "wiretape query after SIGKILL, ms": round(command_ms),
        "first query, all that is unread are small exchanges, ms": round(all_small["ms"]),
        "verify, MiB over idle": round(verify["mib"], 1),
        "verify, s": round(verify["seconds"], 1),
        "recover, MiB over idle": round(recover["mib"], 1),
        "recover, s": round(recover["seconds"], 1),
    }


def _rates(task: Task, root: Path, size: int) -> dict[str, Figure]:
    """Measure the check alone, on one core, from the page cache."""
    figures: dict[str, Figure] = {}
    for step, (mix, name) in enumerate((("bodies", "scan of bodies from 16 KiB, GB/s"), ("small", "scan, small/s"))):
        task.report(5, 6, f"scanning {mix}")
        written = _write(root, size if step == 0 else size // 4, 0, mix, index=False)
        runs = [_ask(_WHOLE, written.made.path, "verify")["seconds"] for _ in range(3)]
        shown = written.bytes / min(runs) / 1e9 if mix == "bodies" else written.exchanges / min(runs)
        figures[name] = round(shown, 2) if mix == "bodies" else round(shown)
        shutil.rmtree(written.made.path)
    task.report(6, 6, "done")
    return figures


def _write(root: Path, size: int, tail: int, mix: str, *, index: bool) -> Written:
    """Write a session; with ``index`` it is indexed up to the tail, as at a recorder's pace, and its writer killed."""
    made = Catalogue(root).create(f"big {mix}")
    writer = subprocess.Popen(
        [sys.executable, "-m", "prove.big_writer", made.log_dir, made.session_id, str(size), str(tail), mix],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert writer.stdin is not None
    assert writer.stdout is not None
    try:
        exchanges = _count(writer.stdout)
        if index:
            with Session(made.path, made.session_id) as session:
                session.follow()
        writer.stdin.write("\n")
        writer.stdin.flush()
        exchanges += _count(writer.stdout)
        if index:
            exchanges += 1
            os.kill(writer.pid, signal.SIGKILL)
    finally:
        writer.stdin.close()
        writer.wait()
    return Written(made, sum(path.stat().st_size for path in made.log_dir.glob("*.wlog")), exchanges)


def _count(lines: IO[str]) -> int:
    line = lines.readline()
    if not line:
        raise OSError("the writer of the log failed; what it said is above")
    return int(line)


def _ask(program: str, folder: Path, *arguments: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder), *arguments], check=True, capture_output=True, text=True
    )
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def _command(root: Path, *arguments: str) -> None:
    command = [sys.executable, "-m", "wiretape", *arguments, "--root", str(root)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def _keep(folder: Path, aside: Path) -> Path:
    aside.mkdir()
    for name in DERIVED:
        if (folder / name).exists():
            shutil.copyfile(folder / name, aside / name)
    return aside


def _restore(folder: Path, aside: Path) -> None:
    for name in DERIVED:
        (folder / name).unlink(missing_ok=True)
        if (aside / name).exists():
            shutil.copyfile(aside / name, folder / name)
    shutil.rmtree(aside)
