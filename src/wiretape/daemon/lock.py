"""One daemon per root: a lock that ends with its holder, however it ends."""

from __future__ import annotations

import fcntl
import json
import os
import time
from pathlib import Path

from wiretape.daemon.paths import lock_path
from wiretape.errors import BusyError, StorageError


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
        try:
            _take(self._fd)
        except OSError as error:
            pid = _holder(self._fd)
            os.close(self._fd)
            raise BusyError(
                f"the root {root} is used by another daemon (pid {pid or 'unknown'})",
                hint="talk to that one, end it with `wiretape stop`, or give another --root DIR",
                code="root-busy",
                pid=pid,
            ) from error
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, json.dumps({"pid": os.getpid()}).encode(), 0)

    def release(self) -> None:
        """Let go of the root. The file stays: removing it would race with the next daemon's lock."""
        os.close(self._fd)


def _take(fd: int) -> None:
    """Lock ``fd``, trying again for a moment: a client that looks whether a daemon starts holds it shared that long."""
    for _ in range(20):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            time.sleep(0.005)
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _holder(fd: int) -> int:
    """Give the pid that the holder wrote, 0 when it has not done so yet."""
    try:
        return int(json.loads(os.pread(fd, 4096, 0))["pid"])
    except (ValueError, KeyError, TypeError):
        return 0
