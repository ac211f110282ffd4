"""Any damage to any log: what is whole is read, what is not is named, and nothing is made up."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.log.logbuilder import SESSION, SegmentBuilder
from wiretape.log import open_session
from wiretape.log.format import MARK, FrameType
from wiretape.log.items import Damage, Frame
from wiretape.log.scan import scan_segment
from wiretape.log.verify import verify_log


def log() -> SegmentBuilder:
    segment = SegmentBuilder()
    for seq in range(1, 60):
        segment.opened(seq, b"q" * seq)
        if seq % 5 == 0:
            segment.response_head(seq)
            for position in range(0, 3000, 1000):
                segment.chunk(FrameType.RESPONSE_BODY, seq, position, bytes([seq]) * 1000)
        segment.done(seq, inline=seq % 5 != 0)
    return segment


def sealed() -> SegmentBuilder:
    segment = log()
    segment.seal()
    return segment


def check(original: bytes, content: bytes, segment: SegmentBuilder, folder: Path) -> list[Damage]:
    """Hold what is true under any damage that moves no byte; give the damage found."""
    path = segment.write(folder, content)
    whole = [
        place
        for place in segment.frames
        if content[place[0] : place[0] + place[1]] == original[place[0] : sum(place[:2])]
    ]
    items = list(scan_segment(path))
    frames = [item for item in items if isinstance(item, Frame)]
    damages = [item for item in items if isinstance(item, Damage)]
    assert [(frame.offset, frame.size, frame.kind, frame.seq) for frame in frames] == whole
    # Every byte is in exactly one frame or range.
    end = 0
    for item in items:
        assert item.offset == end
        end = item.end
    assert end == len(content)
    at = {place[0]: place for place in segment.frames}
    for damage in damages:
        for seq in damage.seqs_hint:
            assert at[damage.offset][2:] == (damage.kind, seq)
    # A reader while live gives the same frames and no damage that this one does not.
    live = list(scan_segment(path, live=True))
    assert [item for item in live if isinstance(item, Frame)] == frames
    assert {item.offset for item in live if isinstance(item, Damage)} <= {item.offset for item in damages}
    return damages


Fault = Callable[[bytearray, list[tuple[int, int, int, int]]], object]


def overwrite(at: int, new: bytes) -> Fault:
    def fault(content: bytearray, frames: list[tuple[int, int, int, int]]) -> None:
        start = frames[at][0]
        content[start : start + len(new)] = new

    return fault


def copy_frame(source: int, target: int) -> Fault:
    def fault(content: bytearray, frames: list[tuple[int, int, int, int]]) -> None:
        offset, size, *_ = frames[source]
        start = frames[target][0]
        content[start : start + size] = content[offset : offset + size]

    return fault


FAULTS: dict[str, Fault] = {
    "a bit of the first byte": lambda content, _: content.__setitem__(0, content[0] ^ 1),
    "the whole segment head": overwrite(0, bytes(100)),
    "a page of zeros": lambda content, _: content.__setitem__(slice(4096, 8192), bytes(4096)),
    "a page of ones": lambda content, _: content.__setitem__(slice(8192, 12288), b"\xff" * 4096),
    "a page of marks": lambda content, _: content.__setitem__(slice(4096, 8192), (MARK * 1366)[:4096]),
    "a page of another page": lambda content, _: content.__setitem__(slice(8192, 12288), content[4096:8192]),
    "a frame over another": copy_frame(5, 20),
    "the seal over the middle": copy_frame(-1, 30),
    "the head over the middle": copy_frame(0, 30),
    "a frame written twice": lambda content, frames: content.extend(content[frames[3][0] : frames[4][0]]),
    "garbage behind the end": lambda content, _: content.extend(b"garbage" * 100),
    "zeros behind the end": lambda content, _: content.extend(bytes(5000)),
    "the log again behind its end": lambda content, _: content.extend(content),
    "everything but the last frame": lambda content, frames: content.__setitem__(
        slice(0, frames[-1][0]), bytes(frames[-1][0])
    ),
    "everything": lambda content, _: content.__setitem__(slice(None), os.urandom(len(content))),
}


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("build", [log, sealed], ids=["unsealed", "sealed"])
def test_p4_what_a_fault_leaves_whole_is_read(tmp_path: Path, name: str, build: Callable[[], SegmentBuilder]) -> None:
    segment = build()
    original = bytes(segment.buffer)
    content = bytearray(original)
    FAULTS[name](content, segment.frames)
    assert content != original
    damages = check(original, bytes(content), segment, tmp_path)
    assert damages
    report = verify_log(tmp_path, SESSION)
    assert len(report.gaps) + len(report.tails) == len(damages)
    assert report.damaged_bytes + report.torn_tail_bytes == sum(damage.length for damage in damages)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_p4_any_mixture_of_damage_leaves_every_whole_frame(data: st.DataObject) -> None:
    segment = data.draw(st.sampled_from([log, sealed]))()
    original = bytes(segment.buffer)
    content = bytearray(original)
    # The head is left alone in one of two: without it the salt is the majority's, of which enough must be left.
    first = data.draw(st.sampled_from([0, 100]))
    for _ in range(data.draw(st.integers(1, 8))):
        start = data.draw(st.integers(first, len(content) - 1))
        length = data.draw(st.one_of(st.integers(1, 3), st.integers(1, 3000)))
        new = data.draw(st.sampled_from([b"\0", b"\xff", MARK, original[:200], b"\x01"]))
        stop = min(start + length, len(content))
        content[start:stop] = (new * (length // len(new) + 1))[: stop - start]
    cut = data.draw(st.one_of(st.just(len(content)), st.integers(0, len(content))))
    with tempfile.TemporaryDirectory() as folder:
        log_dir = Path(folder) / SESSION / "log"
        check(original, bytes(content[:cut]), segment, log_dir)
        report = verify_log(log_dir, SESSION)
        assert report.exchanges + report.lost_exchanges <= 59
        opened = open_session(log_dir)
        given = list(opened)
        assert opened.report == report
        assert len({exchange.seq for exchange in given}) == len(given) == report.exchanges
        assert sum(exchange.done is not None for exchange in given) == report.done


@settings(max_examples=60, deadline=None)
@given(content=st.binary(max_size=400), prefix=st.integers(0, 400))
def test_no_bytes_at_all_make_the_reader_fail(content: bytes, prefix: int) -> None:
    segment = sealed()
    with tempfile.TemporaryDirectory() as folder:
        path = segment.write(Path(folder), bytes(segment.buffer[:prefix]) + content)
        items = list(scan_segment(path))
        assert (items[-1].end if items else 0) == path.stat().st_size
        verify_log(Path(folder), SESSION)
        assert all(item.end <= path.stat().st_size for item in scan_segment(path, live=True))
