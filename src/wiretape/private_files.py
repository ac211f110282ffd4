"""Files that are the owner's alone: private folders, atomic replacement, reading without following links, locks.

Standard library only: `wiretape mcp` has to start fast. The log has a file port of its own (log/files.py).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from wiretape.errors import BusyError, NotFoundError, StorageError

FOLDER_MODE = 0o700
FILE_MODE = 0o600
LOCK_AGAIN = 0.005
"""Seconds between two attempts at a lock."""


def storage_error(doing: str, path: Path, error: OSError) -> StorageError | NotFoundError:
    """Turn an OSError about a session's file into an error that names the path and the cause."""
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return NotFoundError(f"{path} does not exist any more", hint="`wiretape sessions` shows what there is")
    return refused(doing, path, error)


def refused(doing: str, path: Path, error: OSError) -> StorageError:
    """Turn an OSError into an error that names the path and the cause."""
    cause = error.strerror or type(error).__name__
    return StorageError(
        f"cannot {doing} {path}: {cause}",
        hint="check the owner and the free space, or choose another folder with --root",
    )


def make_folder(path: Path, *, exist_ok: bool = True, parents: bool = True) -> None:
    """Make a folder that only the owner can read, with missing parents, and make its directory entry durable.

    Raises:
        StorageError: the file system refused. NotFoundError: the parent is missing and ``parents`` is false.
        FileExistsError: it is there already and ``exist_ok`` is false.
    """
    try:
        if parents and not path.parent.is_dir():
            make_folder(path.parent)
        try:
            path.mkdir(mode=FOLDER_MODE)
        except FileExistsError:
            if not exist_ok:
                raise
            return
        sync_folder(path.parent)
    except FileExistsError:
        raise
    except OSError as error:
        raise storage_error("make the folder", path, error) from error


def private_folder(path: Path) -> None:
    """Have a folder that only the owner can read, made with its parents, or closed to others if it is there.

    Raises:
        StorageError: the file system refused.
    """
    try:
        make_folder(path)
        if not path.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if path.stat().st_mode & 0o077:
            path.chmod(FOLDER_MODE)
    except NotFoundError as error:  # a folder above it is none
        raise refused("make", path, NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))) from error
    except OSError as error:
        raise refused("make", path, error) from error


def is_private(folder: Path) -> bool:
    """Return whether a folder is this user's and closed to all others; a link to one is none (P14)."""
    try:
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077


def close_to_others(path: Path) -> None:
    """Take a file's rights from everybody else: restored from a backup, it may have them (P14).

    Raises:
        StorageError: the file system refused.
    """
    try:
        if path.stat().st_mode & 0o077:
            path.chmod(FILE_MODE)
    except OSError as error:
        raise refused("protect", path, error) from error


def own_folder(path: Path) -> None:
    """Have a folder of the session's own; a link, or anything else under its name, is refused (P14).

    Raises:
        StorageError, NotFoundError: there cannot be one.
    """
    make_folder(path, parents=False)
    if path.is_symlink() or not path.is_dir():
        raise StorageError(f"{path} is not a folder of the session's own", hint="move it away")


def sync_folder(path: Path) -> None:
    """Make renames and new files in a folder survive a power cut (P9)."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def replace_file(path: Path, data: bytes, *, mode: int = FILE_MODE) -> bool:
    """Replace a file's content atomically, durable before and after the rename; nothing happens if it is the same.

    The caller holds a lock: the temporary file has one fixed name, so that a killed run leaves nothing that the next
    one does not use up (P7).

    Returns:
        Whether anything was written.

    Raises:
        StorageError: the file system refused; the old content is still there.
    """
    try:
        if read_private(path, len(data) + 1) == data:
            return False
        with written_aside(path, mode=mode) as file:
            file.write(data)
        sync_folder(path.parent)
    except OSError as error:
        raise storage_error("write", path, error) from error
    return True


@contextlib.contextmanager
def written_aside(path: Path, *, mode: int = FILE_MODE) -> Iterator[BinaryIO]:
    """Write a file that appears whole, its content on the disk, when the block ends; when that fails, not at all.

    The caller holds a lock, as for ``replace_file``, and syncs the folder.

    Raises:
        OSError: the file system refused; what was under that name is still there.
    """
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        with open(fd, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def open_regular(path: Path) -> int | None:
    """Open a regular file for reading; None for anything else, which is neither followed nor waited for (P14).

    The caller closes the descriptor.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return fd
    os.close(fd)
    return None


def read_private(path: Path, limit: int) -> bytes | None:
    """Read at most ``limit`` bytes of a regular file, never through a link; None when there is no such file."""
    fd = open_regular(path)
    if fd is None:
        return None
    with open(fd, "rb") as file:
        try:
            return file.read(limit)
        except OSError:
            return None


def take_lock(fd: int, *, patience: float) -> bool:
    """Take the exclusive lock on an open file, trying for ``patience`` seconds; return whether it is ours.

    It ends with the process that holds it, however that ends.

    Raises:
        OSError: the file system has no locks.
    """
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(LOCK_AGAIN)
        else:
            return True


@contextlib.contextmanager
def exclusive(folder: Path, *, patience: float = 10.0) -> Iterator[None]:
    """Hold the file ``lock`` of ``folder`` against other processes and threads.

    Raises:
        BusyError: it was held by somebody else for ``patience`` seconds.
        StorageError: the lock file cannot be opened or locked.
    """
    path = folder / "lock"
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE)
    except OSError as error:
        raise refused("open", path, error) from error
    try:
        try:
            ours = take_lock(fd, patience=patience)
        except OSError as error:
            raise refused("lock", path, error) from error
        if not ours:
            raise BusyError(
                f"{path} is held by another process", hint="end the wiretape process that hangs, then try again"
            )
        yield
    finally:
        os.close(fd)


@contextlib.contextmanager
def derived_lock(folder: Path) -> Iterator[None]:
    """Hold the right to write the derived files of a session; writers of logs do not know this lock.

    The lock is on the folder itself, so that it leaves no file, and ends with the process that held it.

    Raises:
        StorageError, NotFoundError: the folder cannot be opened.
    """
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        raise storage_error("open", folder, error) from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
