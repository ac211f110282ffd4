"""The index made anew, aside, and put in place: the same log always gives the same bytes (P7)."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path

from wiretape.errors import StorageError
from wiretape.private_files import FILE_MODE, storage_error, sync_folder
from wiretape.session.index.database import INDEX, Index, Progress, beside, connect, replace_index, sole_user
from wiretape.session.index.follow import Follower
from wiretape.session.index.schema import create_tables


def is_built(folder: Path, session_id: str, state: str) -> bool:
    """Tell whether the index is one that ``build_index`` made for this state of the log."""
    path = folder / INDEX
    if path.is_symlink() or not path.is_file():
        return False
    index = Index(folder, session_id)
    try:
        db = index.open_shared()
        found = db.execute("SELECT value FROM meta WHERE key = 'built'").fetchone()
        return found is not None and found[0] == state and db.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok"
    except sqlite3.Error:
        return False
    finally:
        index.close()


def build_index(folder: Path, session_id: str, state: str, progress: Progress | None) -> bool:
    """Make the index anew, aside, and put it in place; the same log always gives the same bytes.

    The caller holds ``derived_lock``. Nothing is replaced while another process has the index open: that one follows
    the log itself and makes its index again if it is broken.

    Returns:
        Whether it was put in place.

    Raises:
        StorageError, NotFoundError: the file system refused.
    """
    path = folder / f".{INDEX}.new"
    with sole_user(folder) as alone:
        if not alone:
            return False
    try:
        _clear(path)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE))
        _fill(path, Follower(folder / "log", session_id), state, progress)
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
        placed = replace_index(folder, path)
        sync_folder(folder)
    except OSError as error:
        raise storage_error("make", path, error) from error
    except sqlite3.Error as error:
        raise StorageError(
            f"Cannot make {path}: {error}", hint="check the disk and the folder's permissions"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            _clear(path)
    return placed


def _clear(path: Path) -> None:
    for left in (path, *beside(path)):
        left.unlink(missing_ok=True)


def _fill(path: Path, follower: Follower, state: str, progress: Progress | None) -> None:
    """Fill an empty file with the whole log and mark it as made for ``state``; closed when this returns."""
    db = connect(path)
    try:
        db.execute("PRAGMA synchronous = OFF")  # the caller syncs the finished file once
        db.execute("BEGIN IMMEDIATE")
        create_tables(db, follower.session_id)
        db.execute("COMMIT")
        while not follower.step(db):
            if progress is not None:
                progress(*follower.progress(db))
        db.execute("INSERT OR REPLACE INTO meta VALUES ('built', ?)", (state,))
    finally:
        db.close()
