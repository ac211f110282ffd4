"""Disks that fail in reality: full ones, files that may not grow, no descriptors left, errors from the kernel.

Rounds with a daemon, its recorder and real clients: a small tmpfs that is filled and freed, limits of the recorder's
process, ``strace`` that lets its calls fail. And a recording of the stream alone in which the nth call fails, for every
n. What was dropped has to be counted exactly, by everybody, and everything else has to be there.
"""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count
from pathlib import Path

from harness.logs import new_session
from harness.scripted_recording import EXCHANGES
from prove.faulty_round import Fault, FullDisk, Limit, Round, few_descriptors, run_round, small_disk
from prove.one_round import Stage, open_stage
from prove.part import Figure, Result, Task
from prove.syscalls import watched_paths
from wiretape.cli.demo.waiting import wait_until
from wiretape.errors import WiretapeError
from wiretape.log.format import FrameType
from wiretape.log.items import Damage, Frame
from wiretape.log.verify import verify_log

_ROUNDS = 3
_DISK = "24m"
_FILE_BYTES = 200_000
_CALLS = {
    "fdatasync": "EIO",
    "fsync": "EIO",
    "write": "EIO,ENOSPC",
    "writev": "EIO,ENOSPC",
    "openat": "EMFILE,ENOSPC",
    "dup": "EMFILE",
    "fcntl": "EMFILE",
    "fallocate": "ENOSPC,EOPNOTSUPP",
    "unlink": "EIO",
}


class Injected:
    """Calls of the recorder that touch its session's files fail.

    Args:
        call: which.
        error: with what.
        when: which of them, as ``strace`` says it: ``2+3`` is the second and every third behind it.
    """

    def __init__(self, call: str, error: str, when: str) -> None:
        self._inject = f"-einject={call}:error={error}:when={when}"
        self._trace = f"-etrace={call}"
        self._process: subprocess.Popen[bytes] | None = None

    def begin(self, root: Path, pid: int) -> None:
        """Attach to the recorder."""
        (session,) = (root / "sessions").iterdir()
        watched = [argument for path in watched_paths(session) for argument in ("-P", str(path))]
        command = ["strace", "-f", "-qqq", "-o", os.devnull, self._inject, self._trace, *watched, "-p", str(pid)]
        self._process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        wait_until(lambda: _traced(pid), what="strace to attach")

    def end(self) -> None:
        """Detach."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)
            self._process = None


def _traced(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    return "TracerPid:\t0\n" not in status


# ----------------------------------------------------------------------------------------- the nth call of a recording


def fail_recording(root: Path, call: str, error: str, number: int, counts: Counter[str]) -> str | None:
    """Let the nth such call of a recording fail; gives what does not hold, None when there are fewer such calls."""
    name = f"{call}-{error}-{number}"
    made = new_session(root / name)
    script = [sys.executable, "-m", "harness.scripted_recording", str(made.log_dir), made.session_id, "always"]
    watched = [argument for path in watched_paths(made.path) for argument in ("-P", str(path))]
    trace = root / f"{name}.trace"
    inject = [f"-etrace={call}", f"-einject={call}:error={error}:when={number}"]
    command = ["strace", "-f", "-qqq", "-o", str(trace), *inject, *watched, *script]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    injected = "INJECTED" in trace.read_text(errors="replace")
    told = {int(line.split()[0]) for line in done.stdout.decode().splitlines()}
    ends: set[int] = set()

    def watch(items: Iterator[Frame | Damage]) -> Iterator[Frame | Damage]:
        for item in items:
            if isinstance(item, Frame) and item.kind == FrameType.DONE:
                ends.add(item.seq)
            yield item

    wrong = ""
    begun = done.returncode == 0
    if begun:
        report = verify_log(made.log_dir, made.session_id, watch=watch)
        counts["calls failed: dropped, counted"] += report.dropped
        counts["lost"] += len(told - ends - set(report.partial))
        if told - ends != set(report.partial) or report.dropped != len(told - ends) or len(told) != EXCHANGES:
            wrong = f"{len(told)} told, {sorted(told - ends)} not there, {report.partial} reported"
        elif report.gaps or report.lost_exchanges or not report.closed_cleanly:
            wrong = f"gaps {report.gaps}, {report.lost_exchanges} lost, closed {report.closed_cleanly}"
    elif told or b"StorageError" not in done.stderr:  # a recording that cannot begin says so, and has told nobody
        wrong = f"it ended with {done.returncode} after {len(told)}: {done.stderr.decode()[-300:]}"
    counts["calls failed"] += injected
    if not wrong:
        shutil.rmtree(root / name)
        trace.unlink()
    if wrong:
        return f"{call}, {error} at call {number}: {wrong}"
    return "" if injected else None


def _every_call(task: Task, counts: Counter[str], failures: list[str]) -> None:
    kinds = [(call, error) for call, errors in _CALLS.items() for error in errors.split(",")]
    step = max(1, round(0.05 / task.effort))
    for done, (call, error) in enumerate(kinds):
        task.report(done, len(kinds), f"{call} fails with {error}")
        fail: Callable[[int], str | None] = partial(fail_recording, task.folder, call, error, counts=counts)
        with ThreadPoolExecutor(2) as pool:
            for first in count(1, 2 * step):
                found = list(pool.map(fail, (first, first + step)))
                failures += filter(None, found)
                if None in found or len(failures) > 20:
                    break


# --------------------------------------------------------------------------------------------------------------- rounds


def _rounds(task: Task, disk: Path | None) -> Iterator[tuple[str, Round]]:
    """Yield the rounds, each with its kind."""
    kinds: dict[str, Callable[[], Fault]] = {
        "RLIMIT_FSIZE": lambda: Limit(resource.RLIMIT_FSIZE, lambda _: _FILE_BYTES),
        "few descriptors": lambda: Limit(resource.RLIMIT_NOFILE, few_descriptors),
        "fdatasync EIO, always": lambda: Injected("fdatasync", "EIO", "1+"),
        "fdatasync EIO, some": lambda: Injected("fdatasync", "EIO", "2+3"),
        "write EIO, some": lambda: Injected("write,writev", "EIO", "3+4"),
        "write ENOSPC": lambda: Injected("write,writev", "ENOSPC", "2+"),
    }
    for number in range(task.share(_ROUNDS)):
        if disk is not None:
            for kind, refuses, at_the_end in (
                ("full disk, pass", False, False),
                ("full disk, refuse", True, False),
                ("full disk at the seal", number % 2 > 0, True),
            ):
                name = f"{kind.replace(',', '').replace(' ', '-')}-{number}"
                fault = FullDisk()
                yield kind, Round(name=name, root=disk / name, fault=fault, refuses=refuses, at_the_end=at_the_end)
        for kind, make in kinds.items():
            name = f"{kind.replace(',', '').replace(' ', '-')}-{number}"
            yield kind, Round(name=name, root=task.folder / name, fault=make(), requests=30)


def _run_rounds(task: Task, stage: Stage, disk: Path | None, counts: Counter[str], failures: list[str]) -> None:
    rounds = list(_rounds(task, disk))
    for done, (kind, how) in enumerate(rounds):
        task.report(done, len(rounds), kind)
        try:
            result = run_round(stage, how)
        except (WiretapeError, OSError, ValueError, LookupError, subprocess.SubprocessError) as error:
            failures.append(f"{how.name}: {type(error).__name__}: {error}")
            continue
        finally:
            how.fault.end()
        failures += [f"{how.name}: {sentence}" for sentence in result["wrong"]]
        counts[kind] += 1
        for key in ("answered", "refused", "lost", "dropped"):
            counts[key] += result[key]
        if result["holds"]:
            shutil.rmtree(how.root)


def run(task: Task) -> Result:
    """Run the rounds, then let every call of a recording fail."""
    if shutil.which("strace") is None:
        return Result(figures={"rounds": 0}, failures=["strace is not installed, so nothing was proved"])
    counts: Counter[str] = Counter()
    failures: list[str] = []
    with contextlib.ExitStack() as stack:
        stage = stack.enter_context(open_stage(task.folder))
        disk = stack.enter_context(small_disk(task.folder / "disk", _DISK))
        _run_rounds(task, stage, disk, counts, failures)
    _every_call(task, counts, failures)
    kinds = list(dict.fromkeys(kind for kind, _ in _rounds(task, task.folder)))
    full: dict[str, Figure] = {f"rounds: {kind}": counts[kind] for kind in kinds}
    if disk is None:
        full = {kind: value or "no mount here" for kind, value in full.items()}
    figures: dict[str, Figure] = {
        **full,
        "answered": counts["answered"],
        "refused": counts["refused"],
        "dropped, counted exactly": counts["dropped"],
        "calls failed": counts["calls failed"],
        "calls failed: dropped, counted": counts["calls failed: dropped, counted"],
        "lost": counts["lost"],
    }
    return Result(figures=figures, failures=failures[:20])
