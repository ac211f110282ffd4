"""The small port through which the log touches files, so that tests can make disks fail and cut the power.

Whoever reads or writes a log takes a ``Files``; ``REAL`` is the operating system's. Its promises are those of POSIX:
what ``write`` took survives the death of the process, what ``fdatasync`` returned for survives the loss of power, and a
new file survives that once its folder was synced as well.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple, Protocol

# A link is not followed, a pipe does not block.
_TO_READ: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_TO_APPEND: Final = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_KEEP_SIZE: Final = 1  # FALLOC_FL_KEEP_SIZE


class FileEntry(NamedTuple):
    """One entry of a folder; ``regular`` is False for links, pipes and folders, ``size`` is in bytes."""

    name: str
    size: int
    regular: bool


class Readable(Protocol):
    """A file opened for reading. Methods raise OSError as the kernel gives it."""

    def read_at(self, length: int, offset: int) -> bytes:
        """Return up to ``length`` bytes from ``offset``; fewer at the end of the file."""

    def size(self) -> int:
        """Return the file's length now."""

    def data_from(self, offset: int) -> int:
        """Return the first offset, from ``offset`` on, at which another byte than zero may stand.

        The file's length, or more, where there is none; ``offset`` where nobody knows of holes.
        """

    def close(self) -> None:
        """Let go of it."""


class Files(Protocol):
    """What the log needs of a file system. All methods raise OSError as the kernel gives it."""

    def create(self, path: Path) -> int:
        """Create a new file for appending, readable by the owner alone; FileExistsError when it is there."""

    def reopen(self, path: Path) -> int:
        """Open a file that another process wrote, so that ``fdatasync`` saves its bytes; a link is not followed."""

    def write(self, fd: int, data: bytes | memoryview) -> int:
        """Append, and return how many bytes were taken, which may be fewer than given."""

    def write_all(self, fd: int, pieces: Sequence[bytes | memoryview]) -> int:
        """Append at most 1,024 pieces in their order, and return how many bytes were taken, which may be fewer."""

    def fdatasync(self, fd: int) -> None:
        """Return when the file's bytes are on the disk."""

    def fsync_folder(self, path: Path) -> None:
        """Return when the folder's entries are on the disk."""

    def duplicate(self, fd: int) -> int:
        """Return a second descriptor of the same file."""

    def close(self, fd: int) -> None:
        """Close a descriptor."""

    def lock(self, path: Path, note: bytes) -> int | None:
        """Take the exclusive lock file ``path`` and leave ``note`` in it; None when another process holds it."""

    def lock_note(self, path: Path) -> bytes | None:
        """Return the note of who holds the lock file, None when nobody does; never stands in a holder's way."""

    def remove_empty(self, path: Path) -> None:
        """Remove a file of length 0; any other file, and any failure, is left alone."""

    def reserve(self, path: Path, size: int) -> None:
        """Have a file of length 0 for which ``size`` bytes of the disk are set aside; again, if it is there already."""

    def move(self, path: Path, target: Path) -> int:
        """Return a file another name and open it for appending; FileExistsError when there is one of that name."""

    def open_read(self, path: Path) -> Readable:
        """Open a file for reading; a link is not followed, a pipe does not block."""

    def list_folder(self, path: Path) -> list[FileEntry]:
        """List what is in a folder, in any order; sizes are taken when all names are known.

        So a segment that is listed beside its successor is listed with its whole length.
        """


class RealFile:
    """A file of the operating system, opened for reading."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, _TO_READ)

    def read_at(self, length: int, offset: int) -> bytes:
        """Read."""
        return os.pread(self._fd, length, offset)

    def size(self) -> int:
        """Measure."""
        return os.fstat(self._fd).st_size

    def data_from(self, offset: int) -> int:
        """Ask where the next data are."""
        return data_from(self._fd, offset)

    def close(self) -> None:
        """Close."""
        os.close(self._fd)


def data_from(fd: int, offset: int) -> int:
    """Return the first offset from ``offset`` on that lies in no hole of a file; its length where only a hole follows.

    A terabyte that was never written is a moment's work for whoever makes a file, and should be for its reader.
    """
    try:
        return os.lseek(fd, offset, os.SEEK_DATA)
    except OSError as error:
        return max(offset, os.fstat(fd).st_size) if error.errno == errno.ENXIO else offset


class RealFiles:
    """The operating system's files."""

    def create(self, path: Path) -> int:
        """Create a new file for appending (O_EXCL: two writers can never share one)."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def reopen(self, path: Path) -> int:
        """Open for syncing, which needs no right to write."""
        return os.open(path, _TO_READ)

    def write(self, fd: int, data: bytes | memoryview) -> int:
        """Append."""
        return os.write(fd, data)

    def write_all(self, fd: int, pieces: Sequence[bytes | memoryview]) -> int:
        """Append without putting them together first."""
        return os.writev(fd, pieces)

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

    def duplicate(self, fd: int) -> int:
        """Duplicate."""
        return os.dup(fd)

    def close(self, fd: int) -> None:
        """Close."""
        os.close(fd)

    def lock(self, path: Path, note: bytes) -> int | None:
        """Take an flock; the kernel drops it when the process dies, however it dies."""
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.pwrite(fd, note, 0)  # first: a full disk has no room for what was given back to it
            os.ftruncate(fd, len(note))
        except BlockingIOError:
            os.close(fd)
            return None
        except OSError:
            os.close(fd)
            raise
        return fd

    def lock_note(self, path: Path) -> bytes | None:
        """Ask for the lock as a reader would share it; what cannot be asked is held by nobody."""
        try:
            fd = os.open(path, _TO_READ)
        except OSError:
            return None
        try:
            # A shared request fails only while a writer holds the lock, never because another reader asks as well. A
            # writer that starts in the moment we hold it must retry; close releases it at once.
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            try:
                return os.pread(fd, _NOTE_BYTES, 0)
            except OSError:
                return b""
        except OSError:  # a file system without locks: nobody can hold one
            return None
        else:
            return None
        finally:
            os.close(fd)

    def remove_empty(self, path: Path) -> None:
        """Remove the file if it has no byte in it."""
        try:
            if path.stat().st_size == 0:
                path.unlink()
        except OSError:
            return

    def reserve(self, path: Path, size: int) -> None:
        """Set blocks aside behind the end of an empty file; anything else of that name is removed."""
        for _ in range(2):
            fd = os.open(path, _TO_APPEND | os.O_CREAT, 0o600)
            try:
                found = os.fstat(fd)
                if stat.S_ISREG(found.st_mode) and found.st_size == 0 and found.st_nlink == 1:
                    _allocate(fd, size)
                    return
                path.unlink()
            except OSError:
                self.remove_empty(path)
                raise
            finally:
                os.close(fd)

    def move(self, path: Path, target: Path) -> int:
        """Link and unlink: a rename would replace what has the name."""
        fd = os.open(path, _TO_APPEND)
        try:
            os.link(path, target, follow_symlinks=False)
            path.unlink()
        except OSError:
            os.close(fd)
            raise
        return fd

    def open_read(self, path: Path) -> Readable:
        """Open for reading."""
        return RealFile(path)

    def list_folder(self, path: Path) -> list[FileEntry]:
        """List the entries; one that is removed meanwhile is left out."""
        with os.scandir(path) as entries:
            listed = list(entries)
        found = []
        for entry in listed:
            try:
                size = entry.stat(follow_symlinks=False).st_size
            except FileNotFoundError:
                continue
            found.append(FileEntry(entry.name, size, entry.is_file(follow_symlinks=False)))
        return found


def _allocate(fd: int, size: int) -> None:
    """Set blocks aside for a file without making it longer, which the standard library has no call for."""
    fallocate = getattr(ctypes.CDLL(None, use_errno=True), "fallocate", None)
    if fallocate is None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
    if fallocate(fd, _KEEP_SIZE, ctypes.c_long(0), ctypes.c_long(size)):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


# A holder's note is about 100 bytes; whatever else stands in the file is not one.
_NOTE_BYTES: Final = 4096

REAL: Final[Files] = RealFiles()
"""The operating system's files; it has no state."""
