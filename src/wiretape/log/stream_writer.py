"""The log's writer: one stream of one session, append-only.

Frames are gathered with ``append`` and go out with one ``write`` in ``flush``; the caller releases what depended on
them only after ``flush`` returned. A write that fails leaves the segment as it is (P3: no byte is ever taken back),
drops the gathered frames, and the next flush goes to a new segment. The writer knows no loop, thread or clock.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Final

from wiretape.log.format import FrameType
from wiretape.log.identity import StreamIdentity
from wiretape.log.segment_writer import KIND_AT, Appender
from wiretape.log.unsynced import ReadBack

__all__ = ["LogWriter", "StreamIdentity"]

_COPY_FRAMES: Final = 64  # at most 256 KiB each


class LogWriter(Appender):
    """Appends frames to the segments of one stream, and has them on the disk (P9); see ``Appender``."""

    # -- durability and end -------------------------------------------------------------------------------------

    def sync_job(self) -> Callable[[], None]:
        """Give a callable, safe in another thread, that makes all that was flushed until now survive power loss.

        It raises OSError when the disk refuses; that fsync must not be tried again on the same file (P9). The caller
        reports back with ``synced`` or ``rewrite_unsynced``.
        """
        # First: when it fails, nothing has changed.
        duplicate = self._files.duplicate(self._fd) if self._fd >= 0 else -1
        self._unsynced.begin_sync(sum(1 for frame in self._pending if frame[KIND_AT] == FrameType.DONE))
        finished, self.unsynced = self.unsynced, []
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

    @property
    def here(self) -> tuple[int, int]:
        """The segment and offset up to which everything has been handed to the kernel."""
        if self._fd < 0:  # the number may be the next segment's already, the position is the last one's still
            return (self._number, 0)
        return (self._number, self.position - sum(map(len, self._pending)))

    def synced(self, until: tuple[int, int]) -> None:
        """Take note that everything before ``until`` (``here`` when the job was made) is on the disk."""
        self._unsynced.end_sync(until)

    def rewrite_unsynced(self) -> bool:
        """After a failed fsync: leave the suspect segment and write its unsynced frames again to a new one (P9).

        The frames are read back and only taken when their checksums agree; their copies carry the same seq, so readers
        see each once. Where the kernel no longer has all of them, ``gone`` names the ends that it lost and ``epoch``
        grows. False when the copies cannot be written: to be tried again, or given up with ``leave_unsynced``.
        """
        if not self.begin_new_segment():
            return False
        suspects, self.unsynced = self.unsynced, []
        unsynced, begun = self._unsynced, self._number
        epoch, lost, ends = self.epoch, list(self.lost), unsynced.take_ends()
        back = ReadBack(self._inherited.spans() + unsynced.spans(begun, self._path), self._files)
        if not self._copy(back):
            self.epoch, self.lost = epoch, lost
            unsynced.ends.clear()  # those of copies
            unsynced.ends.add(ends)
            self.unsynced = suspects + self.unsynced
            return False
        self._drop(suspects)
        self._inherited.suspects.clear()
        if not back.whole:
            self.gone.add(ends.without(unsynced.ends))
            self.epoch += 1
        unsynced.restart(begun)
        return True

    def _copy(self, frames: ReadBack) -> bool:
        for frame in frames:
            self.append(frame.kind, frame.seq, bytes(frame.head), bytes(frame.data), frame.flags)
            if len(self._pending) > _COPY_FRAMES and not self.flush():
                return False
        return not self._pending or self.flush()

    def leave_unsynced(self) -> None:
        """Go on in a new segment without what a failed fsync should have saved; nobody tries that file again (P9)."""
        self.begin_new_segment()
        self._drop(self.unsynced)
        self.unsynced = []
        self._unsynced.take_ends()
        self._unsynced.restart(self._number)

    def _drop(self, descriptors: list[int]) -> None:
        for fd in descriptors:
            with contextlib.suppress(OSError):
                self._files.close(fd)

    def seal(self, *, final: bool) -> bool:
        """Write what is gathered and end the segment; False where the disk refuses, which leaves it unsealed."""
        begun = self._fd >= 0
        try:
            while self._fd >= 0:  # a second time where a full disk made it go on in the reserve
                if self._pending:
                    self._write_pending()
                self._seal(final)
        except OSError:
            self._abandon()
            return False
        return begun

    def close(self, *, final: bool = True) -> None:
        """Seal, sync once and let go of the stream; what the disk refuses stays as it is."""
        self.seal(final=final)
        with contextlib.suppress(OSError):
            self.sync_job()()  # also without a seal: what was written is to survive
        self.release()
