"""The log's writer: one stream of one session, append-only.

Frames are gathered with ``append`` and go out with one ``write`` in ``flush``; the caller releases what depended on
them only after ``flush`` returned. A write that fails leaves the segment as it is (P3: no byte is ever taken back),
drops the gathered frames, and the next flush goes to a new segment. The writer knows no loop, thread or clock.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import msgspec
from google_crc32c import extend as crc32c_extend

from wiretape.errors import StorageError
from wiretape.log.files import REAL, Files
from wiretape.log.format import (
    HEADER,
    SEGMENT_BYTES,
    Flag,
    FrameType,
    Record,
    Seal,
    segment_name,
)
from wiretape.log.frame import encode_frame
from wiretape.log.identity import StreamIdentity
from wiretape.log.locks import take_lock
from wiretape.log.unsynced import Inherited, ReadBack, Unsynced

__all__ = ["LogWriter", "StreamIdentity"]

_encode = msgspec.msgpack.Encoder().encode
_ADOPTED = 4  # a killed writer left no more than its last segments unsynced
_KIND_AT = 4  # the byte of a frame that says its kind
# Plain numbers on the hot path: members of an IntEnum are slow to look up and to encode.
_OPENED = int(FrameType.OPENED)
_DONE = int(FrameType.DONE)
_COPY_FRAMES = 64  # at most 256 KiB each


class LogWriter:
    """Appends frames to the segments of one stream.

    Attributes:
        epoch: grows with every failed write; frames of an exchange begun in an earlier epoch may be missing.
        lost: (type, seq) of each frame that a failed write dropped; the caller empties it.
        position: offset in the current segment at which the next frame will stand.
        unsynced: descriptors of finished segments that the next ``sync_job`` saves.
    """

    def __init__(
        self,
        log_dir: Path,
        identity: StreamIdentity,
        *,
        clock_ns: Callable[[], int],
        next_number: int,
        next_seq: int,
        files: Files = REAL,
        segment_bytes: int = SEGMENT_BYTES,
    ) -> None:
        """Lock the stream and begin its next segment.

        Args:
            next_number: number of the segment to create (one more than the highest there).
            next_seq: first seq this writer gives.

        Raises:
            BusyError: another process writes this stream; carries its pid.
            StorageError: the folder cannot be written.
        """
        self._dir = log_dir
        self._identity = identity
        self._clock = clock_ns
        self._files = files
        self._segment_bytes = segment_bytes
        self._number = next_number
        self._seq = next_seq
        self._step = identity.streams
        self._pending: list[bytes] = []
        self._fd = -1
        self.salt = 0
        self._earlier = 0
        self.position = 0
        self.epoch = 0
        self.unsynced: list[int] = []
        self._unsynced = Unsynced((next_number, 0))
        self._note_end = self._unsynced.ends.append
        self.folder_dirty = False
        self._digest = 0
        self.lost: list[tuple[int, int]] = []
        self._reset_counts()
        self._lock_fd = take_lock(log_dir, identity.stream, identity.note(), files)
        adopted = range(max(1, next_number - _ADOPTED), next_number)
        self._inherited = Inherited(map(self._path, adopted), files)
        try:
            self._begin_segment()
            self._write_pending()
        except OSError as error:
            self._files.close(self._lock_fd)
            raise StorageError(
                f"cannot write the log in {log_dir}: {error.strerror}", hint="free space, or choose another --root"
            ) from error

    def _path(self, number: int) -> Path:
        return self._dir / segment_name(self._identity.stream, number)

    # -- identity -----------------------------------------------------------------------------------------------

    def take_seq(self) -> int:
        """Give the next seq of this stream."""
        seq = self._seq
        self._seq = seq + self._step
        return seq

    @property
    def next_seq(self) -> int:
        """The seq that ``take_seq`` will give next."""
        return self._seq

    @property
    def size(self) -> int:
        """Bytes of all this writer's segments, gathered frames included."""
        return self._earlier + self.position

    @property
    def number(self) -> int:
        """Number of the current segment."""
        return self._number

    @property
    def fd(self) -> int:
        """Descriptor of the current segment, -1 when none could be opened."""
        return self._fd

    # -- frames -------------------------------------------------------------------------------------------------

    def append(self, kind: int, seq: int, record: Record | bytes, data: bytes = b"", flags: int = 0) -> None:
        """Gather one frame; it is in the log when ``flush`` has returned True."""
        head = record if type(record) is bytes else _encode(record)
        frame = encode_frame(kind, flags, self.position, seq, self.salt, head, data)
        self.position += len(frame)
        self._pending.append(frame)
        self._frames += 1
        if kind == _OPENED:
            self._opened += 1
        elif kind == _DONE:
            self._done += 1
            self._note_end(seq)

    @property
    def pending(self) -> bool:
        """Whether frames are gathered that no flush has written."""
        return bool(self._pending)

    def flush(self) -> bool:
        """Write all gathered frames; False when some could not be written: ``lost`` then names them, ``epoch`` grew."""
        if self._fd < 0:
            self._lose(0)
            self.begin_new_segment()
            return False
        try:
            self._write_pending()
        except OSError:
            return False
        if self.position >= self._segment_bytes:
            self._rotate()
        return True

    def _write_pending(self) -> None:
        pending = self._pending
        batch = pending[0] if len(pending) == 1 else b"".join(pending)
        size = len(batch)
        taken = 0
        try:
            taken = self._files.write(self._fd, batch)
            while taken < size:
                taken += self._files.write(self._fd, memoryview(batch)[taken:])
        except OSError:
            self._lose(taken)
            self._abandon()
            raise
        self._pending = []
        self._digest = crc32c_extend(self._digest, batch)

    def _lose(self, taken: int) -> None:
        """Note which gathered frames are not in the log: those that end after the first ``taken`` bytes."""
        end = 0
        for frame in self._pending:
            end += len(frame)
            if end > taken:
                header = HEADER.unpack_from(frame)
                self.lost.append((header[1], header[6]))
                self.position -= len(frame)
                if header[1] == _DONE:
                    self._unsynced.lose(header[6])
        self._pending = []
        self.epoch += 1

    def _abandon(self) -> None:
        """Leave the segment as it is: what follows a failed write goes to a new one (P3, P10)."""
        if self._fd >= 0:
            self._unsynced.leave(self._number, self.position, self.salt)
            self.unsynced.append(self._fd)
            self._fd = -1

    # -- segments -----------------------------------------------------------------------------------------------

    def _reset_counts(self) -> None:
        self._digest = 0
        self._frames = self._opened = self._done = 0
        self._first_seq = self._seq

    def _begin_segment(self) -> None:
        self._fd = self._create_next()
        self.folder_dirty = True
        self._reset_counts()
        self.salt = int.from_bytes(os.urandom(8), "little")
        self._earlier += self.position
        self.position = 0
        head = self._identity.head(self._number, self._seq, self._clock())
        self.append(FrameType.SEGMENT, 0, head)

    def _create_next(self) -> int:
        while True:
            try:
                return self._files.create(self._path(self._number))
            except FileExistsError:
                # The segment before, or what a failed attempt left: never written over (P3). No other number is passed
                # over: one left out would look like a segment that somebody lost.
                self._number += 1

    def _seal(self, final: bool) -> None:
        seal = Seal(
            wall_ns=self._clock(),
            frames=self._frames,
            opened=self._opened,
            done=self._done,
            first_seq=self._first_seq,
            next_seq=self._seq,
            digest=self._digest,
        )
        self.append(FrameType.SEAL, 0, seal, flags=Flag.FINAL if final else 0)
        self._write_pending()
        self._abandon()

    def _rotate(self) -> None:
        try:
            self._seal(final=False)
            self._begin_segment()
            self._write_pending()
        except OSError:
            self._drop_segment()

    def begin_new_segment(self) -> bool:
        """Leave the current segment unsealed (its disk is suspect) and go on in a new one; False when that fails.

        Frames that are gathered belong to the segment they were made for: they go there, or are lost.
        """
        if self._pending and self._fd < 0:
            self._lose(0)
        elif self._pending:
            with contextlib.suppress(OSError):  # ``lost`` names them
                self._write_pending()
        self._abandon()
        try:
            self._begin_segment()
            self._write_pending()
        except OSError:
            self._drop_segment()
            return False
        return True

    def _drop_segment(self) -> None:
        """Give up a segment that could not be begun; its file goes when not one byte was written to it."""
        self._abandon()
        self._files.remove_empty(self._path(self._number))

    # -- durability and end -------------------------------------------------------------------------------------

    def sync_job(self) -> Callable[[], None]:
        """Give a callable, safe in another thread, that makes all that was flushed until now survive power loss.

        It raises OSError when the disk refuses; that fsync must not be tried again on the same file (P9). The caller
        reports back with ``synced`` or ``rewrite_unsynced``.
        """
        # First: when it fails, nothing has changed.
        duplicate = self._files.duplicate(self._fd) if self._fd >= 0 else -1
        self._unsynced.begin_sync(sum(1 for frame in self._pending if frame[_KIND_AT] == _DONE))
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
        see each once. Where the kernel no longer has all of them, ``lost`` names the ends that are gone and ``epoch``
        grows. False when the copies cannot be written: to be tried again, or given up with ``leave_unsynced``.
        """
        if not self.begin_new_segment():
            return False
        suspects, self.unsynced = self.unsynced, []
        unsynced, begun = self._unsynced, self._number
        epoch, lost, ends = self.epoch, list(self.lost), list(unsynced.ends)
        back = ReadBack(self._inherited.spans() + unsynced.spans(begun, self._path), self._files)
        unsynced.ends.clear()  # the copies are noted instead
        if not self._copy(back):
            self.epoch, self.lost = epoch, lost
            unsynced.ends.clear()
            unsynced.ends.extend(ends)
            self.unsynced = suspects + self.unsynced
            return False
        self._drop(suspects)
        self._inherited.suspects.clear()
        if not back.whole:
            self.lost.extend((_DONE, seq) for seq in set(ends).difference(unsynced.ends))
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
        self._unsynced.ends.clear()
        self._unsynced.restart(self._number)

    def _drop(self, descriptors: list[int]) -> None:
        for fd in descriptors:
            with contextlib.suppress(OSError):
                self._files.close(fd)

    def seal(self, *, final: bool) -> None:
        """Write what is gathered and end the segment; a disk that refuses leaves it unsealed."""
        try:
            if self._fd >= 0:
                if self._pending:
                    self._write_pending()
                self._seal(final)
        except OSError:
            self._abandon()

    def release(self) -> None:
        """Let go of the stream; nothing may be written after this."""
        self._files.close(self._lock_fd)
        self._lock_fd = -1

    def close(self, *, final: bool = True) -> None:
        """Seal, sync once and let go of the stream; what the disk refuses stays as it is."""
        self.seal(final=final)
        with contextlib.suppress(OSError):
            self.sync_job()()  # also without a seal: what was written is to survive
        self.release()
