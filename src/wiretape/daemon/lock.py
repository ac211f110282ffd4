"""One daemon per root: a lock that ends with its holder, however it ends."""

from __future__ import annotations

import json
import os
from pathlib import Path

from wiretape.daemon.paths import lock_path
from wiretape.errors import BusyError, StorageError
from wiretape.private_files import take_lock

PATIENCE = 0.1
"""Seconds to wait for a root that somebody only looks at."""


class RootLock:
    """The exclusive lock on a root, held from construction to ``release`` or the end of the process.

    Raises:
        BusyError: another daemon uses the root; ``pid`` is its process id.
        StorageError: the root cannot be made or written.
    """

    def __init__(self, root: Path) -> None:
        self._path = lock_path(root)
        try:
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise StorageError(
                f"the root {root} cannot be used: {error.strerror}",
                hint="give a folder that you can write with --root DIR or WIRETAPE_ROOT",
            ) from error
        # A client that looks whether a daemon starts holds it, shared, for a moment.
        if not take_lock(self._fd, patience=PATIENCE):
            pid = _holder(self._fd)
            os.close(self._fd)
            raise BusyError(
                f"the root {root} is used by another daemon (pid {pid or 'unknown'})",
                hint="talk to that one, end it with `wiretape stop`, or give another --root DIR",
                code="root-busy",
                pid=pid,
            )
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, json.dumps({"pid": os.getpid()}).encode(), 0)

    def release(self) -> None:
        """Let go of the root. The file stays: removing it would race with the next daemon's lock."""
        os.close(self._fd)


def _holder(fd: int) -> int:
    """Return the pid that the holder wrote, 0 when it has not done so yet."""
    try:
        return int(json.loads(os.pread(fd, 4096, 0))["pid"])
    except (ValueError, KeyError, TypeError):
        return 0
