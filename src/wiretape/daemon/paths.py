"""Where a daemon's own files lie. Standard library only: the stdio bridge imports it and has to start fast."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

SOCKET_PATH_MAX = 103
"""Bytes that fit ``sun_path`` with its NUL everywhere (104 on macOS, 108 on Linux)."""


FAR_ROOTS = Path("/tmp")  # noqa: S108  the folder in it is ours alone, or it is not used
"""Where the sockets of roots are that are too deep for a socket's name."""


def lock_path(root: Path) -> Path:
    """Return the file that the daemon of ``root`` holds locked while it lives."""
    return root / "daemon.lock"


def info_path(root: Path) -> Path:
    """Return the file in which the daemon of ``root`` says its pid and addresses, as JSON."""
    return root / "daemon.json"


def log_path(root: Path) -> Path:
    """Return the file that takes the messages of a daemon started in the background."""
    return root / "daemon.log"


def socket_path(root: Path) -> Path:
    """Return the daemon's Unix socket: in the root, or where that is too deep for a socket's name, in a private folder.

    The place is a function of the root alone, and of no environment: daemon and clients agree without talking, also
    when one of them was started by cron and the other one in a terminal.
    """
    root = root.absolute()
    direct = root / "daemon.sock"
    if len(os.fsencode(direct)) <= SOCKET_PATH_MAX:
        return direct
    digest = hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:20]
    return FAR_ROOTS / f"wiretape-{os.getuid()}" / f"{digest}.sock"
