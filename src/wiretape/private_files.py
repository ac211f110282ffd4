"""Derived files on disk: private folders, atomic replacement, and the lock between those who derive."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from wiretape.errors import NotFoundError, StorageError

FOLDER_MODE = 0o700
FILE_MODE = 0o600


def storage_error(doing: str, path: Path, error: OSError) -> StorageError | NotFoundError:
    """Turn an OSError into an error that names the path and the cause."""
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return NotFoundError(f"{path} does not exist any more", hint="`wiretape sessions` shows what there is")
    cause = error.strerror or type(error).__name__
    return StorageError(f"Cannot {doing} {path}: {cause}", hint="check the disk and the folder's permissions")


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


def own_folder(path: Path) -> None:
    """Have a folder of the session's own; a link, or anything else under its name, is refused (P14).

    Raises:
        StorageError, NotFoundError: there cannot be one.
    """
    make_folder(path, parents=False)
    if path.is_symlink() or not path.is_dir():
        raise StorageError(f"{path} is no folder of the session's own", hint="move it away")


def sync_folder(path: Path) -> None:
    """Make renames and new files in a folder survive a power cut (P9)."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def replace_file(path: Path, data: bytes) -> bool:
    """Replace a file's content atomically, durable before and after the rename; nothing happens if it is the same.

    The caller holds ``derived_lock``: the temporary file has one fixed name, so that a killed run leaves nothing that
    the next one does not use up (P7).

    Returns:
        Whether anything was written.

    Raises:
        StorageError: the file system refused; the old content is still there.
    """
    try:
        if read_private(path, len(data) + 1) == data:
            return False
        with written_aside(path) as file:
            file.write(data)
        sync_folder(path.parent)
    except OSError as error:
        raise storage_error("write", path, error) from error
    return True


@contextlib.contextmanager
def written_aside(path: Path) -> Iterator[BinaryIO]:
    """Write a file that appears whole, its content on the disk, when the block ends; when that fails, not at all.

    The caller holds a lock, as for ``replace_file``, and syncs the folder.

    Raises:
        OSError: the file system refused; what was under that name is still there.
    """
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE)
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
