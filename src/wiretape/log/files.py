"""The small port through which the log is written, so that tests can make disks fail.

Readers use plain files; only what changes a disk goes through here.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Protocol


class Files(Protocol):
    """What the writer needs of a file system. All methods raise OSError as the kernel gives it."""

    def create(self, path: Path) -> int:
        """Create a new file for appending, readable by the owner alone; FileExistsError when it is there."""

    def write(self, fd: int, data: bytes | memoryview) -> int:
        """Append; gives how many bytes were taken, which may be fewer than given."""

    def fdatasync(self, fd: int) -> None:
        """Return when the file's bytes are on the disk."""

    def fsync_folder(self, path: Path) -> None:
        """Return when the folder's entries are on the disk."""

    def lock(self, path: Path) -> int | None:
        """Take the exclusive lock file ``path``; its descriptor, or None when another process holds it."""

    def remove_empty(self, path: Path) -> None:
        """Remove a file of length 0; any other file, and any failure, is left alone."""

    def close(self, fd: int) -> None:
        """Close a descriptor."""


class RealFiles:
    """The operating system's files."""

    def create(self, path: Path) -> int:
        """Create a new file for appending (O_EXCL: two writers can never share one)."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def write(self, fd: int, data: bytes | memoryview) -> int:
        """Append."""
        return os.write(fd, data)

    def fdatasync(self, fd: int) -> None:
        """Flush the file's data to the disk (macOS has no fdatasync)."""
        getattr(os, "fdatasync", os.fsync)(fd)

    def fsync_folder(self, path: Path) -> None:
        """Flush the folder's entries to the disk."""
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def lock(self, path: Path) -> int | None:
        """Take an flock; the kernel drops it when the process dies, however it dies."""
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return None
        return fd

    def remove_empty(self, path: Path) -> None:
        """Remove the file if it has no byte in it."""
        try:
            if path.stat().st_size == 0:
                path.unlink()
        except OSError:
            return

    def close(self, fd: int) -> None:
        """Close."""
        os.close(fd)
