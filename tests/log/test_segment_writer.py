"""One segment: what is gathered is written whole, in order and without copies, wherever the kernel stops taking it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import msgspec
import pytest

from harness.disks.memory import MemoryDisk, MemoryFiles
from tests.support.failing_files import FailingFiles
from wiretape.log import segment_writer
from wiretape.log.files import REAL
from wiretape.log.format import FrameType
from wiretape.log.frames import encode_frame
from wiretape.log.items import Frame
from wiretape.log.scan import scan_segment
from wiretape.log.segment_writer import SegmentWriter

LOG = Path("/log")
SALT = 7
FRAMES = [
    (FrameType.OPENED, 1, b"\x91\x01", b"GET / HTTP/1.1\r\n\r\n"),
    (FrameType.RESPONSE_BODY, 1, b"\x91\x00", b"a" * 40),
    (FrameType.RESPONSE_BODY, 1, b"\x91\x28", b"b" * 33),
    (FrameType.EVENT, 0, b"\x91\x05", b""),
    (FrameType.DONE, 1, b"\x91\x02", b"c" * 50),
]


def whole() -> list[bytes]:
    """Give the frames as they must stand in the file."""
    frames: list[bytes] = []
    for kind, seq, head, data in FRAMES:
        frames.append(encode_frame(kind, 0, sum(map(len, frames)), seq, SALT, head, data))
    return frames


def ignore(seq: int) -> None:
    """Take the end of an exchange."""


TOTAL = sum(map(len, whole()))


@pytest.fixture(params=[10_000, 35, 1], ids=["copied", "mixed", "pieces"])
def bulk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Say from which size on data is an entry of its own."""
    monkeypatch.setattr(segment_writer, "_COPIED", request.param)
    return int(request.param)


def begin(files: FailingFiles) -> SegmentWriter:
    """Begin a segment and gather the frames."""
    segment = SegmentWriter(files, files.create(LOG / "0-00000001.wlog"), 1, SALT, 1, ignore)
    for kind, seq, head, data in FRAMES:
        segment.append(kind, seq, msgspec.Raw(head), data)
    return segment


def disk() -> MemoryFiles:
    """Give an empty disk."""
    made = MemoryDisk()
    made.make_folder(LOG)
    return MemoryFiles(made)


def content(memory: MemoryFiles) -> bytes:
    """Give what is in the file."""
    return memory.disk.content(LOG)["0-00000001.wlog"]


def test_a_write_that_is_cut_short_anywhere_is_gone_on_with(bulk: int) -> None:
    for taken in range(TOTAL + 1):
        memory = disk()
        files = FailingFiles(memory)
        segment = begin(files)
        assert segment.pending
        files.short = taken
        segment.write()
        assert content(memory) == b"".join(whole())
        assert (segment.position, segment.written, segment.pending) == (TOTAL, TOTAL, False)


def test_p3_a_write_that_fails_anywhere_tells_exactly_which_frames_are_not_in_the_file(bulk: int) -> None:
    frames = whole()
    for room in range(TOTAL):
        memory = disk()
        files = FailingFiles(memory)
        segment = begin(files)
        files.room = room
        with pytest.raises(OSError, match="no space"):
            segment.write()
        assert content(memory) == b"".join(frames)[:room]
        kept = sum(1 for count in range(1, len(frames) + 1) if sum(map(len, frames[:count])) <= room)
        refused = segment.take_back()
        assert [(frame.kind, frame.seq, frame.head, frame.data) for frame in refused] == FRAMES[kept:]
        assert [frame.size for frame in refused] == list(map(len, frames[kept:]))
        assert segment.position == sum(map(len, frames[:kept]))
        assert not segment.pending


def test_what_is_gathered_without_a_file_is_all_given_back(bulk: int) -> None:
    segment = SegmentWriter(disk(), -1, 1, SALT, 1, ignore)
    for kind, seq, head, data in FRAMES:
        segment.append(kind, seq, msgspec.Raw(head), data)
    assert segment.gathered_ends() == 1
    assert [frame.data for frame in segment.take_back()] == [data for _, _, _, data in FRAMES]


def test_more_pieces_than_one_call_takes_are_written_in_several(tmp_path: Path) -> None:
    path = tmp_path / "0-00000001.wlog"
    segment = SegmentWriter(REAL, REAL.create(path), 1, SALT, 1, ignore)
    pieces = [os.urandom(5_000) for _ in range(1_300)]
    for number, piece in enumerate(pieces):
        segment.append(FrameType.RESPONSE_BODY, 1, msgspec.Raw(bytes([0x91, number % 100])), piece)
    segment.write()
    os.close(segment.fd)
    found = [item for item in scan_segment(path) if isinstance(item, Frame)]
    assert [bytes(frame.data) for frame in found] == pieces


def test_a_kernel_that_takes_nothing_more_is_told_as_it_says_it(bulk: int) -> None:
    files = FailingFiles(disk())
    segment = begin(files)
    files.write_errors = 1
    with pytest.raises(OSError, match="input/output") as caught:
        segment.write()
    assert caught.value.errno == errno.EIO
    assert len(segment.take_back()) == len(FRAMES)
