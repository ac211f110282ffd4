"""A log of about a mebibyte to damage: in memory, with everything in it that a recorder writes.

Small exchanges, bodies in chunks, handshakes, events, several segments, an exchange that is not ended, and a captured
body that is itself a wiretape segment.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from harness.disks.memory import MemoryDisk, MemoryFiles
from wiretape.log.files import FileEntry, Readable
from wiretape.log.format import BodyChunk, Done, EndState, Event, Flag, FrameType, Opened, TlsSeen
from wiretape.log.items import Damage, Frame
from wiretape.log.scan import scan_segment, segment_info
from wiretape.log.stream_writer import StreamIdentity, StreamWriter
from wiretape.log.verify import LogReport, verify_log

LOG = Path("/log")
SESSION = "20260101T000000-00000a"
_SEGMENT = 250_000


class BytesFile:
    """A file whose bytes anybody may change."""

    def __init__(self, content: bytearray) -> None:
        self._content = memoryview(content)

    def read_at(self, length: int, offset: int) -> bytes:
        """Read."""
        return bytes(self._content[offset : offset + length])

    def size(self) -> int:
        """Measure."""
        return len(self._content)

    def data_from(self, offset: int) -> int:
        """Know of no holes."""
        return offset

    def close(self) -> None:
        """Let go, so that the content can change its length."""
        self._content.release()


class BytesFiles(MemoryFiles):
    """The file port over a dictionary: for reading what was damaged by hand."""

    def __init__(self, content: dict[str, bytearray]) -> None:
        super().__init__(MemoryDisk())
        self.content = content

    def open_read(self, path: Path) -> Readable:
        """Open."""
        return BytesFile(self.content[path.name])

    def list_folder(self, path: Path) -> list[FileEntry]:
        """List."""
        return [FileEntry(name, len(content), regular=True) for name, content in self.content.items()]


@dataclass(frozen=True, slots=True)
class Specimen:
    """A sound log: its files, and the frames of each in order."""

    segments: dict[str, bytes]
    frames: dict[str, list[Frame]]
    salts: dict[str, int]
    seqs: frozenset[int]
    interrupted: frozenset[int]

    @property
    def size(self) -> int:
        """Bytes in all."""
        return sum(map(len, self.segments.values()))

    def copy(self) -> dict[str, bytearray]:
        """Return the files, to be damaged."""
        return {name: bytearray(content) for name, content in self.segments.items()}

    def frame_at(self, name: str, offset: int) -> int:
        """Return the index of the frame that a byte lies in."""
        return bisect_right(self.frames[name], offset, key=lambda frame: frame.offset) - 1

    def touched(self, name: str, start: int, end: int) -> list[Frame]:
        """Return the frames that overlap a range."""
        return self.frames[name][self.frame_at(name, start) : self.frame_at(name, end - 1) + 1]


@dataclass(slots=True)
class Seen:
    """What was read of a damaged log."""

    frames: dict[str, list[Frame]] = field(default_factory=dict)
    damage: list[Damage] = field(default_factory=list)
    report: LogReport | None = None


def make_specimen(seed: int = 1) -> Specimen:
    """Record it."""
    chance = random.Random(seed)
    disk = MemoryDisk()
    disk.make_folder(LOG)
    files = MemoryFiles(disk)
    identity = StreamIdentity(SESSION, 0, 1, 7, 1, "boot", "test")
    writer = StreamWriter(
        LOG, identity, clock_ns=lambda: 1, next_number=1, next_seq=1, files=files, segment_bytes=_SEGMENT
    )
    for number in range(450):
        _record(writer, chance, number, disk)
        writer.flush()
    writer.append(FrameType.OPENED, writer.take_seq(), _opened(), b"GET")
    writer.close()
    content = {name: data for name, data in disk.content(LOG).items() if name.endswith(".wlog")}
    sound = BytesFiles({name: bytearray(data) for name, data in content.items()})
    frames = {name: list(_frames(sound, name)) for name in content}
    report = verify_log(LOG, SESSION, files=sound)
    assert not report.gaps
    assert report.closed_cleanly
    salts = {name: segment_info(LOG / name, sound).salt or 0 for name in content}
    return Specimen(content, frames, salts, frozenset(range(1, report.exchanges + 1)), frozenset(report.interrupted))


def read(content: dict[str, bytearray]) -> Seen:
    """Read a damaged log whole, as verify does."""
    seen = Seen()

    def watch(items: Iterator[Frame | Damage]) -> Iterator[Frame | Damage]:
        for item in items:
            if isinstance(item, Damage):
                seen.damage.append(item)
            else:
                seen.frames.setdefault(item.segment, []).append(item)
            yield item

    seen.report = verify_log(LOG, SESSION, watch=watch, files=BytesFiles(content))
    return seen


def _frames(files: BytesFiles, name: str) -> Iterator[Frame]:
    for item in scan_segment(LOG / name, files=files):
        assert isinstance(item, Frame)
        yield item


def _opened() -> Opened:
    return Opened(1, 1, "http", "host", 80, "127.0.0.1:1", 3)


def _record(writer: StreamWriter, chance: random.Random, number: int, disk: MemoryDisk) -> None:
    if number % 40 == 7:
        tls = TlsSeen(1, number, "client", "host", 443, "host", "http/1.1", "TLSv1.3", "cipher")
        writer.append(FrameType.TLS, 0, tls, chance.randbytes(300))
    if number % 60 == 9:
        writer.append(FrameType.EVENT, 0, Event(number, "note", {"number": number}))
    seq = writer.take_seq()
    writer.append(FrameType.OPENED, seq, _opened(), b"GET", Flag.REQUEST_COMPLETE)
    chunks = []
    if number == 100:
        chunks = [next(data for name, data in disk.content(LOG).items() if name.endswith(".wlog"))[:200_000]]
    elif number % 13 == 0:
        chunks = [chance.randbytes(chance.choice((100, 5_000, 16_384))) for _ in range(3)]
    position = 0
    for chunk in chunks:
        writer.append(FrameType.RESPONSE_BODY, seq, BodyChunk(position), chunk)
        position += len(chunk)
    body = b"" if chunks else chance.randbytes(chance.choice((0, 80, 900)))
    size = position + len(body)
    done = Done(1, EndState.COMPLETE, 200, 0, 0, size, 0, size, 0, 0)
    writer.append(FrameType.DONE, seq, done, body, Flag.HAS_RESPONSE)
