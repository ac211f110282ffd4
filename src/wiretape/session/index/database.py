"""The index of one session: an SQLite file that follows the log, shared by any number of processes, disposable."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, TypeVar

from wiretape.errors import BusyError, StorageError
from wiretape.log.report import LogReport
from wiretape.private_files import FILE_MODE, read_private, storage_error
from wiretape.session.index.audits import is_exact, read_report
from wiretape.session.index.follow import Follower
from wiretape.session.index.projections import PROJECTIONS
from wiretape.session.index.schema import is_current, is_outdated, make_tables

INDEX: Final = "index.sqlite"
_HEADER: Final = 100
_BUSY_MS: Final = 30_000
MADE_AGAIN: Final = 3
"""Times that one call makes a broken index again before it says so."""
T = TypeVar("T")
Progress = Callable[[int, int], None]


class Index:
    """Open handle on the index of one session; safe to use from several threads.

    Every process that has the file open holds a shared lock on the ``log`` folder; replacing the file takes it
    exclusively, because SQLite would otherwise apply the journal of the old file to the new one.
    """

    def __init__(self, folder: Path, session_id: str) -> None:
        self.folder = folder
        self.session_id = session_id
        self.log_dir = folder / "log"
        self._follower = Follower(self.log_dir, session_id, PROJECTIONS)
        self._lock = threading.RLock()
        self._db: sqlite3.Connection | None = None
        self._folder_fd = -1
        self._made_again = 0
        """How often it was found broken, and emptied to be made again."""
        self.private = False
        """The file could not be written, so the index is this process's own, in a temporary place."""

    def exists(self) -> bool:
        """Return whether there is an index of the session already."""
        return self._db is not None or (self.folder / INDEX).is_file()

    def outdated(self) -> bool:
        """Return whether the index was made by another version of the program, and would be made again when opened."""
        header = read_private(self.folder / INDEX, _HEADER)
        return self._db is None and bool(header) and is_outdated(header or b"", PROJECTIONS)

    # -- opening ------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Let go of the file. Closing twice is fine."""
        with self._lock:
            if self._db is not None:
                with contextlib.suppress(sqlite3.Error):
                    self._db.close()
                self._db = None
            if self._folder_fd >= 0:
                os.close(self._folder_fd)
                self._folder_fd = -1

    def __del__(self) -> None:
        # Who drops the last reference need not know whether another thread still reads.
        if getattr(self, "_folder_fd", -1) >= 0 or getattr(self, "_db", None) is not None:
            self.close()

    def _open(self) -> sqlite3.Connection:
        if self._db is None:
            self._db = self._prepare(connect(None)) if self.private else self.open_shared()
        return self._db

    def open_shared(self) -> sqlite3.Connection:
        """Open the file that all processes share; the caller closes this handle.

        Raises:
            sqlite3.Error: it is no sound index, or cannot be written. NotFoundError, StorageError: the log is gone.
        """
        try:
            self._folder_fd = os.open(self.log_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            raise storage_error("open", self.log_dir, error) from error
        fcntl.flock(self._folder_fd, fcntl.LOCK_SH)
        path = self.folder / INDEX
        check_ours(path)
        with contextlib.suppress(OSError):  # what cannot be made here, SQLite will report
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE))
        self._db = self._prepare(connect(path))
        return self._db

    def _prepare(self, db: sqlite3.Connection) -> sqlite3.Connection:
        try:
            if not is_current(db, self.session_id, PROJECTIONS):
                db.execute("BEGIN IMMEDIATE")
                make_tables(db, self.session_id, PROJECTIONS)
                db.execute("COMMIT")
        except BaseException:
            db.close()
            raise
        return db

    def run(self, use: Callable[[sqlite3.Connection], T], *, refill: bool = True) -> T:
        """Run ``use`` with the database; make the index again if it is broken, elsewhere if it cannot be written.

        ``use`` may be called up to three times; it must not keep anything from a call that failed.

        Args:
            refill: read the log into an index that had to be made again before ``use`` is called with it: an answer
                from an empty one would be false. Only who follows the log anyway needs none.

        Raises:
            StorageError: it cannot be made anywhere. BusyError: another process has held it for half a minute.
        """
        with self._lock:
            for attempt in range(3):
                try:
                    db = self._open()
                    while refill and attempt and not self._follower.step(db):
                        pass
                    return use(db)
                except sqlite3.OperationalError as error:
                    self._after_operational(error)
                except sqlite3.DatabaseError as error:
                    if attempt == 2:
                        raise StorageError(
                            f"The index {self.folder / INDEX} cannot be made again: {error}",
                            hint="delete the file; it is derived from the log",
                        ) from error
                    self._discard()
            raise StorageError(f"No index can be made for session {self.session_id}", hint="free some disk space")

    def _after_operational(self, error: sqlite3.OperationalError) -> None:
        """Decide what to do about what SQLite could not do; raise what the caller cannot get around."""
        text = str(error)
        if "locked" in text or "busy" in text:
            raise BusyError(
                f"Another process has kept the index of {self.session_id} busy for {_BUSY_MS // 1000} s",
                hint="try again",
            ) from error
        self.close()
        if "no such" in text:  # tables of another making
            self._discard()
        elif self.private:
            raise StorageError(f"No index can be made for session {self.session_id}: {text}") from error
        elif not self.folder.is_dir():
            raise storage_error("open", self.folder, FileNotFoundError())
        else:
            self.private = True

    def _discard(self) -> None:
        """Remove a broken index, unless another process is using it; then go on with a private one."""
        self._made_again += 1
        self.close()
        if self.private:
            return
        if not remove_index(self.folder):
            self.private = True

    # -- following ----------------------------------------------------------------------------------------------

    def follow(self, progress: Progress | None = None, until: float | None = None) -> bool:
        """Bring the index to the end of the log, in transactions of bounded size; other processes may do the same.

        Args:
            progress: called with (bytes read, bytes of the log).
            until: when to stop, by ``time.monotonic``, at the end or not.

        Returns:
            Whether the end was reached.

        Raises:
            NotFoundError: the session is gone. StorageError, LogVersionError: its log cannot be read.
        """
        before = self._made_again
        while not self.run(self._follower.step, refill=False):
            # ``run`` makes it again for one step. What breaks it at the same place each time would never end.
            if self._made_again - before > MADE_AGAIN:
                raise StorageError(
                    f"The index of session {self.session_id} was made again {MADE_AGAIN} times, and broke each time",
                    hint="its log is not touched: `wiretape verify` reads it without an index; please report this",
                )
            if progress is not None:
                progress(*self.progress())
            if until is not None and time.monotonic() >= until:
                return False
        return True

    def follow_gently(self, frames: int, size: int) -> None:
        """Make the transactions that ``follow`` uses smaller: others wait less long for their turn."""
        self._follower.batch_frames, self._follower.batch_bytes = frames, size

    def progress(self) -> tuple[int, int]:
        """Return (bytes of the log that are in the index, bytes of the log).

        Raises:
            NotFoundError, StorageError: the log cannot be read.
        """
        return self.run(self._follower.progress, refill=False)

    def at_end(self) -> bool:
        """Return whether there is nothing in the log that the index has not read.

        Raises:
            NotFoundError, StorageError: the log cannot be read.
        """
        return self.run(self._follower.nothing_new, refill=False)

    def report(self) -> LogReport:
        """Return what the log holds and lacks, as far as the index has come.

        Raises:
            StorageError, BusyError: as ``run``.
        """
        return self.run(lambda db: read_report(db, self.session_id))

    def exact(self) -> bool:
        """Return whether a check of the whole log would list the same; it counts the same in any case.

        Raises:
            StorageError, BusyError: as ``run``.
        """
        return self.run(is_exact)

    def restart(self) -> None:
        """Forget everything that was made of the log, to read it again from its beginning.

        Raises:
            StorageError, BusyError: as ``run``.
        """
        self.run(self._follower.restart, refill=False)

    # -- reading ------------------------------------------------------------------------------------------------

    def rows(self, sql: str, params: tuple[Any, ...] | list[Any] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a SELECT (the caller bounds them).

        Raises:
            StorageError, BusyError: as ``run``.
        """
        return self.run(lambda db: db.execute(sql, params).fetchall())

    def one(self, sql: str, params: tuple[Any, ...] | list[Any] = ()) -> tuple[Any, ...] | None:
        """Return the first row of a SELECT, or None."""
        rows = self.rows(sql, params)
        return rows[0] if rows else None


def beside(path: Path) -> list[Path]:
    """Name the files that SQLite keeps beside a database."""
    return [path.with_name(path.name + end) for end in ("-wal", "-shm", "-journal")]


def check_ours(path: Path) -> None:
    """Refuse a database that SQLite would follow elsewhere, wait for, or share with a name elsewhere (P14).

    Raises:
        sqlite3.DatabaseError: one of its files is no file of this folder's own.
    """
    for one in (path, *beside(path)):
        with contextlib.suppress(FileNotFoundError):
            found = one.lstat()
            if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
                raise sqlite3.DatabaseError(f"{one.name} is a link or no file")


def connect(path: Path | None) -> sqlite3.Connection:
    """Open a database, in autocommit; None is a temporary one of this process's own, which spills to disk by itself."""
    db = sqlite3.connect(path or "", timeout=_BUSY_MS / 1000, isolation_level=None, check_same_thread=False)
    try:
        if path is not None:
            db.execute("PRAGMA journal_mode = WAL")
            # WAL with NORMAL cannot be corrupted by a power cut; the last transactions may be gone and are read again.
            db.execute("PRAGMA synchronous = NORMAL")
        else:
            # The disk is full or cannot be written: what a transaction would roll back to is kept in memory instead.
            db.execute("PRAGMA journal_mode = MEMORY")
        db.execute("PRAGMA trusted_schema = OFF")
    except BaseException:
        db.close()
        raise
    return db


@contextlib.contextmanager
def sole_user(folder: Path) -> Iterator[bool]:
    """Yield whether no process has the index open; while the block runs, none can open it."""
    fd = os.open(folder / "log", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(fd)


def remove_index(folder: Path) -> bool:
    """Remove the index, if no process has it open and none of its files is a folder; return whether it is gone.

    Raises:
        StorageError, NotFoundError: the file system refused.
    """
    path = folder / INDEX
    try:
        with sole_user(folder) as alone:
            # The journals first: without their database they mean nothing, beside a new one they would damage that.
            names = (*beside(path), path)
            if not alone or any(name.is_dir() and not name.is_symlink() for name in names):
                return False  # in use, or not ours
            for old in names:
                old.unlink(missing_ok=True)
    except OSError as error:
        raise storage_error("remove", path, error) from error
    return True
