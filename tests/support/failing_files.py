"""The log's file port over the real one, failing on order."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

from wiretape.log.files import RealFiles


class FailingFiles(RealFiles):
    """Real files whose writes and syncs do what the test says.

    Attributes:
        room: bytes that may still be written; then writes are short and fail with ENOSPC. None is without end.
        sync_errors: how many of the next fdatasync calls fail with EIO.
        synced: how many fdatasync calls succeeded.
        before_sync: called first in every fdatasync.
    """

    def __init__(self) -> None:
        self.room: int | None = None
        self.sync_errors = 0
        self.synced = 0
        self.before_sync: Callable[[], object] = lambda: None

    def write(self, fd: int, data: bytes | memoryview) -> int:
        """Write what there is room for."""
        if self.room is None:
            return super().write(fd, data)
        if self.room <= 0:
            raise OSError(errno.ENOSPC, "no space left on device")
        taken = super().write(fd, memoryview(data)[: self.room])
        self.room -= taken
        return taken

    def fdatasync(self, fd: int) -> None:
        """Fail while told to."""
        self.before_sync()
        if self.sync_errors > 0:
            self.sync_errors -= 1
            raise OSError(errno.EIO, "input/output error")
        super().fdatasync(fd)
        self.synced += 1

    def fsync_folder(self, path: Path) -> None:
        """Sync the folder."""
        super().fsync_folder(path)
