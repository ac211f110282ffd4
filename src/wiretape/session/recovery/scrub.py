"""Reading again what was written long ago, segments that nobody writes any more: bit rot is found when it happens.

Every byte is read from the disk and compared with what the index knows of the segment. ``scrub.json`` remembers which
segment was read when; it is derived like everything else, and losing it costs no more than reading again.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Final

import msgspec

from wiretape.errors import BusyError, StorageError
from wiretape.log.items import Damage
from wiretape.log.locks import finished_segments, writer_alive
from wiretape.log.scan import scan_segment
from wiretape.log.store import SegmentRef, fingerprint, list_segments
from wiretape.model import Gap, Value
from wiretape.private_files import derived_lock, read_private, replace_file
from wiretape.session.index.database import Index
from wiretape.session.manifest import pretty, read_manifest, write_manifest
from wiretape.session.recovery.recover import recover_session

SCRUB: Final = "scrub.json"
_LISTED: Final = 1000
"""Damaged ranges of one segment that are looked at; a full recovery, which follows, lists more."""
_MAX_BYTES: Final = 16 * 1024 * 1024
_PAUSE_BYTES: Final = 2 * 1024 * 1024
_GENTLE_FRAMES: Final = 1024
_SAVE_BYTES: Final = 1 << 30


class Scrubbed(Value, frozen=True):
    """When a segment was read to its end, in ms, and how long it was."""

    at: int
    size: int


class ScrubLog(Value, frozen=True):
    """scrub.json."""

    session_id: str
    segments: dict[str, Scrubbed] = msgspec.field(default_factory=dict)
    version: int = 1


class Scrubber:
    """Reads the finished segments of one session."""

    def __init__(
        self, folder: Path, session_id: str, *, pause: Callable[..., None], now: Callable[[], float] = time.time
    ):
        """Prepare; nothing is read yet.

        Args:
            pause: called after every few milliseconds of work, to let others have their turn.
            now: the time in seconds since the epoch.
        """
        self._folder = folder
        self._session_id = session_id
        self._log_dir = folder / "log"
        self._pause = pause
        self._now = now

    def due(self, every: float) -> list[SegmentRef]:
        """List the finished segments that were not read in the last ``every`` seconds.

        Raises:
            NotFoundError, StorageError: the log cannot be read.
        """
        done, before = read_scrub(self._folder, self._session_id).segments, (self._now() - every) * 1000
        return [
            ref
            for ref in finished_segments(self._log_dir)
            if ref.name not in done or not _fresh(done[ref.name], ref, before)
        ]

    def run(self, every: float) -> list[Gap]:
        """Read what is due; return the damage that was not known. A session that nobody writes is then verified.

        Damage is in the index when this returns, so that every answer's coverage tells of it, and in the session's
        manifest and recovery report if nobody writes it.

        Raises:
            NotFoundError, StorageError, LogVersionError: the log cannot be read.
        """
        due = self.due(every)
        index = Index(self._folder, self._session_id)
        try:
            index.follow_gently(_GENTLE_FRAMES, _PAUSE_BYTES)
            index.follow(self._pause)
            found = self._read(due, index)
            if found:  # what is damaged now was whole when it was indexed
                index.restart()
                index.follow(self._pause)
        finally:
            index.close()
        if writer_alive(self._log_dir) is None:
            with contextlib.suppress(BusyError):  # somebody writes again
                self._conclude(found=bool(found))
        return found

    def _read(self, due: list[SegmentRef], index: Index) -> list[Gap]:
        found: list[Gap] = []
        log = index.report()
        known = {(gap.segment, gap.offset) for gap in (*log.gaps, *log.tails)}
        done, unsaved = dict(read_scrub(self._folder, self._session_id).segments), 0
        for ref in due:
            damage = list(islice(self._damage(ref), _LISTED))
            found += [gap for gap in damage if (gap.segment, gap.offset) not in known]
            done[ref.name] = Scrubbed(at=int(self._now() * 1000), size=ref.size)
            unsaved += ref.size
            if unsaved >= _SAVE_BYTES and not found:
                self._save(done)
                unsaved = 0
        if due:
            self._save(done)
        return found

    def _damage(self, ref: SegmentRef) -> Iterator[Gap]:
        """Read one segment from the disk, not from memory where the kernel allows."""
        with contextlib.suppress(OSError, AttributeError):
            fd = os.open(ref.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(fd)
        paused = 0
        scan = scan_segment(ref.path, end=ref.size)
        for item in scan:
            if scan.position - paused >= _PAUSE_BYTES:
                paused = scan.position
                self._pause()
            if isinstance(item, Damage):
                yield Gap(
                    segment=item.segment,
                    offset=item.offset,
                    length=item.length,
                    reason=item.reason,
                    exchanges=sorted(item.seqs_hint),
                )

    def _conclude(self, *, found: bool) -> None:
        """Say in the manifest that everything was read; where something new was found, draw up the whole account."""
        state = fingerprint(list_segments(self._log_dir))
        manifest = read_manifest(self._folder, self._session_id)
        if found or manifest is None or manifest.log != state:
            recover_session(self._folder, self._session_id, progress=self._pause, keep_index=True)
        elif not manifest.verified:
            with derived_lock(self._folder):
                write_manifest(self._folder, msgspec.structs.replace(manifest, verified=True))

    def _save(self, done: dict[str, Scrubbed]) -> None:
        names = {ref.name for ref in list_segments(self._log_dir)}
        kept = {name: one for name, one in sorted(done.items()) if name in names}
        with contextlib.suppress(StorageError), derived_lock(self._folder):
            replace_file(self._folder / SCRUB, pretty(ScrubLog(session_id=self._session_id, segments=kept)))


def read_scrub(folder: Path, session_id: str) -> ScrubLog:
    """Read what was scrubbed when; an empty log where nothing was, or where it cannot be read."""
    data = read_private(folder / SCRUB, _MAX_BYTES)
    if data is not None:
        with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            log = msgspec.json.decode(data, type=ScrubLog)
            if log.session_id == session_id:
                return log
    return ScrubLog(session_id=session_id)


def _fresh(done: Scrubbed, ref: SegmentRef, before: float) -> bool:
    return done.size == ref.size and done.at > before
