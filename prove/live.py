"""Reading while somebody writes (P6): thousands of checks of logs that grow at full speed, and of second writers."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from google_crc32c import value as crc32c

from prove.part import Result, Task
from wiretape.errors import BusyError
from wiretape.log.locks import writer_alive
from wiretape.log.resume import resume_point
from wiretape.log.store import list_segments
from wiretape.log.stream_writer import StreamIdentity, StreamWriter
from wiretape.log.verify import verify_log

CHECKS = 10_000
SECOND_WRITERS = 2_000
_LOG_BYTES = 3_000_000


class Writer:
    """The program that writes; ``session_id`` is what it writes now."""

    def __init__(self, root: Path, size: int) -> None:
        self.root = root
        command = [sys.executable, "-m", "harness.busy_writer", str(root), str(size)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.session_id = self.process.stdout.readline().strip()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.session_id = line.strip()

    def end(self) -> None:
        """Let it stop, and wait for that."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(30)
        self._reader.join()
        self.process.stdout.close()

    @property
    def log_dir(self) -> Path:
        """Where it writes now."""
        return self.root / "sessions" / self.session_id / "log"


@contextmanager
def writing(root: Path, size: int = _LOG_BYTES) -> Iterator[Writer]:
    """Have somebody write while the block runs, ``size`` bytes to each session."""
    writer = Writer(root, size)
    try:
        yield writer
    finally:
        writer.end()


def check_often(root: Path, checks: int, task: Task) -> tuple[int, int, list[str]]:
    """Check what is being written; give false reports, segments that changed, and sentences.

    ``checks`` counts those that met a living writer; between two sessions there is none for a moment.
    """
    prefixes: dict[Path, tuple[int, int]] = {}
    live = false = number = 0
    failures: list[str] = []
    with writing(root) as writer:
        while live < checks and writer.process.poll() is None:
            number += 1
            log_dir, session_id = writer.log_dir, writer.session_id
            report = verify_log(log_dir, session_id)
            live += report.holder is not None
            if report.gaps or report.lost_exchanges or (report.holder is not None and report.torn_tail_bytes):
                false += 1
                failures.append(f"check {number}: {report.gaps} {report.lost} {report.tails}")
            if number % 20 == 0:
                _remember(log_dir, prefixes)
                task.report(live, checks, f"{live:,} checks")
    changed = [path for path, (size, check) in prefixes.items() if crc32c(path.read_bytes()[:size]) != check]
    if live < checks:
        failures.append(f"the writer ended after {live} checks")
    return false, len(changed), [*failures, *(f"{path} was changed" for path in changed)]


def _remember(log_dir: Path, prefixes: dict[Path, tuple[int, int]]) -> None:
    for ref in list_segments(log_dir):
        if ref.path not in prefixes:
            content = ref.path.read_bytes()
            prefixes[ref.path] = (len(content), crc32c(content))


def second_writers(root: Path, tries: int) -> tuple[int, list[str]]:
    """Try to write what somebody writes; give how often that was refused with the holder's pid."""
    refused = 0
    failures = []
    with writing(root, 1 << 40) as writer:
        while writer_alive(writer.log_dir) is None:
            time.sleep(0.001)
        for _ in range(tries):
            identity = StreamIdentity(writer.session_id, 0, 1, 1, 1, "boot", "second")
            number, seq = resume_point(writer.log_dir, 0, 1)
            try:
                StreamWriter(writer.log_dir, identity, clock_ns=lambda: 1, next_number=number, next_seq=seq).close()
                failures.append("a second writer was let in")
            except BusyError as error:
                refused += error.pid == writer.process.pid
    if refused != tries:
        failures.append(f"{tries - refused} of {tries} second writers were not told the holder's pid")
    return refused, failures[:5]


def run(task: Task) -> Result:
    """Check, and try to write."""
    checks, tries = task.share(CHECKS, at_least=200), task.share(SECOND_WRITERS, at_least=100)
    false, changed, failures = check_often(task.folder / "checked", checks, task)
    refused, more = second_writers(task.folder / "second", tries)
    return Result(
        figures={
            "checks of a log being written": checks,
            "false reports": false,
            "segments changed": changed,
            "second writers refused": refused,
        },
        failures=[*failures, *more][:20],
    )
