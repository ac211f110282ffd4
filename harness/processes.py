"""Whether processes still run, asked by their pids."""

from __future__ import annotations

import os
from pathlib import Path

from wiretape.cli.demo.waiting import wait_until


def alive(pid: int) -> bool:
    """Whether a process runs (one that has ended and was not waited for does not)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    except OSError:
        os.kill(pid, 0)
        return True
    return state not in {"Z", "X"}


def wait_gone(pid: int) -> None:
    """Wait until a process has ended."""
    wait_until(lambda: not alive(pid), what=f"the end of process {pid}")
