"""A machine that records: the recorder's stream and the log's writer over a disk and a clock that are simulated.

At every call that changes the disk the world can be stopped: ``at`` is called there, and may look at what the disk
would hold had the process been killed or the power been cut in this moment.
"""

from __future__ import annotations

import errno
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.disks.loop import SimulatedLoop
from harness.disks.memory import MemoryDisk, MemoryFiles
from wiretape.log.format import BodyChunk, Done, EndState, Event, Flag, FrameType, Opened
from wiretape.log.items import Damage, Frame
from wiretape.log.resume import resume_point
from wiretape.log.stream_writer import StreamIdentity, StreamWriter
from wiretape.log.verify import LogReport, verify_log
from wiretape.recorder.session_stream import SessionStream
from wiretape.settings import Durability

LOG = Path("/log")
SESSION = "20260101T000000-00000a"
SLOWEST_SYNC = 0.04
"""Seconds that a sync takes at most on this machine."""
_SEGMENT = 2_000


@dataclass(slots=True)
class Recorded:
    """What clients were told: for each seq, the time and the bytes that its end was recorded with.

    ``written`` also has what was written and not yet released.
    """

    written: dict[int, bytes] = field(default_factory=dict)
    acknowledged: dict[int, float] = field(default_factory=dict)


class Port(MemoryFiles):
    """The disk as the writer sees it: failing by chance, and syncing what was there when the sync began.

    Attributes:
        share: how likely a call is to fail.
        before: called with the name of every call that changes the disk, in front of it.
    """

    def __init__(self, disk: MemoryDisk, chance: random.Random, before: Callable[[str], None]) -> None:
        super().__init__(disk)
        self.chance = chance
        self.share = 0.0
        self.before = before
        self._failed_syncs = 0
        self._full = False
        self._lengths: dict[int, int] | None = None
        self._changes: dict[Path, int] = {}

    def begin_sync(self) -> None:
        """Take note of what a sync that begins now is to save."""
        self._lengths = {inode: len(found.data) for inode, found in self.disk.inodes.items()}
        self._changes = {path: folder.settled + len(folder.changes) for path, folder in self.disk.folders.items()}

    def end_sync(self) -> None:
        """From now on syncs are done at once."""
        self._lengths = None

    def create(self, path: Path) -> int:
        """Create, or have no descriptor left."""
        self.before("create")
        if self.chance.random() < self.share:
            raise OSError(errno.EMFILE, "too many open files")
        return super().create(path)

    def write(self, fd: int, data: bytes | memoryview) -> int:
        """Append; the disk is full by chance, and the kernel says so only when it is asked for the rest."""
        self.before("write")
        if self._full:
            self._full = False
            raise OSError(errno.ENOSPC, "no space left on device")
        if self.chance.random() < self.share:
            self._full = True
            return super().write(fd, memoryview(data)[: self.chance.randrange(len(data))])
        return super().write(fd, data)

    def fdatasync(self, fd: int) -> None:
        """Sync, or fail; never more often in a row than the recorder bears."""
        self.before("fdatasync")
        inode = self._of(fd)
        upto = len(self.disk.inodes[inode].data) if self._lengths is None else self._lengths.get(inode, 0)
        if self._failed_syncs < 2 and self.chance.random() < self.share * 2:
            self._failed_syncs += 1
            self.disk.inodes[inode] = self.disk.inodes[inode].failed(upto, self.chance, forget=False)
            raise OSError(errno.EIO, "input/output error")
        self._failed_syncs = 0
        self.disk.inodes[inode] = self.disk.inodes[inode].synced(upto)

    def fsync_folder(self, path: Path) -> None:
        """Sync the entries that were there when the sync began."""
        self.before("fsync_folder")
        if self._lengths is None:
            super().fsync_folder(path)
        else:
            self.disk.folders[path] = self.disk.folder(path).synced(self._changes[path])

    def remove_empty(self, path: Path) -> None:
        """Remove an empty file."""
        self.before("remove_empty")
        super().remove_empty(path)


class Machine:
    """One run of a recorder on ``disk``, resuming what is there."""

    def __init__(
        self,
        disk: MemoryDisk,
        chance: random.Random,
        durability: Durability,
        recorded: Recorded,
        at: Callable[[Machine, str], None],
        faults: float = 0.0,
    ) -> None:
        self.disk = disk
        self.recorded = recorded
        self.durability = durability
        self._chance = chance
        self._at = at
        self.loop = SimulatedLoop(self._begin_job)
        self.files = Port(disk, chance, lambda call: self._at(self, call))
        number, seq = resume_point(LOG, 0, 1, files=self.files)
        self.first_seq = seq
        identity = StreamIdentity(SESSION, 0, 1, chance.getrandbits(63), 1, "boot", "test")
        self.writer = StreamWriter(
            LOG,
            identity,
            clock_ns=lambda: int(self.loop.time() * 1e9),
            next_number=number,
            next_seq=seq,
            files=self.files,
            segment_bytes=_SEGMENT,
        )
        self.stream = SessionStream(self.loop, self.writer, SESSION, durability=durability)  # type: ignore[arg-type]
        self.files.share = faults
        # As the recorder does, and with that the first sync is due.
        self.stream.append(FrameType.EVENT, 0, Event(self.writer.next_seq, "session", {}))

    def _begin_job(self) -> float:
        self.files.begin_sync()
        return self._chance.uniform(0.0005, SLOWEST_SYNC)

    def run(self, exchanges: int, *, closes: bool = True, calm: bool = True) -> None:
        """Record so many exchanges; close, or leave it as a kill in the middle of the traffic would.

        Args:
            exchanges: how many.
            closes: whether the stream is closed at the end.
            calm: the disk no longer fails by then, and has nothing to sync.
        """
        for _ in range(exchanges):
            self.loop.call_later(self._chance.uniform(0, 0.02 * exchanges), self._begin)
        self.loop.run(0.02 * exchanges + (1.0 if calm else 0.0))
        if not closes:
            return
        if calm:
            self.files.share = 0.0
        self.files.end_sync()
        self.stream.close()

    def _begin(self) -> None:
        stream, chance = self.stream, self._chance
        if not stream.accepting:
            stream.count_unrecorded()
            return
        seq, epoch = stream.take_seq(), stream.epoch
        stream.begin()
        opened = Opened(int(self.loop.time() * 1e9), 1, "http", "host", 80, "127.0.0.1:1", 3)
        stream.append(FrameType.OPENED, seq, opened, b"GET", Flag.REQUEST_COMPLETE)
        for position in range(chance.choice((0, 0, 0, 2))):
            stream.append(FrameType.RESPONSE_BODY, seq, BodyChunk(position * 100), chance.randbytes(100))
        self.loop.call_later(chance.choice((0.0, 0.001, 0.05)), self._end, seq, epoch)

    def _end(self, seq: int, epoch: int) -> None:
        stream = self.stream
        body = self._chance.randbytes(self._chance.choice((0, 20, 700)))
        done = Done(1, EndState.COMPLETE, 200, 0, 0, len(body), 0, len(body), 0, 0)
        self.recorded.written[seq] = body
        stream.append(FrameType.DONE, seq, done, body, Flag.HAS_RESPONSE)
        stream.release_last(self._acknowledge, (seq, epoch))

    def _acknowledge(self, exchange: Any) -> None:
        seq, epoch = exchange
        whole = epoch == self.stream.epoch
        self.stream.end(dropped=not whole, seq=seq)
        if whole:
            self.recorded.acknowledged[seq] = self.loop.time()


@dataclass(frozen=True, slots=True)
class Found:
    """What is read of a disk after a crash: the ends of exchanges by seq, each with all versions met."""

    ends: dict[int, set[bytes]]
    seqs: set[int]
    report: LogReport


def read_log(disk: MemoryDisk) -> Found:
    """Read the log as the next process would."""
    ends: dict[int, set[bytes]] = {}
    seqs: set[int] = set()

    def watch(items: Iterator[Frame | Damage]) -> Iterator[Frame | Damage]:
        for item in items:
            if isinstance(item, Frame) and item.seq:
                seqs.add(item.seq)
                if item.kind == FrameType.DONE:
                    ends.setdefault(item.seq, set()).add(bytes(item.data))
            yield item

    report = verify_log(LOG, SESSION, watch=watch, files=MemoryFiles(disk))
    return Found(ends, seqs, report)
