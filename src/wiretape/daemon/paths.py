"""Where a daemon's own files lie. Standard library only: the stdio bridge imports it and has to start fast."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from pathlib import Path

SOCKET_PATH_MAX = 103
"""Bytes that fit ``sun_path`` with its NUL everywhere (104 on macOS, 108 on Linux)."""


def lock_path(root: Path) -> Path:
    """Give the file that the daemon of ``root`` holds locked while it lives."""
    return root / "daemon.lock"


def info_path(root: Path) -> Path:
    """Give the file in which the daemon of ``root`` says its pid and addresses, as JSON."""
    return root / "daemon.json"


def log_path(root: Path) -> Path:
    """Give the file that takes the messages of a daemon started in the background."""
    return root / "daemon.log"


def is_private(folder: Path) -> bool:
    """Tell whether a folder is this user's and closed to all others; a link to one is none (P14)."""
    try:
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077


def socket_path(root: Path) -> Path:
    """Give the daemon's Unix socket: in the root, or where that is too deep for a socket's name, in a private folder.

    The second place is a function of the root alone, so that daemon and clients agree without talking.
    """
    root = root.absolute()
    direct = root / "daemon.sock"
    if len(os.fsencode(direct)) <= SOCKET_PATH_MAX:
        return direct
    digest = hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:20]
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    for base in ([Path(runtime)] if runtime else []) + [Path(tempfile.gettempdir()), Path("/tmp")]:  # noqa: S108
        path = base / f"wiretape-{os.getuid()}" / f"{digest}.sock"
        if len(os.fsencode(path)) <= SOCKET_PATH_MAX and base.is_dir():
            return path
    return direct
