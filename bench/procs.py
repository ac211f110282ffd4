"""Processes pinned to one core, what they and their children use, and how they are stopped: by pid, never by name."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from bench.errors import BenchError

T = TypeVar("T")

_TICKS = os.sysconf("SC_CLK_TCK")
_START_SECONDS = 30.0
_STOP_SECONDS = 30.0
_SAMPLE_SECONDS = 0.2
_IDLE_SHARE = 0.1


class Child:
    """A process, and all that it starts, on one core.

    Args:
        command: program and arguments.
        cpu: the core for it and its children (affinity is inherited).
        folder: its working folder; what it prints goes to ``<name>.log`` there.
        name: what to call it in messages.
    """

    def __init__(self, command: Sequence[str | Path], *, cpu: int, folder: Path, name: str) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                ["taskset", "-c", str(cpu), *map(str, command)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=folder,
                start_new_session=True,  # Ctrl-C reaches the benchmark alone, which then stops its children in order
            )

    @property
    def pid(self) -> int:
        """The pid of the program itself: taskset has become it."""
        return self._process.pid

    def wait_until(self, ready: Callable[[], T | None], what: str) -> T:
        """Poll ``ready`` until it gives something.

        Raises:
            BenchError: the process ended, or half a minute passed, before that.
        """
        deadline = time.monotonic() + _START_SECONDS
        while True:
            found = ready()
            if found is not None:
                return found
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise BenchError(f"{self.name} did not get as far as {what}; it said: {self.tail()}")
            time.sleep(0.02)

    def wait_for_port(self, port: int) -> None:
        """Wait until ``port`` on loopback accepts a connection."""
        self.wait_until(lambda: True if _accepts(port) else None, f"accepting connections on port {port}")

    def tail(self) -> str:
        """The last 600 characters of what it printed."""
        return self.log.read_text(errors="replace")[-600:].strip() or "nothing"

    def stop(self) -> None:
        """End it with SIGTERM, and what is left of its tree with SIGKILL."""
        family = [(pid, _start_time(pid)) for pid in tree(self.pid)]
        if self._process.poll() is None:
            self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for pid, born in family:
            # A pid can have been given to someone else in the meantime; its start time tells.
            if born and _start_time(pid) == born:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def tree(root: int) -> list[int]:
    """``root`` and all that descend from it, as far as they run."""
    found, queue = [], [root]
    while queue:
        pid = queue.pop()
        found.append(pid)
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{pid}/task").iterdir():
                queue += map(int, (task / "children").read_text().split())
    return found


def cpu_seconds(root: int) -> float:
    """CPU time that the tree of ``root`` has used, in seconds."""
    total = 0.0
    for pid in tree(root):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += (int(fields[11]) + int(fields[12])) / _TICKS
    return total


def memory(root: int) -> int:
    """Proportional set size of the tree of ``root`` in bytes: pages shared by two processes count once."""
    total = 0
    for pid in tree(root):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
    return total


def settle(root: int, *, seconds: float) -> None:
    """Wait until the tree of ``root`` has been idle for ``seconds``: what a program does just after its start is over.

    Raises:
        BenchError: it is still busy after half a minute.
    """
    deadline = time.monotonic() + _START_SECONDS
    quiet_since, used = time.monotonic(), cpu_seconds(root)
    while time.monotonic() - quiet_since < seconds:
        if time.monotonic() > deadline:
            raise BenchError(f"process {root} does not come to rest")
        time.sleep(_SAMPLE_SECONDS)
        now = cpu_seconds(root)
        if now - used > _SAMPLE_SECONDS * _IDLE_SHARE:
            quiet_since = time.monotonic()
        used = now


class PeakMemory:
    """Highest ``memory`` of a tree while the block runs, sampled five times a second."""

    def __init__(self, root: int) -> None:
        self.bytes = 0
        self._root = root
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="peak-memory")

    def _sample(self) -> None:
        while True:
            self.bytes = max(self.bytes, memory(self._root))
            if self._done.wait(_SAMPLE_SECONDS):
                return

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Sample until the block ends."""
        self._thread.start()
        try:
            yield
        finally:
            self._done.set()
            self._thread.join()


def _accepts(port: int) -> bool:
    with socket.socket() as sock:
        sock.settimeout(1)
        return sock.connect_ex(("127.0.0.1", port)) == 0


def _start_time(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""
