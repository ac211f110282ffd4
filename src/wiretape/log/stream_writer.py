"""The log's writer: one stream of one session, append-only.

Frames are gathered with ``append`` and go out with one call in ``flush``; the caller releases what depended on them
only after ``flush`` returned. A write that fails leaves the segment as it is (P3: no byte is ever taken back), drops
the gathered frames, and the next flush goes to a new segment. The writer knows no loop, thread or clock.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, Protocol

import msgspec

from wiretape.errors import StorageError
from wiretape.log.durability import SyncState
from wiretape.log.files import REAL, Files
from wiretape.log.format import SEGMENT_BYTES, FrameType, Record, segment_name
from wiretape.log.identity import StreamIdentity
from wiretape.log.items import Frame
from wiretape.log.locks import take_lock
from wiretape.log.reserve import END_BYTES, FULL, RESERVE_BYTES, Reserve
from wiretape.log.segment_writer import Refused, SegmentWriter
from wiretape.log.seqs import Seqs

__all__ = ["StreamIdentity", "StreamWriter"]

_COPY_FRAMES: Final = 64  # at most 256 KiB each
_ADOPTED: Final = 4  # a killed writer left no more than its last segments unsynced
# A plain number on the hot path: members of an IntEnum are slow to look up.
_DONE: Final = int(FrameType.DONE)


class Append(Protocol):
    """``SegmentWriter.append``, of the segment that is written."""

    def __call__(self, kind: int, seq: int, record: Record | msgspec.Raw, data: bytes = b"", flags: int = 0) -> None:
        """Gather one frame."""


class _Segments:
    """Begins the segments of one stream, one after the other.

    Attributes:
        number: of the segment that was begun last, or is begun next.
    """

    def __init__(
        self,
        log_dir: Path,
        identity: StreamIdentity,
        clock_ns: Callable[[], int],
        number: int,
        files: Files,
        note_end: Callable[[int], None],
    ) -> None:
        self._dir = log_dir
        self._identity = identity
        self._clock = clock_ns
        self._files = files
        self._note_end = note_end
        self.number = number

    def path(self, number: int) -> Path:
        """Return the path of a segment."""
        return self._dir / segment_name(self._identity.stream, number)

    def begin(self, first_seq: int, create: Callable[[Path], int] | None = None) -> SegmentWriter:
        """Create the next segment; its first frame is gathered.

        Args:
            first_seq: the next seq that the stream gives, or the lowest that begins in it.
            create: makes the file; None makes a new one.

        Raises:
            OSError: it cannot be made.
        """
        fd = self._create(create or self._files.create)
        salt = int.from_bytes(os.urandom(8), "little")
        segment = SegmentWriter(self._files, fd, self.number, salt, first_seq, self._note_end)
        head = self._identity.head(self.number, first_seq, self._clock())
        segment.append(FrameType.SEGMENT, 0, head)
        return segment

    def _create(self, create: Callable[[Path], int]) -> int:
        while True:
            try:
                return create(self.path(self.number))
            except FileExistsError:
                # The segment before, or what a failed attempt left: never written over (P3). No other number is passed
                # over: one left out would look like a segment that somebody lost.
                self.number += 1

    def none(self) -> SegmentWriter:
        """Return what stands for a segment where there is none: what it gathers is lost."""
        return SegmentWriter(self._files, -1, self.number, 0, 0, self._note_end)

    def remove_empty(self) -> None:
        """Remove the file that was begun last, if not one byte was written to it."""
        self._files.remove_empty(self.path(self.number))


class StreamWriter:
    """Appends frames to the segments of one stream: gives numbers, rotates, and goes on elsewhere when a write fails.

    Attributes:
        append: gathers one frame (see ``SegmentWriter.append``); it is in the log when ``flush`` has returned True.
        ready: there is a segment to write to, and not the reserve.
        epoch: grows with every failed write; frames of an exchange begun in an earlier epoch may be missing.
        lost: (type, seq) of each frame that a failed write dropped; the caller empties it.
        in_reserve: the disk is full, and what is appended goes to the reserve: only ends and reports should.
        step: the difference between two seqs of this stream that follow each other.
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
        reserve: Reserve | None = None,
        patient: bool = False,
    ) -> None:
        """Lock the stream and begin its next segment.

        Args:
            next_number: number of the segment to create (one more than the highest there).
            next_seq: first seq this writer gives.
            reserve: what to go on in when the disk is full.
            patient: a disk that refuses now is tried again with ``begin_new_segment``.

        Raises:
            BusyError: another process writes this stream; carries its pid.
            StorageError: the folder cannot be written.
        """
        self._clock = clock_ns
        self._files = files
        self._segment_bytes = segment_bytes
        self._reserve = reserve
        self.in_reserve = False
        self._seq = next_seq
        self.step = identity.streams
        self._earlier = 0
        self.epoch = 0
        self.lost: list[tuple[int, int]] = []
        self._lock_fd = take_lock(log_dir, identity.stream, identity.note(), files)
        adopted = range(max(1, next_number - _ADOPTED), next_number)
        inherited = [log_dir / segment_name(identity.stream, number) for number in adopted]
        self._durability = SyncState(log_dir, files, next_number, self.step, inherited)
        note_end = self._durability.note_end
        self._segments = _Segments(log_dir, identity, clock_ns, next_number, files, note_end)
        self._segment = self._segments.none()
        # An attribute, not a method: the way of every frame is one call shorter.
        self.append: Append = self._segment.append
        self.ready = False
        try:
            self._begin_segment()
        except OSError as error:
            self._drop_segment()
            if patient:
                self.lost.clear()
                return
            self.release()
            raise StorageError(
                f"cannot write the log in {log_dir}: {error.strerror}", hint="free space, or choose another --root"
            ) from error

    # -- numbers and places -------------------------------------------------------------------------------------

    def take_seq(self) -> int:
        """Return the next seq of this stream."""
        seq = self._seq
        self._seq = seq + self.step
        return seq

    @property
    def next_seq(self) -> int:
        """The seq that ``take_seq`` will give next."""
        return self._seq

    @property
    def size(self) -> int:
        """Bytes of all this writer's segments, gathered frames included."""
        return self._earlier + self._segment.position

    @property
    def number(self) -> int:
        """Number of the current segment, or of the next one where there is none."""
        return self._segments.number

    @property
    def fd(self) -> int:
        """Descriptor of the current segment, -1 when none could be opened."""
        return self._segment.fd

    @property
    def position(self) -> int:
        """Offset in the current segment at which the next frame will stand."""
        return self._segment.position

    @property
    def here(self) -> tuple[int, int]:
        """The segment and offset up to which everything has been handed to the kernel."""
        if self._segment.fd < 0:  # the number may be the next segment's already
            return (self._segments.number, 0)
        return (self._segments.number, self._segment.written)

    @property
    def gone(self) -> Seqs:
        """Exchanges whose end was written and that a failed sync took; the caller empties it."""
        return self._durability.gone

    # -- frames -------------------------------------------------------------------------------------------------

    @property
    def pending(self) -> bool:
        """Whether frames are gathered that no flush has written."""
        return self._segment.pending

    def flush(self, *, last: bool = False) -> bool:
        """Write all gathered frames; False when some could not be written: ``lost`` then names them, ``epoch`` grew.

        ``last`` may use the part of a reserve that is kept for the account of what was dropped.
        """
        segment = self._segment
        if segment.fd < 0:
            self._lose(segment.take_back())
            self.begin_new_segment()
            return False
        if self.in_reserve and not last and segment.position > RESERVE_BYTES - END_BYTES:
            self._lose(segment.take_back())
            return False
        try:
            segment.write()
        except OSError as error:
            return self._go_on_elsewhere(error)
        if segment.position >= self._segment_bytes and not self.in_reserve:
            self._rotate()
        return True

    def _write(self) -> None:
        """Write what is gathered, if it must be to the reserve.

        Raises:
            OSError: it is lost, and ``lost`` names it.
        """
        try:
            self._segment.write()
        except OSError as error:
            if not self._go_on_elsewhere(error):
                raise

    def _go_on_elsewhere(self, error: OSError) -> bool:
        """Leave the segment whose write failed (P3, P10); False where what it refused has no place."""
        refused = self._segment.take_back()
        in_reserve = self.in_reserve
        self._abandon()
        if error.errno in FULL and not in_reserve and self._enter_reserve(refused):
            return True
        self._lose(refused)
        return False

    def _lose(self, refused: list[Refused]) -> None:
        for frame in refused:
            self.lost.append((frame.kind, frame.seq))
            if frame.kind == _DONE:
                self._durability.lose_end(frame.seq)
        self.epoch += 1

    def _enter_reserve(self, refused: list[Refused]) -> bool:
        """Go on in the reserve, beginning with the frames that a full disk refused; False where they have no place."""
        if self._reserve is None or sum(frame.size for frame in refused) > RESERVE_BYTES - END_BYTES:
            return False
        self._segments.remove_empty()
        begun = [frame.seq for frame in refused if frame.kind == FrameType.OPENED]
        try:
            self._enter(self._segments.begin(min(begun, default=self._seq), self._reserve.enter))
        except OSError:
            return False
        self.in_reserve, self.ready = True, False
        for frame in refused:
            if frame.kind not in (FrameType.SEGMENT, FrameType.SEAL):  # each segment has its own
                if frame.kind == _DONE:
                    self._durability.lose_end(frame.seq)  # and is noted again
                self.append(frame.kind, frame.seq, msgspec.Raw(frame.head), frame.data, frame.flags)
        try:
            self._segment.write()
        except OSError:
            self._segment.take_back()
            self._abandon()
            return False
        return True

    # -- segments -----------------------------------------------------------------------------------------------

    def _begin_segment(self) -> None:
        if self._reserve is not None and not self._reserve.ready:
            self._reserve.prepare()
        self._enter(self._segments.begin(self._seq))
        self._write()

    def _enter(self, segment: SegmentWriter) -> None:
        self._earlier += self._segment.position
        self._segment = segment
        self.append = segment.append
        self.in_reserve = False
        self.ready = True
        self._durability.folder_dirty = True

    def _abandon(self) -> None:
        """Leave the segment as it is: what follows goes to a new one."""
        segment = self._segment
        if segment.fd >= 0:
            self._durability.leave(segment)
            segment.fd = -1
        self.in_reserve = self.ready = False

    def _drop_segment(self) -> None:
        """Give up a segment that could not be begun; its file goes when not one byte was written to it."""
        self._abandon()
        self._segments.remove_empty()

    def _seal(self, final: bool) -> None:
        segment = self._segment
        segment.seal(self._clock(), self._seq, final=final)
        self._write()
        if self._segment is segment:  # else it went on in the reserve, which has no seal yet
            self._abandon()

    def _rotate(self) -> None:
        try:
            self._seal(final=False)
            if self._segment.fd < 0:
                self._begin_segment()
        except OSError:
            self._drop_segment()

    def leave_reserve(self) -> bool:
        """Go on in an ordinary segment, with a new reserve; False while the disk has no room for that."""
        if self._reserve is None or not self._reserve.prepare():
            return False
        self._rotate()
        return self.fd >= 0 and not self.in_reserve

    def begin_new_segment(self, *, deleted: bool = False) -> bool:
        """Leave the current segment unsealed (its disk is suspect) and go on in a new one; False when that fails.

        ``deleted``: its file is gone. Its number is not used again, so that readers see which one is missing.
        Frames that are gathered belong to the segment they were made for: they go there, or are lost.
        """
        if self._segment.pending and self._segment.fd < 0:
            self._lose(self._segment.take_back())
        elif self._segment.pending:
            with contextlib.suppress(OSError):  # ``lost`` names them
                self._write()
        self._abandon()
        self._segments.number += deleted
        try:
            self._begin_segment()
        except OSError:
            self._drop_segment()
            return False
        return True

    # -- durability and end -------------------------------------------------------------------------------------

    def sync_job(self) -> Callable[[], None]:
        """Return a callable, safe in another thread, that makes all that was flushed until now survive power loss.

        It raises OSError when the disk refuses; that fsync must not be tried again on the same file (P9). The caller
        reports back with ``synced`` or ``rewrite_unsynced``.
        """
        return self._durability.sync_job(self._segment)

    def synced(self, until: tuple[int, int]) -> None:
        """Take note that everything before ``until`` (``here`` when the job was made) is on the disk."""
        self._durability.synced(until)

    def rewrite_unsynced(self) -> bool:
        """After a failed fsync: leave the suspect segment and write its unsynced frames again to a new one (P9).

        The frames are read back and only taken when their checksums agree; their copies carry the same seq, so readers
        see each once. Where the kernel no longer has all of them, ``gone`` names the ends that it lost and ``epoch``
        grows. False when the copies cannot be written: to be tried again, or given up with ``leave_unsynced``.
        """
        if not self.begin_new_segment():
            return False
        epoch, lost = self.epoch, list(self.lost)
        whole = self._durability.rewrite(self._segments.number, self._segments.path, self._copy)
        if whole is False:
            self.epoch, self.lost = epoch, lost
            return False
        if whole is None:
            self.epoch += 1
        return True

    def _copy(self, frames: Iterable[Frame]) -> bool:
        for number, frame in enumerate(frames, 1):
            self.append(frame.kind, frame.seq, msgspec.Raw(frame.head), bytes(frame.data), frame.flags)
            if number % _COPY_FRAMES == 0 and not self.flush():
                return False
        return not self.pending or self.flush()

    def leave_unsynced(self) -> None:
        """Go on in a new segment without what a failed fsync should have saved; nobody tries that file again (P9)."""
        self.begin_new_segment()
        self._durability.forget(self._segments.number)

    def seal(self, *, final: bool) -> bool:
        """Write what is gathered and end the segment; False where the disk refuses, which leaves it unsealed."""
        begun = self.fd >= 0
        try:
            while self.fd >= 0:  # a second time where a full disk made it go on in the reserve
                if self.pending:
                    self._write()
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

    def release(self) -> None:
        """Let go of the stream; nothing may be written after this."""
        if self._reserve is not None and self._reserve.ready:
            self._reserve.give_back()
        self._files.close(self._lock_fd)
        self._lock_fd = -1
