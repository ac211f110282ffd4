"""What is done before the first answer of a session that nobody writes any more (P13).

The index has checked what it has read, and keeps the log's audit; so only what it has not read yet (the segments that
were not finished when the recorder ended, as a rule) is read now, and the audit says what a check of the whole log
would say. Whether the disk has kept what was read long ago is for a full check to find: the daemon's, when it has
nothing else to do, or ``wiretape recover``.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

from wiretape.errors import BusyError, StorageError
from wiretape.log.locks import writer_alive
from wiretape.log.store import fingerprint, list_segments
from wiretape.log.verify import verify_log
from wiretape.model import RecoveredSession
from wiretape.session.index.database import Index, Progress
from wiretape.session.manifest import MANIFEST, Manifest, read_manifest
from wiretape.session.recovery.recover import adopt_audit, note_errors, recover_session

_AT_ONCE: Final = 1 << 30
"""Bytes of log that are read in full before an answer, where only that tells what was lost, even when in a hurry."""


class Settler:
    """Brings what is derived of one session up to date."""

    def __init__(self, folder: Path, session_id: str, index: Index) -> None:
        self._folder = folder
        self._session_id = session_id
        self._log_dir = folder / "log"
        self._index = index
        self._settled: str | None = None
        self._read_at = 0

    def settle(self, progress: Progress | None = None, until: float | None = None) -> RecoveredSession | None:
        """Recover the session if it was left unclean, and write down what a finished one holds.

        Args:
            progress: called with (bytes read, bytes to read).
            until: when to stop indexing, by ``time.monotonic``; the next call goes on.

        Returns:
            The report, if there was something to recover.

        Raises:
            NotFoundError: the session is gone. StorageError, LogVersionError: its log cannot be read.
        """
        state = fingerprint(list_segments(self._log_dir))
        if writer_alive(self._log_dir) is not None:
            self._settled = None
            return None
        if state == self._settled and self._stamp() == self._read_at:
            return None
        manifest = read_manifest(self._folder, self._session_id)
        report = None
        if manifest is None or manifest.log != state:
            if not self._index.follow(progress, until):
                return None
            # A writer that begins meanwhile, or a disk that takes no writes, is no reason not to answer.
            with contextlib.suppress(StorageError, BusyError):
                report = self._derive(state, progress, hurry=until is not None)
                note_errors(self._folder, self._session_id, state, self._index)
        elif manifest.errors is None and self._index.follow(progress, until):
            with contextlib.suppress(StorageError, BusyError):
                note_errors(self._folder, self._session_id, state, self._index)
        self._settled, self._read_at = state, self._stamp()
        return _news(report, manifest)

    def settle_without_index(self, progress: Progress | None = None) -> RecoveredSession | None:
        """Do the same for a session that has no index, and make none: the log is read and checked from end to end.

        Raises:
            NotFoundError: the session is gone. StorageError, LogVersionError: its log cannot be read.
        """
        state = fingerprint(list_segments(self._log_dir))
        manifest = read_manifest(self._folder, self._session_id)
        if writer_alive(self._log_dir) is not None or (manifest is not None and manifest.log == state):
            return None
        log = verify_log(self._log_dir, self._session_id, progress)
        if log.holder is not None or fingerprint(list_segments(self._log_dir)) != state:
            return None  # it goes on
        report = None
        with contextlib.suppress(StorageError, BusyError):
            report = adopt_audit(self._folder, self._session_id, log, verified=True)
        return _news(report, manifest)

    def _stamp(self) -> int:
        """Return what changes when somebody else, a background check for one, writes the manifest anew."""
        try:
            return os.stat(self._folder / MANIFEST, follow_symlinks=False).st_mtime_ns
        except OSError:
            return 0

    def _derive(self, state: str, progress: Progress | None, *, hurry: bool) -> RecoveredSession | None:
        log = self._index.report()
        segments = list_segments(self._log_dir)
        if writer_alive(self._log_dir) is not None or fingerprint(segments) != state:
            return None  # the audit is of a log that goes on
        if self._index.exact():
            return adopt_audit(self._folder, self._session_id, log, verified=False)
        if hurry and sum(ref.size for ref in segments) > _AT_ONCE:
            return None  # who has the time reads everything
        return recover_session(self._folder, self._session_id, progress=progress, keep_index=True)


def _news(report: RecoveredSession | None, manifest: Manifest | None) -> RecoveredSession | None:
    """Return the report if it is worth telling: a session that was closed in order is only written down."""
    return None if report is None or (manifest is not None and report.recovery_state == "clean") else report
