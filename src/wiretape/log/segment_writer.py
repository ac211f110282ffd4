"""What writes frames to the segments of one stream: appends, rotates, and goes on elsewhere when a write fails."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import msgspec

from wiretape.errors import StorageError
from wiretape.log.bounds import fitted
from wiretape.log.files import REAL, Files
from wiretape.log.format import (
    HEADER,
    HEADER_SIZE,
    MAX_HEAD,
    SEGMENT_BYTES,
    Flag,
    FrameType,
    Record,
    Seal,
    segment_name,
)
from wiretape.log.frames import encode_frame
from wiretape.log.identity import StreamIdentity
from wiretape.log.locks import take_lock
from wiretape.log.reserve import END_BYTES, FULL, RESERVE_BYTES, Reserve
from wiretape.log.seqs import Seqs
from wiretape.log.unsynced import Inherited, Unsynced

_encode = msgspec.msgpack.Encoder().encode
_ADOPTED = 4  # a killed writer left no more than its last segments unsynced
KIND_AT = 4  # the byte of a frame that says its kind
# Plain numbers on the hot path: members of an IntEnum are slow to look up and to encode.
_OPENED = int(FrameType.OPENED)
_DONE = int(FrameType.DONE)


class Appender:
    """Appends frames to the segments of one stream.

    Attributes:
        epoch: grows with every failed write; frames of an exchange begun in an earlier epoch may be missing.
        lost: (type, seq) of each frame that a failed write dropped; the caller empties it.
        gone: exchanges whose end was written and that a failed sync took; likewise.
        position: offset in the current segment at which the next frame will stand.
        in_reserve: the disk is full, and what is appended goes to the reserve: only ends and reports should.
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
        self._dir = log_dir
        self._identity = identity
        self._clock = clock_ns
        self._files = files
        self._segment_bytes = segment_bytes
        self._reserve = reserve
        self.in_reserve = False
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
        self._unsynced = Unsynced((next_number, 0), identity.streams)
        self._note_end = self._unsynced.ends.note
        self.folder_dirty = False
        self.gone = Seqs(identity.streams)
        self.lost: list[tuple[int, int]] = []
        self._reset_counts()
        self._lock_fd = take_lock(log_dir, identity.stream, identity.note(), files)
        adopted = range(max(1, next_number - _ADOPTED), next_number)
        self._inherited = Inherited(map(self._path, adopted), files)
        try:
            self._begin_segment()
            self._write_pending()
        except OSError as error:
            self._drop_segment()
            if patient:
                self.lost.clear()
                return
            self.release()
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
    def step(self) -> int:
        """The difference between two seqs of this stream that follow each other."""
        return self._step

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
        """Gather one frame; it is in the log when ``flush`` has returned True.

        A record that is longer than a frame's head holds is cut (see ``fitted``).

        Raises:
            LogError: head and data are longer than a frame; nothing was gathered.
        """
        if isinstance(record, bytes):
            head = record
        else:
            try:
                head = _encode(record)
            except (UnicodeEncodeError, OverflowError, TypeError):
                head = fitted(record)
            if len(head) > MAX_HEAD:
                head = fitted(record)
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

    def flush(self, *, last: bool = False) -> bool:
        """Write all gathered frames; False when some could not be written: ``lost`` then names them, ``epoch`` grew.

        ``last`` may use the part of a reserve that is kept for the account of what was dropped.
        """
        if self._fd < 0:
            self._lose()
            self.begin_new_segment()
            return False
        if self.in_reserve and not last and self.position > RESERVE_BYTES - END_BYTES:
            self._lose()
            return False
        try:
            self._write_pending()
        except OSError:
            return False
        if self.position >= self._segment_bytes and not self.in_reserve:
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
        except OSError as error:
            refused = self._take_back(taken)
            self._abandon()
            if error.errno in FULL and self._enter_reserve(refused):
                return
            self._count_lost(refused)
            raise
        self._pending = []

    def _take_back(self, taken: int) -> list[bytes]:
        """Give the gathered frames that are not in the log: those that end after the first ``taken`` bytes."""
        end, refused = 0, []
        for frame in self._pending:
            end += len(frame)
            if end > taken:
                refused.append(frame)
                self.position -= len(frame)
        self._pending = []
        return refused

    def _lose(self) -> None:
        """Drop all gathered frames."""
        self._count_lost(self._take_back(0))

    def _count_lost(self, refused: list[bytes]) -> None:
        for frame in refused:
            header = HEADER.unpack_from(frame)
            self.lost.append((header[1], header[6]))
            if header[1] == _DONE:
                self._unsynced.lose(header[6])
        self.epoch += 1

    def _enter_reserve(self, refused: list[bytes]) -> bool:
        """Go on in the reserve, beginning with the frames that a full disk refused; False where they cannot."""
        if self._reserve is None or self.in_reserve or sum(map(len, refused)) > RESERVE_BYTES - END_BYTES:
            return False
        self._files.remove_empty(self._path(self._number))
        try:
            self._fd = self._create_next(self._reserve.enter)
        except OSError:
            return False
        self.in_reserve = True
        headers = list(map(HEADER.unpack_from, refused))
        self._begin_frames(min((header[6] for header in headers if header[1] == _OPENED), default=self._seq))
        for frame, (_, kind, flags, head_length, _, _, seq, _, _) in zip(refused, headers, strict=True):
            if kind in (FrameType.SEGMENT, FrameType.SEAL):  # each segment has its own
                continue
            if kind == _DONE:
                self._unsynced.lose(seq)
            data = HEADER_SIZE + head_length
            self.append(kind, seq, frame[HEADER_SIZE:data], frame[data:], flags)
        self._write_pending()  # raises where it fails as well; ``lost`` then names them
        return True

    def _abandon(self) -> None:
        """Leave the segment as it is: what follows a failed write goes to a new one (P3, P10)."""
        if self._fd >= 0:
            self._unsynced.leave(self._number, self.position, self.salt)
            self.unsynced.append(self._fd)
            self._fd = -1
        self.in_reserve = False

    # -- segments -----------------------------------------------------------------------------------------------

    def _reset_counts(self) -> None:
        self._frames = self._opened = self._done = 0
        self._first_seq = self._seq

    def _begin_segment(self) -> None:
        if self._reserve is not None and not self._reserve.ready:
            self._reserve.prepare()
        self._fd = self._create_next(self._files.create)
        self.in_reserve = False
        self._begin_frames(self._seq)

    def _begin_frames(self, first_seq: int) -> None:
        self.folder_dirty = True
        self._reset_counts()
        self._first_seq = first_seq
        self.salt = int.from_bytes(os.urandom(8), "little")
        self._earlier += self.position
        self.position = 0
        head = self._identity.head(self._number, first_seq, self._clock())
        self.append(FrameType.SEGMENT, 0, head)

    def _create_next(self, create: Callable[[Path], int]) -> int:
        while True:
            try:
                return create(self._path(self._number))
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
        )
        self.append(FrameType.SEAL, 0, seal, flags=Flag.FINAL if final else 0)
        fd = self._fd
        self._write_pending()
        if self._fd == fd:  # else it went on in the reserve, which has no seal yet
            self._abandon()

    def _rotate(self) -> None:
        try:
            self._seal(final=False)
            if self._fd < 0:
                self._begin_segment()
                self._write_pending()
        except OSError:
            self._drop_segment()

    def leave_reserve(self) -> bool:
        """Go on in an ordinary segment, with a new reserve; False while the disk has no room for that."""
        if self._reserve is None or not self._reserve.prepare():
            return False
        self._rotate()
        return self._fd >= 0 and not self.in_reserve

    def begin_new_segment(self, *, deleted: bool = False) -> bool:
        """Leave the current segment unsealed (its disk is suspect) and go on in a new one; False when that fails.

        ``deleted``: its file is gone. Its number is not used again, so that readers see which one is missing.
        Frames that are gathered belong to the segment they were made for: they go there, or are lost.
        """
        if self._pending and self._fd < 0:
            self._lose()
        elif self._pending:
            with contextlib.suppress(OSError):  # ``lost`` names them
                self._write_pending()
        self._abandon()
        self._number += deleted
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

    def release(self) -> None:
        """Let go of the stream; nothing may be written after this."""
        if self._reserve is not None and self._reserve.ready:
            self._reserve.give_back()
        self._files.close(self._lock_fd)
        self._lock_fd = -1
