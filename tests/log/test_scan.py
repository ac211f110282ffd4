"""Reading segments: order, salt, resynchronising, tails, following."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from google_crc32c import value as crc32c

from tests.log.logbuilder import SegmentBuilder
from wiretape.errors import DamagedError, LogVersionError, NotFoundError
from wiretape.log.format import HEADER, HEADER_CRC, HEADER_SIZE, MARK, FrameType, Opened, SegmentHead
from wiretape.log.frames import encode_frame
from wiretape.log.items import Damage, Frame
from wiretape.log.scan import read_frame, scan_segment, segment_info


def read(path: Path, **options: object) -> tuple[list[Frame], list[Damage]]:
    frames: list[Frame] = []
    damages: list[Damage] = []
    for item in scan_segment(path, **options):  # type: ignore[arg-type]
        if isinstance(item, Frame):
            frames.append(item)
        else:
            damages.append(item)
    return frames, damages


def sample() -> SegmentBuilder:
    """A small log with one of each that matters: small, streamed, interim and trailers."""
    segment = SegmentBuilder()
    segment.small(1, b"ab", b"cd")
    segment.opened(2, complete=False)
    segment.chunk(FrameType.REQUEST_BODY, 2, 0, b"request body")
    segment.response_head(2, status=103)
    segment.response_head(2)
    segment.chunk(FrameType.RESPONSE_BODY, 2, 0, b"first ")
    segment.small(3)
    segment.chunk(FrameType.RESPONSE_BODY, 2, 6, b"second")
    segment.trailers(2, b"X-T: 1\r\n")
    segment.done(2, request=b"request body", response=b"first second", inline=False)
    segment.small(4)
    segment.seal()
    return segment


def test_all_frames_are_given_in_order_with_their_place(tmp_path: Path) -> None:
    segment = sample()
    scan = scan_segment(segment.write(tmp_path))
    frames = [item for item in scan if isinstance(item, Frame)]
    assert [(frame.offset, frame.size, frame.kind, frame.seq) for frame in frames] == segment.frames
    assert scan.sealed
    assert scan.final
    assert scan.salt == segment.salt
    assert scan.position == len(segment.buffer)
    assert isinstance(frames[0].record(), SegmentHead)
    opened = frames[1].record()
    assert isinstance(opened, Opened)
    assert bytes(frames[1].data[opened.head_size :]) == b"ab"


def test_a_scan_can_begin_and_end_at_any_frame(tmp_path: Path) -> None:
    segment = sample()
    path = segment.write(tmp_path)
    bounds = [offset for offset, *_ in segment.frames]
    for start in bounds:
        for end in bounds:
            frames, damages = read(path, start=start, end=end)
            assert [frame.offset for frame in frames] == [at for at in bounds if start <= at < end]
            assert damages == []


@pytest.mark.parametrize("size", [1, 1_048_000, 1_048_536, 1_048_576, 1_100_000, 2_000_000])
def test_frames_longer_than_a_block_or_over_its_edge_are_read_whole(tmp_path: Path, size: int) -> None:
    segment = SegmentBuilder()
    for position in range(3):
        segment.chunk(FrameType.RESPONSE_BODY, 1, position * size, bytes([position + 1]) * size)
        segment.small(position + 2)
    frames, damages = read(segment.write(tmp_path))
    assert damages == []
    assert [(frame.offset, frame.size, frame.kind, frame.seq) for frame in frames] == segment.frames


def test_one_frame_is_read_by_its_offset_and_nothing_else_is(tmp_path: Path) -> None:
    segment = sample()
    path = segment.write(tmp_path)
    for offset, size, kind, seq in segment.frames:
        frame = read_frame(path, offset, segment.salt)
        assert (frame.size, frame.kind, frame.seq) == (size, kind, seq)
    with pytest.raises(DamagedError, match="at 3") as nothing:
        read_frame(path, 3, segment.salt)
    assert (nothing.value.segment, nothing.value.offset, nothing.value.length) == (path.name, 3, None)
    offset, size, _, _ = segment.frames[-1]
    data = bytearray(path.read_bytes())
    data[offset + size - 1] ^= 1
    path.write_bytes(data)
    with pytest.raises(DamagedError, match="checksum") as damaged:
        read_frame(path, offset, segment.salt)
    assert (damaged.value.segment, damaged.value.offset, damaged.value.length) == (path.name, offset, size)
    with pytest.raises(DamagedError):
        read_frame(path, 0, segment.salt + 1)
    with pytest.raises(DamagedError):
        read_frame(path, 10**9, segment.salt)


def test_p4_a_flipped_byte_costs_exactly_the_frame_it_lies_in(tmp_path: Path) -> None:
    segment = sample()
    for at in range(len(segment.buffer)):
        content = bytearray(segment.buffer)
        content[at] ^= 0x40
        frames, damages = read(segment.write(tmp_path, bytes(content)))
        hit = [place for place in segment.frames if place[0] <= at < place[0] + place[1]]
        rest = [place for place in segment.frames if place not in hit]
        assert [(frame.offset, frame.size, frame.kind, frame.seq) for frame in frames] == rest, at
        (damage,) = damages
        # Even a damaged header tells which frame it was: what one byte did to it follows from its checksum.
        assert (damage.offset, damage.length, damage.kind) == hit[0][:3], at
        assert damage.seqs_hint == ((hit[0][3],) if hit[0][3] else ()), at
        assert not damage.is_tail


def test_p4_more_damage_in_a_header_still_costs_its_frame_alone(tmp_path: Path) -> None:
    segment = sample()
    for offset, size, kind, seq in segment.frames:
        content = bytearray(segment.buffer)
        content[offset + 5 : offset + 24] = bytes(19)
        frames, damages = read(segment.write(tmp_path, bytes(content)))
        assert [frame.offset for frame in frames] == [place[0] for place in segment.frames if place[0] != offset]
        (damage,) = damages
        assert (damage.offset, damage.length) == (offset, size)
        if damage.kind:  # where the zeros changed one byte only
            assert (damage.kind, damage.seqs_hint) == (kind, (seq,))


def test_p4_damaged_neighbours_are_named_one_by_one(tmp_path: Path) -> None:
    segment = sample()
    for first, second in pairwise(segment.frames[1:-1]):
        content = bytearray(segment.buffer)
        content[first[0] + first[1] - 1] ^= 1
        content[second[0] + 17] ^= 1
        _, damages = read(segment.write(tmp_path, bytes(content)))
        assert [(damage.offset, damage.length, damage.seqs_hint) for damage in damages] == [
            (first[0], first[1], (first[3],)),
            (second[0], second[1], (second[3],)),
        ]


def test_a_segment_cut_at_any_byte_gives_its_whole_frames_and_a_torn_tail(tmp_path: Path) -> None:
    segment = sample()
    for length in range(len(segment.buffer)):
        frames, damages = read(segment.write(tmp_path, bytes(segment.buffer[:length])))
        whole = [place for place in segment.frames if place[0] + place[1] <= length]
        assert [(frame.offset, frame.size, frame.kind, frame.seq) for frame in frames] == whole, length
        end = sum(whole[-1][:2]) if whole else 0
        if end == length:
            assert damages == []
        else:
            (damage,) = damages
            assert (damage.offset, damage.length, damage.reason) == (end, length - end, "torn tail"), length
            assert damage.is_tail


def test_p6_a_live_segment_cut_at_any_byte_shows_no_damage(tmp_path: Path) -> None:
    segment = sample()
    for length in range(len(segment.buffer)):
        frames, damages = read(segment.write(tmp_path, bytes(segment.buffer[:length])), live=True)
        assert damages == []
        assert len(frames) == len([place for place in segment.frames if place[0] + place[1] <= length])


def test_zeros_behind_any_byte_are_a_zero_tail_or_named_damage_never_a_frame(tmp_path: Path) -> None:
    segment = sample()
    ends = {sum(place[:2]) for place in segment.frames[:-1]} | {0}
    for length in range(len(segment.buffer)):
        content = bytes(segment.buffer[:length]).ljust(length + 9000, b"\0")
        frames, damages = read(segment.write(tmp_path, content))
        whole = [place for place in segment.frames if place[0] + place[1] <= length]
        # A frame that ends in zeros anyway is whole again with them.
        assert [(frame.offset, frame.size, frame.kind, frame.seq) for frame in frames][: len(whole)] == whole
        assert len(frames) - len(whole) <= 1
        assert damages[-1].end == len(content)
        if length in ends:
            assert [damage.reason for damage in damages] == ["zero tail"]


def test_a_zeroed_page_in_the_middle_is_damage_and_what_follows_is_read(tmp_path: Path) -> None:
    segment = SegmentBuilder()
    for seq in range(1, 201):
        segment.small(seq, b"x" * 50)
    content = bytearray(segment.buffer)
    content[8192:12288] = bytes(4096)
    frames, damages = read(segment.write(tmp_path, bytes(content)))
    assert all(damage.offset < 12288 and damage.end > 8192 for damage in damages)
    assert not any(damage.is_tail for damage in damages)
    touched = [place for place in segment.frames if place[0] < 12288 and place[0] + place[1] > 8192]
    assert [frame.offset for frame in frames] == [place[0] for place in segment.frames if place not in touched]
    assert sum(damage.length for damage in damages) == sum(place[1] for place in touched)


def test_a_frame_abandoned_half_way_costs_itself_alone(tmp_path: Path) -> None:
    segment = SegmentBuilder()
    segment.small(1)
    lost = segment.chunk(FrameType.RESPONSE_BODY, 9, 0, bytes(5000))
    del segment.buffer[lost + 100 :]
    segment.frames.pop()
    segment.small(2)
    frames, damages = read(segment.write(tmp_path))
    assert [(frame.offset, frame.size, frame.kind, frame.seq) for frame in frames] == segment.frames
    assert [(d.offset, d.length, d.reason, d.seqs_hint) for d in damages] == [
        (lost, 100, "frame cut short, others follow", (9,))
    ]


def test_bytes_behind_the_seal_are_named(tmp_path: Path) -> None:
    segment = sample()
    _, damages = read(segment.write(tmp_path, bytes(segment.buffer) + b"left over"))
    assert [(d.offset, d.length, d.reason, d.is_tail) for d in damages] == [
        (len(segment.buffer), 9, "bytes after the seal", False)
    ]


@pytest.mark.parametrize(
    ("content", "reasons"),
    [
        (b"", []),
        (b"\0" * 5000, ["zero tail"]),
        (MARK, ["torn tail"]),
        (b"just text, longer than a frame's header is", ["no frame that checks"]),
        (MARK * 100_000, ["no frame that checks"]),
    ],
)
def test_a_file_without_any_frame_gives_a_clear_result(tmp_path: Path, content: bytes, reasons: list[str]) -> None:
    path = SegmentBuilder().write(tmp_path, content)
    frames, damages = read(path)
    assert frames == []
    assert [damage.reason for damage in damages] == reasons
    assert sum(damage.length for damage in damages) == len(content)
    assert segment_info(path).head is None


def test_a_segment_of_its_header_alone_is_whole(tmp_path: Path) -> None:
    frames, damages = read(SegmentBuilder().write(tmp_path))
    assert [frame.kind for frame in frames] == [FrameType.SEGMENT]
    assert damages == []


def embedded() -> bytes:
    inner = SegmentBuilder(salt=0x99, session="other")
    for seq in range(1, 50):
        inner.small(seq)
    inner.seal()
    return bytes(inner.buffer)


@pytest.mark.parametrize("at", [None, 0, 20, 39, 45], ids=["undamaged", "magic", "salt", "crc", "head"])
def test_a_body_that_holds_a_whole_segment_is_never_taken_for_frames(tmp_path: Path, at: int | None) -> None:
    segment = SegmentBuilder()
    content = embedded()
    segment.small(1)
    segment.small(2, response=content)
    # Frames which even claim the offsets they will stand at: only the salt tells them apart.
    base = len(segment.buffer) + HEADER_SIZE + 2
    crafted = b"".join(
        encode_frame(FrameType.DONE, 0, base + number * HEADER_SIZE, number, 0x77, b"") for number in range(100)
    )
    segment.chunk(FrameType.RESPONSE_BODY, 3, 0, crafted)
    segment.small(4)
    damaged = bytearray(segment.buffer)
    if at is not None:
        damaged[at] ^= 0xFF
    for hit in (None, *(place[0] + 3 for place in segment.frames[1:])):
        now = bytearray(damaged)
        if hit is not None:
            now[hit] ^= 1
        frames, _ = read(segment.write(tmp_path, bytes(now)))
        places = {place for place in segment.frames if not (place[0] == 0 and at is not None)}
        if hit is not None:
            places = {place for place in places if place[0] + 3 != hit}
        assert {(frame.offset, frame.size, frame.kind, frame.seq) for frame in frames} == places


def with_version(frame: bytes, version: int) -> bytes:
    header = bytearray(frame[: HEADER.size])
    header[3] = version
    return bytes(header) + HEADER_CRC.pack(crc32c(bytes(header))) + frame[HEADER_SIZE:]


def test_a_newer_format_is_refused_by_name(tmp_path: Path) -> None:
    segment = SegmentBuilder()
    path = segment.write(tmp_path, with_version(bytes(segment.buffer), 2))
    with pytest.raises(
        LogVersionError, match=r"0-00000001\.wlog is written in log format 2, this program reads format 1"
    ):
        read(path)
    with pytest.raises(LogVersionError):
        segment_info(path)


def test_a_damaged_version_byte_is_damage_not_a_newer_format(tmp_path: Path) -> None:
    segment = sample()
    segment.buffer[3] = 2
    frames, damages = read(segment.write(tmp_path))
    assert len(frames) == len(segment.frames) - 1
    assert [damage.offset for damage in damages] == [0]


def test_frames_of_unknown_kinds_are_given_as_they_are(tmp_path: Path) -> None:
    segment = SegmentBuilder()
    offset = segment.marked(0, "later")
    frame = encode_frame(77, 3, offset, 5, segment.salt, b"new", b"data")
    frames, damages = read(segment.write(tmp_path, bytes(segment.buffer[:offset]) + frame))
    assert damages == []
    assert (frames[-1].kind, frames[-1].flags, frames[-1].head, bytes(frames[-1].data)) == (77, 3, b"new", b"data")
    with pytest.raises(DamagedError, match="kind 77"):
        frames[-1].record()


def test_a_record_that_cannot_be_decoded_is_damage_by_name(tmp_path: Path) -> None:
    segment = SegmentBuilder()
    offset = len(segment.buffer)
    frame = encode_frame(FrameType.OPENED, 0, offset, 1, segment.salt, b"\x91\xc1")
    frames, _ = read(segment.write(tmp_path, bytes(segment.buffer) + frame))
    with pytest.raises(DamagedError, match=rf"0-00000001\.wlog at {offset}"):
        frames[-1].record()


def test_a_missing_segment_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"0-00000009\.wlog"):
        read(tmp_path / "0-00000009.wlog")


def test_reading_on_gives_each_frame_once_however_the_file_grows(tmp_path: Path) -> None:
    segment = sample()
    for step in (1, 7, 100, 4096):
        path = segment.write(tmp_path, b"")
        seen: list[Frame | Damage] = []
        position, scan = 0, scan_segment(path)
        with path.open("ab", buffering=0) as file:
            for at in range(0, len(segment.buffer), step):
                file.write(segment.buffer[at : at + step])
                scan = scan_segment(path, start=position, live=True)
                seen += scan
                position = scan.position
        frames = [item for item in seen if isinstance(item, Frame)]
        assert len(frames) == len(seen)
        assert [(frame.offset, frame.size, frame.kind, frame.seq) for frame in frames] == segment.frames
        assert scan.sealed
        assert scan.final
        assert position == len(segment.buffer)
        assert list(scan_segment(path, start=position, live=True)) == []


def test_reading_on_names_damage_once_a_frame_follows_it(tmp_path: Path) -> None:
    segment = SegmentBuilder()
    segment.small(1)
    hole = len(segment.buffer)
    segment.opened(2)
    content = bytearray(segment.buffer)
    content[hole + 50] ^= 1
    path = segment.write(tmp_path, bytes(content))
    scan = scan_segment(path, live=True)
    assert len(list(scan)) == 3
    assert scan.position == hole
    segment.done(2)
    with path.open("ab") as file:
        file.write(segment.buffer[len(content) :])
    damage, frame = scan_segment(path, start=hole, live=True)
    assert isinstance(damage, Damage)
    assert (damage.offset, damage.end, damage.seqs_hint) == (hole, len(content), (2,))
    assert isinstance(frame, Frame)
    assert frame.offset == len(content)
