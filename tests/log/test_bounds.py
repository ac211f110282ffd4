"""What is held of a log is bounded; beyond the bounds everything still counts, and the report says so."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from tests.log.logbuilder import SESSION, SegmentBuilder
from wiretape.heads import fields
from wiretape.log.files import REAL, data_from
from wiretape.log.format import FrameType
from wiretape.log.scan import scan_segment
from wiretape.log.session_log import open_session
from wiretape.log.verify import LogReport, verify_log


def verify(folder: Path, *segments: SegmentBuilder) -> LogReport:
    """Write a log and check it."""
    for segment in segments:
        segment.write(folder)
    return verify_log(folder, SESSION)


def test_p8_ends_are_waited_for_as_long_as_there_is_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wiretape.log.sequence.UNFINISHED", 16)
    monkeypatch.setattr("wiretape.log.sequence.INTERRUPTED", 20)
    segment = SegmentBuilder()
    for seq in range(1, 101):
        segment.opened(seq)
    for seq in range(70, 101):
        segment.done(seq)
    report = verify(tmp_path, segment)
    assert report.exchanges == 100
    assert report.done + len(report.interrupted) + report.interrupted_unlisted == 100
    assert report.interrupted_unlisted > 0
    assert report.done >= 16
    assert f"{report.interrupted_unlisted} further exchanges without an end" in " ".join(report.notes)


def test_p8_nothing_is_given_up_where_there_is_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wiretape.log.sequence.UNFINISHED", 16)
    segment = SegmentBuilder()
    for seq in range(1, 101):
        segment.opened(seq)
    for seq in range(100, 0, -1):
        segment.done(seq)
    report = verify(tmp_path, segment)
    assert (report.exchanges, report.done, report.interrupted, report.interrupted_unlisted) == (100, 100, [], 0)
    assert report.notes == []


def test_p8_missing_numbers_count_where_they_are_not_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = []
    for room in (1_000, 5):
        monkeypatch.setattr("wiretape.log.sequence.RANGES", room)
        segment = SegmentBuilder()
        for seq in range(10, 400, 10):
            segment.small(seq)
        content = bytearray(segment.buffer)
        offset = segment.frames[1][0]
        content[offset + 100] ^= 1
        (tmp_path / segment.name).write_bytes(content)
        report = verify_log(tmp_path, SESSION)
        counts.append((report.exchanges, report.done, report.lost_exchanges))
        assert any("counted without their place" in note for note in report.notes) == (room == 5)
        assert any("never written" in note for note in report.notes)
    assert counts[0] == counts[1]


def test_p8_notes_are_counted_when_there_are_too_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wiretape.log.findings.LISTED_NOTES", 3)
    segment = SegmentBuilder()
    for _ in range(5):
        segment.__post_init__()  # one more head
    report = verify(tmp_path, segment)
    assert report.notes[-1] == "2 further notes are left out"


def test_frames_claimed_to_lie_in_each_other_are_found_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With and without trust in lengths, the same is read of a log that was damaged and not forged."""
    monkeypatch.setattr("wiretape.log.scan._BLOCK_BEHIND_DAMAGE", 64)
    segment = SegmentBuilder()
    for seq in range(1, 60):
        segment.small(seq, response=bytes(range(256)) * (seq % 7))
    segment.seal()
    for seed in range(40):
        chance = random.Random(seed)
        content = bytearray(segment.buffer)
        for _ in range(chance.randint(1, 12)):
            content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        path = segment.write(tmp_path, bytes(content))
        read = []
        for waste in (1 << 30, -1):
            monkeypatch.setattr("wiretape.log.scan._TRUSTED_WASTE", waste)
            scan = scan_segment(path, salt=segment.salt)
            read.append((list(scan), scan.position, scan.sealed, scan.final))
        assert read[0] == read[1], seed


def test_a_hole_of_a_terabyte_is_one_range_and_no_work(tmp_path: Path) -> None:
    segment = SegmentBuilder()
    segment.small(1)
    path = segment.write(tmp_path)
    with path.open("r+b") as file:
        file.truncate(1 << 40)
    report = verify_log(tmp_path, SESSION)
    assert (report.done, report.gaps, report.torn_tail_bytes) == (1, [], (1 << 40) - len(segment.buffer))


def test_data_are_found_behind_holes(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with path.open("wb") as file:
        file.seek(1 << 30)
        file.write(b"data")
        file.truncate(1 << 31)
    opened = REAL.open_read(path)
    try:
        assert 0 < opened.data_from(0) <= 1 << 30
        assert opened.data_from(1 << 30) == 1 << 30
        assert opened.data_from((1 << 30) + (1 << 20)) == 1 << 31
    finally:
        opened.close()


def test_where_holes_are_not_known_everything_is_data() -> None:
    reader, writer = os.pipe()
    try:
        assert data_from(reader, 5) == 5
    finally:
        os.close(reader)
        os.close(writer)


def test_a_head_of_more_lines_than_anybody_sends_loses_none() -> None:
    block = b"GET / HTTP/1.1\r\n" + b"".join(b"a%d: b\r\n" % number for number in range(30_000))
    found = fields(block)
    assert found[0] == ("a0", "b")
    assert len(found) == 20_000
    assert "a29999: b" in found[-1][1]


def test_a_segment_number_that_no_database_holds_is_no_segments(tmp_path: Path) -> None:
    segment = SegmentBuilder()
    segment.small(1)
    segment.write(tmp_path)
    segment.write(tmp_path, name="0-99999999999999999999.wlog")
    report = verify(tmp_path)
    assert report.segments == 1
    assert any("is not a segment" in note for note in report.notes)


def test_body_frames_without_bytes_take_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wiretape.log.assembly._PIECES", 3)
    segment = SegmentBuilder()
    segment.opened(1)
    for _ in range(10):
        segment.chunk(FrameType.RESPONSE_BODY, 1, 0, b"")
    for at in range(3):
        segment.chunk(FrameType.RESPONSE_BODY, 1, at, b"x")
    segment.done(1, response=b"xxx", inline=False)
    segment.seal()
    segment.write(tmp_path / "log")
    (exchange,) = open_session(tmp_path)
    assert exchange.response is not None
    assert exchange.response.body.read() == b"xxx"
    assert exchange.notes == ()
