"""What a writer has written and does not know to be on the disk: its sync, and what is done when that fails (P9).

A failed fsync is never tried again on the same file: the kernel may have dropped the pages and report success. What it
should have saved is read back, and its copies are written to the next segment.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from wiretape.errors import WiretapeError
from wiretape.log.files import Files
from wiretape.log.format import FrameType
from wiretape.log.items import Frame
from wiretape.log.scan import scan_segment
from wiretape.log.segment_writer import SegmentWriter
from wiretape.log.seqs import Seqs

Place = tuple[int, int]
"""A segment's number and an offset in it."""


class Span(NamedTuple):
    """Frames from offset ``start`` to ``end`` of a segment with this salt; None where only the file itself knows."""

    path: Path
    start: int
    end: int | None
    salt: int | None


class Unsynced:
    """The part of one stream that a loss of power may take.

    Attributes:
        ends: the exchanges that ended in it, without those whose sync runs.
    """

    def __init__(self, begin: Place, step: int = 1) -> None:
        self.ends = Seqs(step)
        self._syncing = Seqs(step)
        self._from = begin
        self._left: dict[int, tuple[int, int]] = {}

    def leave(self, number: int, end: int, salt: int) -> None:
        """Note where a segment's frames end that is not written any more."""
        self._left[number] = (end, salt)
        self.ends.fold()  # where nobody syncs, nobody else does

    def lose(self, seq: int) -> None:
        """Take back an end that could not be written."""
        self.ends.discard(seq)
        self._syncing.discard(seq)

    def begin_sync(self, gathered: int) -> None:
        """Note that a sync begins; the last ``gathered`` ends are not written yet and no part of it."""
        self._syncing.add(self.ends.take(keep_noted=gathered))

    def end_sync(self, until: Place) -> None:
        """Note that everything before ``until`` is on the disk."""
        self._from = max(self._from, until)
        self._left = {number: left for number, left in self._left.items() if number >= until[0]}
        self._syncing.clear()

    def take_ends(self) -> Seqs:
        """Return all ends, and forget them."""
        taken = self.ends.take()
        taken.add(self._syncing.take())
        return taken

    def spans(self, before: int, path: Callable[[int], Path]) -> list[Span]:
        """Return where it lies in the segments with a lower number than ``before``."""
        number, offset = self._from
        return [
            Span(path(left), offset if left == number else 0, *self._left[left])
            for left in sorted(self._left)
            if number <= left < before
        ]

    def restart(self, number: int) -> None:
        """Forget what lies in the segments before ``number``; the caller sees to the ends."""
        self._left = {left: end for left, end in self._left.items() if left >= number}
        self._from = (number, 0)


class _Inherited:
    """The newest segments of the writer before this one, which was perhaps killed too early to sync them.

    Attributes:
        suspects: those whose sync failed; their frames have to be written again.
    """

    def __init__(self, paths: Iterable[Path], files: Files) -> None:
        self.suspects: list[Path] = []
        self._files = files
        self._open: list[tuple[Path, int]] = []
        for path in paths:
            with contextlib.suppress(OSError):
                self._open.append((path, files.reopen(path)))

    def sync(self) -> None:
        """Sync each, the first time; safe in another thread.

        Raises:
            OSError: the disk refuses one of them; the others were synced all the same.
        """
        opened, self._open = self._open, []
        refused = None
        for path, fd in opened:
            try:
                self._files.fdatasync(fd)
            except OSError as error:
                self.suspects.append(path)
                refused = error
            finally:
                self._files.close(fd)
        if refused is not None:
            raise refused

    def spans(self) -> list[Span]:
        """Return the suspects from end to end: how far its writer had synced them nobody knows any more."""
        return [Span(path, 0, None, None) for path in self.suspects]


class ReadBack:
    """The frames of some spans, in order, without heads and seals; only what checks is given.

    Attributes:
        whole: after the iteration: every byte of the spans whose end is known was there. Some file systems read a page
            whose fsync has failed from the disk again, where it never came.
    """

    def __init__(self, spans: list[Span], files: Files) -> None:
        self.whole = True
        self._spans = spans
        self._files = files

    def __iter__(self) -> Iterator[Frame]:
        for path, start, end, salt in self._spans:
            scan = scan_segment(path, start=start, end=end, live=True, salt=salt, files=self._files)
            sound = True
            try:
                for item in scan:
                    if not isinstance(item, Frame):
                        sound = False
                    elif item.kind not in (FrameType.SEGMENT, FrameType.SEAL):
                        yield item
            except WiretapeError:
                sound = False
            if end is not None and not (sound and scan.position >= end):
                self.whole = False


class SyncState:
    """What of one stream is not known to be on the disk.

    Attributes:
        note_end: notes the end of an exchange whose frame is gathered.
        gone: exchanges whose end was written and that a failed sync took; the caller empties it.
        folder_dirty: the folder has entries that no sync has saved.
    """

    def __init__(self, log_dir: Path, files: Files, begin: int, step: int, inherited: Iterable[Path]) -> None:
        """Begin.

        Args:
            log_dir: the log's folder.
            files: the file system.
            begin: number of the first segment.
            step: the difference between two seqs of the stream.
            inherited: the newest segments of the writer before this one.
        """
        self._dir = log_dir
        self._files = files
        self._unsynced = Unsynced((begin, 0), step)
        self._inherited = _Inherited(inherited, files)
        self._finished: list[int] = []
        self.note_end = self._unsynced.ends.note
        self.lose_end = self._unsynced.lose
        self.gone = Seqs(step)
        self.folder_dirty = False

    def leave(self, segment: SegmentWriter) -> None:
        """Take over a segment that nothing is appended to any more; the next sync saves it."""
        self._unsynced.leave(segment.number, segment.position, segment.salt)
        self._finished.append(segment.fd)

    def sync_job(self, segment: SegmentWriter) -> Callable[[], None]:
        """Return a callable, safe in another thread, that makes all that was written until now survive power loss.

        Args:
            segment: the one that is written at the moment.

        Raises:
            OSError: there is no descriptor left; nothing has changed.
        """
        duplicate = self._files.duplicate(segment.fd) if segment.fd >= 0 else -1
        self._unsynced.begin_sync(segment.gathered_ends())
        finished, self._finished = self._finished, []
        folder, self.folder_dirty = self.folder_dirty, False

        def job() -> None:
            try:
                self._inherited.sync()
                for fd in finished:
                    self._files.fdatasync(fd)
                if duplicate >= 0:
                    self._files.fdatasync(duplicate)
                if folder:
                    self._files.fsync_folder(self._dir)
            except OSError:
                self.folder_dirty = True
                raise
            finally:
                for fd in (*finished, *([duplicate] if duplicate >= 0 else [])):
                    self._files.close(fd)

        return job

    def synced(self, until: Place) -> None:
        """Take note that everything before ``until`` is on the disk."""
        self._unsynced.end_sync(until)

    def rewrite(self, begun: int, path: Callable[[int], Path], copy: Callable[[Iterable[Frame]], bool]) -> bool | None:
        """Have what a failed sync should have saved written again.

        Args:
            begun: number of the segment that the copies go to.
            path: returns the path of a segment.
            copy: writes frames; False when it could not.

        Returns:
            False when the copies could not be written; None when they are, and ``gone`` has the ends of which there was
            nothing left to copy.
        """
        suspects, self._finished = self._finished, []
        unsynced = self._unsynced
        ends = unsynced.take_ends()
        back = ReadBack(self._inherited.spans() + unsynced.spans(begun, path), self._files)
        if not copy(back):
            unsynced.ends.clear()  # those of copies
            unsynced.ends.add(ends)
            self._finished = suspects + self._finished
            return False
        self._drop(suspects)
        self._inherited.suspects.clear()
        unsynced.restart(begun)
        if back.whole:
            return True
        self.gone.add(ends.without(unsynced.ends))
        return None

    def forget(self, number: int) -> None:
        """Give up what lies in the segments before ``number``."""
        self._drop(self._finished)
        self._finished = []
        self._unsynced.take_ends()
        self._unsynced.restart(number)

    def _drop(self, descriptors: list[int]) -> None:
        for fd in descriptors:
            with contextlib.suppress(OSError):
                self._files.close(fd)
