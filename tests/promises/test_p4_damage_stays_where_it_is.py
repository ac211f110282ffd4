"""P4: one damaged byte costs at most the exchange it lies in, and every damaged range is named."""

from __future__ import annotations

import random

import pytest

from harness.specimen import Specimen, make_specimen
from prove.damage import PAGE, RUINS, Bench, misplace
from prove.tally import Tally
from wiretape.log.format import FrameType


@pytest.fixture(scope="module")
def specimen() -> Specimen:
    return make_specimen()


def test_p4_every_bit_of_a_frame_of_each_kind_is_guarded(specimen: Specimen) -> None:
    tally = Tally()
    bench = Bench(specimen, tally)
    met: set[int] = set()
    for name, frames in specimen.frames.items():
        for frame in frames:
            if frame.kind in met or frame.size > 2_000:
                continue
            met.add(frame.kind)
            for bit in range(frame.offset * 8, frame.end * 8):
                bench.flip(name, bit)
    assert {FrameType.SEGMENT, FrameType.OPENED, FrameType.DONE, FrameType.TLS, FrameType.EVENT, FrameType.SEAL} <= met
    assert tally.failures == []
    assert tally.counts["bits found"] == tally.counts["bits flipped"] > 5_000
    assert tally.most == 1


def test_p4_bits_anywhere_in_the_log_are_found_and_cost_one_exchange(specimen: Specimen) -> None:
    tally = Tally()
    bench = Bench(specimen, tally)
    chance = random.Random(4)
    for name, content in specimen.segments.items():
        for bit in chance.sample(range(len(content) * 8), 1_000):
            bench.flip(name, bit)
    assert tally.failures == []
    assert tally.counts["bits found"] == tally.counts["bits flipped"] == 1_000 * len(specimen.segments)


def test_p4_a_log_cut_to_any_length_keeps_every_whole_frame(specimen: Specimen) -> None:
    tally = Tally()
    bench = Bench(specimen, tally)
    chance = random.Random(5)
    for name, frames in specimen.frames.items():
        edges = {frame.offset + shift for frame in frames for shift in (-1, 0, 1)}
        lengths = {*edges, *chance.sample(range(len(specimen.segments[name])), 500)}
        for length in lengths:
            if 0 <= length < len(specimen.segments[name]):
                bench.cut(name, length)
    assert tally.failures == []


@pytest.mark.parametrize("how", RUINS)
def test_p4_a_ruined_page_costs_only_what_overlaps_it(specimen: Specimen, how: str) -> None:
    tally = Tally()
    bench = Bench(specimen, tally)
    for name, content in specimen.segments.items():
        for page in range(0, (len(content) + PAGE - 1) // PAGE, 2):
            bench.ruin(name, page, how, random.Random(f"{name}/{page}"))
    assert tally.failures == []
    assert tally.counts["exchanges lost beyond"] == tally.counts["frames lost beyond"] == 0


def test_p4_misplaced_segments_are_read_at_their_places_and_missing_ones_named(specimen: Specimen) -> None:
    tally = Tally()
    misplace(specimen, tally)
    assert tally.failures == []
