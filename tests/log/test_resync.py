"""Finding the way again: salts by vote, unreadable pages, headers worked out from their checksum."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.log.logbuilder import SegmentBuilder
from wiretape.log.files import REAL, Readable
from wiretape.log.format import HEADER_SIZE, MARK, FrameType
from wiretape.log.frames import encode_frame
from wiretape.log.resync import all_zero, find_salt, next_header, repaired_header


@contextmanager
def opened(path: Path) -> Iterator[tuple[Readable, int]]:
    file = REAL.open_read(path)
    try:
        yield file, file.size()
    finally:
        file.close()


def test_one_wrong_byte_anywhere_in_a_header_is_worked_out(tmp_path: Path) -> None:
    segment = SegmentBuilder()
    segment.small(0x0102030405060708, b"some body")
    offset, _, kind, seq = segment.frames[1]
    for at in range(HEADER_SIZE):
        for difference in (1, 0x80, 0xFF):
            content = bytearray(segment.buffer)
            content[offset + at] ^= difference
            with opened(segment.write(tmp_path, bytes(content))) as (file, _):
                header = repaired_header(file, offset, file.size(), segment.salt)
                assert header is not None
                assert (header.type, header.seq) == (kind, seq)


def test_nothing_is_worked_out_of_garbage(tmp_path: Path) -> None:
    random_bytes = random.Random(7).randbytes
    path = tmp_path / "garbage"
    for _ in range(200):
        path.write_bytes(random_bytes(500))
        with opened(path) as (file, _):
            assert repaired_header(file, 0, file.size(), 5) is None
            assert repaired_header(file, 480, file.size(), 5) is None


def test_the_mark_is_found_over_the_edge_of_what_is_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "segment"
    for junk in (0, 1, 16 * 1024 - 40, 16 * 1024 - 1, 16 * 1024, 16 * 1024 + 1, 1_048_576 + 16 * 1024 - 39):
        path.write_bytes(MARK * (junk // 3) + bytes(junk % 3) + encode_frame(2, 0, junk, 9, 5, b"h"))
        with opened(path) as (file, size):
            found = next_header(file, 0, size, 5, path.name)
            assert found is not None
            assert (found[0], found[1].seq) == (junk, 9)
            assert next_header(file, 0, size, 6, path.name) is None
            assert next_header(file, 0, junk + HEADER_SIZE - 1, 5, path.name) is None
            assert next_header(file, junk + 1, size, 5, path.name) is None


def test_the_vote_on_the_salt_is_by_bytes_outside_other_frames(tmp_path: Path) -> None:
    segment = SegmentBuilder(salt=0x51)
    for seq in range(1, 4):
        segment.small(seq)
    body = len(segment.buffer) + HEADER_SIZE + 2
    crafted = b"".join(encode_frame(7, 0, body + at * HEADER_SIZE, at, 0x66, b"") for at in range(5000))
    segment.chunk(FrameType.RESPONSE_BODY, 4, 0, crafted)
    content = bytearray(segment.buffer)
    content[30] ^= 1
    with opened(segment.write(tmp_path, bytes(content))) as (file, size):
        assert find_salt(file, size, segment.name) == 0x51
    assert len(crafted) > len(segment.buffer) - len(crafted)


def test_no_salt_is_found_where_no_frame_is(tmp_path: Path) -> None:
    path = tmp_path / "segment"
    for content in (b"", MARK, MARK * 5000, bytes(5000)):
        path.write_bytes(content)
        with opened(path) as (file, size):
            assert find_salt(file, size, path.name) is None


@pytest.mark.parametrize("length", [0, 1, 4096, 3_000_000])
def test_zeros_are_told_from_almost_zeros(tmp_path: Path, length: int) -> None:
    path = tmp_path / "zeros"
    path.write_bytes(b"\1" + bytes(length) + b"\1")
    with opened(path) as (file, size):
        assert all_zero(file, 1, size - 1)
        assert not all_zero(file, 0, size - 1)
        assert not all_zero(file, 1, size)


READ_ALL = """
import sys
from pathlib import Path
from wiretape.log.scan import scan_segment
for item in scan_segment(Path(sys.argv[1])):
    print(type(item).__name__, item.offset, item.end, getattr(item, "is_tail", False))
"""


def read_with_a_failing_device(path: Path, calls: str) -> list[list[str]]:
    """Read a segment while the kernel answers EIO to these calls: 1 reads the first header, 2 a block, then pages."""
    command = ["strace", "-qq", "-o", os.devnull, "-P", str(path), "-e", "trace=pread64"]
    command += ["-e", f"inject=pread64:error=EIO:when={calls}", sys.executable, "-c", READ_ALL, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""
    return [line.split() for line in done.stdout.splitlines()]


def test_p4_a_device_that_fails_once_costs_nothing(tmp_path: Path) -> None:
    segment = SegmentBuilder()
    for seq in range(1, 101):
        segment.small(seq, b"z" * 100)
    items = read_with_a_failing_device(segment.write(tmp_path), "2")
    assert [(item[0], int(item[1])) for item in items] == [("Frame", place[0]) for place in segment.frames]


def test_p4_pages_that_the_device_cannot_give_are_damage_not_an_error(tmp_path: Path) -> None:
    segment = SegmentBuilder()
    for seq in range(1, 101):
        segment.small(seq, b"z" * 100)
    items = read_with_a_failing_device(segment.write(tmp_path), "2+")
    assert items == [["Damage", "0", str(len(segment.buffer)), "False"]]
