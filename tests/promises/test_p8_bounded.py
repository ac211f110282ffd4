"""P8: memory does not grow with the session: checking, recovering and opening one takes what it takes, however long."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from wiretape.session.catalogue import Catalogue, SessionDir

HERE = Path(__file__).parents[2]
BOUND = 64 * 1024
"""KiB over an idle process."""
SMALL, LARGE = 20_000_000, 160_000_000
"""Bytes of log. The larger one is more than twice what the memory may grow by."""

_PROGRAM = """
import sys
from pathlib import Path
from wiretape.session.session import Session
from wiretape.session.recovery.scrub import Scrubber

def memory(name):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(name))

folder = Path(sys.argv[1])
idle = memory("VmRSS")
with Session(folder, folder.name) as session:
    if sys.argv[2] == "scrub":
        Scrubber(folder, folder.name, pause=lambda *_: None).run(0)
    else:
        {"verify": session.verify, "deep": lambda: session.verify(deep=True), "recover": session.recover,
         "open": session.query}[sys.argv[2]]()
print(memory("VmHWM") - idle)
"""


def written(root: Path, size: int) -> SessionDir:
    """Write a session of small and large exchanges with the real writer, and kill the writer."""
    made = Catalogue(root).create(f"of {size}")
    writer = subprocess.Popen(
        [sys.executable, "-m", "prove.big_writer", made.log_dir, made.session_id, str(size), "100000", "real"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=HERE,
    )
    assert writer.stdin is not None
    assert writer.stdout is not None
    writer.stdout.readline()
    writer.stdin.write("\n")
    writer.stdin.flush()
    assert int(writer.stdout.readline()) > 0
    os.kill(writer.pid, signal.SIGKILL)
    writer.communicate()
    return made


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="measured with Linux' /proc")
def test_p8_memory_is_that_of_a_short_session_whatever_is_done_with_a_long_one(root: Path) -> None:
    sessions = {size: written(root, size) for size in (SMALL, LARGE)}
    taken: dict[str, dict[int, int]] = {}
    for what in ("open", "verify", "deep", "recover", "scrub"):
        for size, made in sessions.items():
            command = [sys.executable, "-c", _PROGRAM, str(made.path), what]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            taken.setdefault(what, {})[size] = json.loads(done.stdout)
    assert all(kib < BOUND for sizes in taken.values() for kib in sizes.values()), taken
    # An eighth of what the log is longer by would be growth; the allocator's own moods are less.
    assert all(sizes[LARGE] - sizes[SMALL] < (LARGE - SMALL) // 8 // 1024 for sizes in taken.values()), taken
