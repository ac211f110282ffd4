"""The log's file port over any other one, failing on order."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from pathlib import Path

from wiretape.log.files import REAL, FileEntry, Files, Readable


class Killed(BaseException):
    """The process ended at this call; nothing in the program may catch it."""


class FailingFiles:
    """Files whose calls do what the test says, and otherwise what ``inner`` does.

    Attributes:
        room: bytes that can still be written; the write that meets the end is short, the ones after it
            fail with ENOSPC. None is without end.
        short: how many bytes the next write takes at most; the one after it takes all. None takes all.
        reserved: bytes of the disk that a reserve holds.
        set_aside: by descriptor, bytes that can be written whatever the room is.
        write_errors: how many of the next writes fail with EIO.
        sync_errors: how many of the next fdatasync calls fail with EIO.
        folder_errors: how many of the next syncs of a folder fail with EIO.
        lying: syncs return as if they had succeeded and do nothing.
        synced: how many fdatasync calls succeeded.
        before_sync: called first in every fdatasync.
        calls: how many calls were made.
        killed_at: the number of the call (from 0) in place of which the process ends, None for never; no call after
            it does anything.
    """

    def __init__(self, inner: Files = REAL) -> None:
        self.inner = inner
        self.room: int | None = None
        self.short: int | None = None
        self.reserved = 0
        self.set_aside: dict[int, int] = {}
        self.write_errors = 0
        self.sync_errors = 0
        self.folder_errors = 0
        self.lying = False
        self.synced = 0
        self.before_sync: Callable[[], object] = lambda: None
        self.calls = 0
        self.killed_at: int | None = None

    def _enter(self) -> None:
        if self.killed_at is not None and self.calls >= self.killed_at:
            raise Killed
        self.calls += 1

    def create(self, path: Path) -> int:
        """Create."""
        self._enter()
        return self.inner.create(path)

    def reopen(self, path: Path) -> int:
        """Open for syncing."""
        self._enter()
        return self.inner.reopen(path)

    def write(self, fd: int, data: bytes | memoryview) -> int:
        """Write what there is room for."""
        self._enter()
        if self.write_errors > 0:
            self.write_errors -= 1
            raise OSError(errno.EIO, "input/output error")
        if fd in self.set_aside:
            if self.set_aside[fd] < len(data):
                raise OSError(errno.ENOSPC, "no space left on device")
            self.set_aside[fd] -= len(data)
            return self.inner.write(fd, data)
        if self.room is not None:
            if self.room <= 0:
                raise OSError(errno.ENOSPC, "no space left on device")
            data = memoryview(data)[: self.room]
        if self.short is not None:
            data, self.short = memoryview(data)[: self.short], None
        taken = self.inner.write(fd, data)
        if self.room is not None:
            self.room -= taken
        return taken

    def write_all(self, fd: int, pieces: Sequence[bytes | memoryview]) -> int:
        """Write what there is room for."""
        return self.write(fd, b"".join(pieces))

    def fdatasync(self, fd: int) -> None:
        """Fail while told to."""
        self._enter()
        self.before_sync()
        if self.sync_errors > 0:
            self.sync_errors -= 1
            raise OSError(errno.EIO, "input/output error")
        if not self.lying:
            self.inner.fdatasync(fd)
        self.synced += 1

    def fsync_folder(self, path: Path) -> None:
        """Fail while told to."""
        self._enter()
        if self.folder_errors > 0:
            self.folder_errors -= 1
            raise OSError(errno.EIO, "input/output error")
        if not self.lying:
            self.inner.fsync_folder(path)

    def duplicate(self, fd: int) -> int:
        """Duplicate."""
        self._enter()
        return self.inner.duplicate(fd)

    def close(self, fd: int) -> None:
        """Close."""
        self._enter()
        self.inner.close(fd)

    def lock(self, path: Path, note: bytes) -> int | None:
        """Lock."""
        self._enter()
        return self.inner.lock(path, note)

    def lock_note(self, path: Path) -> bytes | None:
        """Ask."""
        self._enter()
        return self.inner.lock_note(path)

    def remove_empty(self, path: Path) -> None:
        """Remove."""
        self._enter()
        self.inner.remove_empty(path)

    def reserve(self, path: Path, size: int) -> None:
        """Set aside what there is room for."""
        self._enter()
        if self.reserved < size and self.room is not None:
            if self.room < size - self.reserved:
                raise OSError(errno.ENOSPC, "no space left on device")
            self.room -= size - self.reserved
        self.inner.reserve(path, size)
        self.reserved = size

    def move(self, path: Path, target: Path) -> int:
        """Move, with the room that was set aside."""
        self._enter()
        fd = self.inner.move(path, target)
        self.set_aside[fd], self.reserved = self.reserved, 0
        return fd

    def open_read(self, path: Path) -> Readable:
        """Open."""
        self._enter()
        return self.inner.open_read(path)

    def list_folder(self, path: Path) -> list[FileEntry]:
        """List."""
        self._enter()
        return self.inner.list_folder(path)
