"""SIGKILL in place of the nth call to the kernel, for every n: of a recording, of a recovery, of an opening.

``strace`` kills the real process when it enters the nth call that touches the session's files. After a killed recording
every acknowledged exchange has to be there and the next writer goes on; a killed recovery or opening is run again and
has to give the bytes that an undisturbed one gives.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path

from harness.logs import Recording, flip_in, new_session, segment, snapshot
from harness.scripted_recording import EXCHANGES
from prove.part import Figure, Result, Task
from wiretape.log.format import FrameType
from wiretape.log.items import Damage, Frame
from wiretape.log.resume import resume_point
from wiretape.log.verify import verify_log
from wiretape.session.catalogue import SessionDir

_CALLS = (
    "openat,write,pwrite64,writev,read,pread64,fdatasync,fsync,ftruncate,fallocate,flock,fcntl,close,dup,"
    "link,linkat,unlink,unlinkat,rename,renameat,renameat2,mkdir,mkdirat,newfstatat,fstat,getdents64"
)
_TIMEOUT = 60


@dataclass(slots=True)
class Found:
    """What the kills found."""

    counts: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)


def watched_paths(folder: Path) -> list[Path]:
    """Every path below a session's folder that a program may touch."""
    log = folder / "log"
    own = ["manifest.json", ".manifest.json.new", "recovery.json", ".recovery.json.new", "quarantine", "index.sqlite"]
    index = [f"{start}index.sqlite{end}" for start in ("", ".") for end in ("-wal", "-shm", "-journal", ".new")]
    derived = [folder / name for name in (*own, *index)]
    segments = [log / f"0-{number:08d}.wlog" for number in range(1, 40)]
    return [folder, log, log / "0.lock", folder / "reserve-0", *segments, *derived]


def killed_at(number: int, folder: Path, command: list[str]) -> tuple[bool, bytes]:
    """Run ``command``, killed at its nth call that touches ``folder``; give whether that came, and its stdout."""
    strace = ["strace", "-f", "-qqq", "-o", os.devnull, f"-einject={_CALLS}:signal=KILL:when={number}"]
    watched = [argument for path in watched_paths(folder) for argument in ("-P", str(path))]
    done = subprocess.run(
        [*strace, f"-etrace={_CALLS}", *watched, *command],
        capture_output=True,
        timeout=_TIMEOUT,
        check=False,
    )
    if done.returncode not in {0, 1, -9, 137}:
        raise AssertionError(f"{command[:4]} ended with {done.returncode}: {done.stderr.decode()[-500:]}")
    return done.returncode in {-9, 137}, done.stdout


# ---------------------------------------------------------------------------------------------------- recording


def kill_recording(root: Path, durability: str, number: int, found: Found) -> bool:
    """Kill a recording at its nth call and look at what is left; False when it makes fewer calls."""
    made = new_session(root / f"{durability}-{number}")
    command = [sys.executable, "-m", "harness.scripted_recording", str(made.log_dir), made.session_id, durability]
    killed, printed = killed_at(number, made.path, command)
    lines = (line.split() for line in printed.decode().splitlines())
    told = {int(seq): int(check) for seq, check in lines}
    where = f"{durability}, killed at call {number}"
    _all_there(made, told, where, found)
    if killed:
        _goes_on(made, told, where, found)
    elif len(told) != EXCHANGES:
        found.failures.append(f"{where}: it ended with {len(told)} exchanges")
    found.counts["recordings killed"] += killed
    found.counts["acknowledged"] += len(told)
    shutil.rmtree(root / f"{durability}-{number}")
    return killed


def _all_there(made: SessionDir, told: dict[int, int], where: str, found: Found) -> None:
    ends: dict[int, list[int]] = {}

    def watch(items: Iterator[Frame | Damage]) -> Iterator[Frame | Damage]:
        for item in items:
            if isinstance(item, Frame) and item.kind == FrameType.DONE:
                ends.setdefault(item.seq, []).append(zlib.crc32(item.data))
            yield item

    report = verify_log(made.log_dir, made.session_id, watch=watch)
    lost = sorted(seq for seq in told if seq not in ends)
    wrong = sorted(seq for seq, check in told.items() if ends.get(seq, [check]) != [check])
    found.counts["lost"] += len(lost)
    found.counts["wrong or twice"] += len(wrong)
    if lost or wrong or report.gaps:
        found.failures.append(f"{where}: lost {lost}, wrong or twice {wrong}, gaps {report.gaps}")


def _goes_on(made: SessionDir, told: dict[int, int], where: str, found: Found) -> None:
    """The next writer changes nothing and gives no number again."""
    before = snapshot(made.log_dir)
    _, following = resume_point(made.log_dir, 0, 1)
    recording = Recording(made)
    seq = recording.exchange("http://example.com/next")
    recording.writer.close()
    changed = [
        name for name, content in before.items() if name.endswith("wlog") and snapshot(made.log_dir)[name] != content
    ]
    if seq != following or seq <= max(told, default=0) or changed:
        found.failures.append(f"{where}: the next exchange is {seq} after {max(told, default=0)}, changed {changed}")


# ----------------------------------------------------------------------------------------------------- recovery


def _damaged(root: Path) -> SessionDir:
    made = new_session(root)
    recording = Recording(made)
    recording.exchange("http://example.com/fine")
    recording.large("http://example.com/big", b"A" * 500 + b"B" * 500, piece=500)
    recording.exchange("http://example.com/unlucky")
    recording.open("http://example.com/running")
    recording.kill(torn=b"\x89WT\x01\x05")
    flip_in(segment(made), b"B" * 500)
    flip_in(segment(made), b"/unlucky")
    return made


def kill_recovery(made: SessionDir, wanted: dict[str, bytes], how: list[str], work: Path, number: int) -> str | None:
    """Kill a command at its nth call and run it again; give what differs then, None when it makes fewer calls."""
    root = work / f"{how[0]}-{number}"
    folder = root / "sessions" / made.session_id
    shutil.copytree(made.path, folder)
    command = [sys.executable, "-m", "wiretape", *how, made.session_id, "--root", str(root), "--json"]
    killed, _ = killed_at(number, folder, command)
    if killed:
        subprocess.run(command, capture_output=True, timeout=_TIMEOUT, check=False)
    different = sorted(name for name, content in wanted.items() if derived(folder).get(name) != content)
    shutil.rmtree(root)
    if not killed:
        return None
    return f"{how[0]}, killed at call {number} and run again: {different} differ" if different else ""


def derived(folder: Path) -> dict[str, bytes]:
    """Return what has to be the same: all but the index, whose bytes depend on when SQLite checkpoints."""
    return {name: data for name, data in snapshot(folder).items() if "index.sqlite" not in name}


def _undisturbed(made: SessionDir, how: list[str], work: Path) -> dict[str, bytes]:
    root = work / f"{how[0]}-undisturbed"
    folder = root / "sessions" / made.session_id
    shutil.copytree(made.path, folder)
    command = [sys.executable, "-m", "wiretape", *how, made.session_id, "--root", str(root), "--json"]
    subprocess.run(command, capture_output=True, timeout=_TIMEOUT, check=False)
    return derived(folder)


# ----------------------------------------------------------------------------------------------------- the part


def run(task: Task) -> Result:
    """Kill at every call, or at a share of them."""
    if shutil.which("strace") is None:
        return Result(figures={"points": 0}, failures=["strace is not installed, so nothing was proved"])
    step = max(1, round(0.1 / task.effort))
    found = Found()
    for durability in ("group", "always"):
        kill = partial(kill_recording, task.folder, durability, found=found)
        _until_it_ends(kill, step, _reporting(task, f"recording at {durability}"))
    made = _damaged(task.folder / "root")
    for how in (["recover"], ["query"]):
        wanted = _undisturbed(made, how, task.folder)

        def kill_once(number: int, how: list[str] = how, wanted: dict[str, bytes] = wanted) -> bool:
            failure = kill_recovery(made, wanted, how, task.folder, number)
            if failure:
                found.failures.append(failure)
            found.counts["different results"] += bool(failure)
            found.counts[f"{how[0]} killed"] += failure is not None
            return failure is not None

        _until_it_ends(kill_once, step, _reporting(task, how[0]))
    figures: dict[str, Figure] = {
        "recordings killed": found.counts["recordings killed"],
        "acknowledged": found.counts["acknowledged"],
        "lost": found.counts["lost"],
        "wrong or twice": found.counts["wrong or twice"],
        "recoveries killed": found.counts["recover killed"],
        "openings killed": found.counts["query killed"],
        "different results": found.counts["different results"],
    }
    return Result(figures=figures, failures=found.failures[:20])


def _reporting(task: Task, words: str) -> Callable[[int, int], None]:
    return lambda done, total: task.report(done, total, f"{words}, call {done}")


def _until_it_ends(kill: Callable[[int], bool], step: int, report: Callable[[int, int], None]) -> None:
    """Call ``kill`` with 1, 1 + step, ... on two cores until it says that there is no such call."""
    with ThreadPoolExecutor(2) as pool:
        for first in count(1, 2 * step):
            if not all(pool.map(kill, (first, first + step))):
                return
            report(first, 2 * first)
