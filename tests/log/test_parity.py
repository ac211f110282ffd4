"""Parity of a segment: any damage within its bound heals byte for byte, any beyond it is refused."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.specimen import BytesFile
from wiretape.errors import DamagedError
from wiretape.log.parity import BLOCK, HEADER_SIZE, PARITY, Layout, Repair, encode, read_parity

LARGE = 1_300_000
"""More than one group."""


def encoded(data: bytes) -> bytes:
    return b"".join(encode(BytesFile(bytearray(data)), len(data)))


def healed(damaged: bytes | bytearray, parity: bytes | bytearray) -> bytes | None:
    """Heal; None when there is nothing to heal."""
    found = read_parity(BytesFile(bytearray(parity)))
    if found is None:
        raise DamagedError("nothing is left of the parity")
    repair = Repair(BytesFile(bytearray(damaged)), found)
    if not repair.changed:
        return None
    repair.heal(BytesFile(bytearray(parity)))
    return b"".join(repair.whole())


@pytest.fixture(scope="module")
def large() -> tuple[bytes, bytes]:
    data = random.Random(1).randbytes(LARGE)
    return data, encoded(data)


@pytest.mark.parametrize("size", [1, BLOCK - 1, BLOCK, BLOCK + 1, 17 * BLOCK, 100_000, 239 * BLOCK, 240 * BLOCK, LARGE])
def test_a_sound_segment_of_any_size_needs_nothing(size: int) -> None:
    data = random.Random(size).randbytes(size)
    parity = encoded(data)
    assert healed(data, parity) is None
    assert len(parity) == Layout.of(size).file_size


@pytest.mark.parametrize("start", [0, 1, 5000, LARGE // 2, LARGE - 65_536])
def test_p4_a_run_of_64_kib_heals_wherever_it_stands(large: tuple[bytes, bytes], start: int) -> None:
    data, parity = large
    damaged = bytearray(data)
    damaged[start : start + 65_536] = bytes(65_536)
    assert healed(damaged, parity) == data


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_p4_any_seventeen_blocks_heal(data: st.DataObject) -> None:
    seed = data.draw(st.integers(0, 3))
    content = random.Random(seed).randbytes(400_000 if seed % 2 else LARGE)
    parity = encoded(content)
    blocks = data.draw(st.lists(st.integers(0, len(content) // BLOCK), unique=True, max_size=PARITY))
    damaged = bytearray(content)
    for block in blocks:
        damaged[block * BLOCK] ^= data.draw(st.integers(1, 255))
    assert healed(damaged, parity) == (content if blocks else None)


@pytest.mark.parametrize("left", [LARGE - 1, LARGE - 65_536, LARGE - 33 * BLOCK])
def test_p4_a_segment_that_was_cut_short_is_given_its_end_back(large: tuple[bytes, bytes], left: int) -> None:
    data, parity = large
    assert healed(data[:left], parity) == data


def test_bytes_behind_the_end_are_taken_off(large: tuple[bytes, bytes]) -> None:
    data, parity = large
    assert healed(data + b"x" * 10_000, parity) == data


def test_small_segments_heal_even_when_nothing_is_left_of_them() -> None:
    data = random.Random(2).randbytes(16 * BLOCK)
    assert healed(b"", encoded(data)) == data


def test_more_than_its_bound_is_refused(large: tuple[bytes, bytes]) -> None:
    data, parity = large
    groups = Layout.of(LARGE).groups
    assert groups == 2
    damaged = bytearray(data)
    for number in range(PARITY + 1):
        damaged[number * groups * BLOCK] ^= 1
    with pytest.raises(DamagedError, match="18 blocks that belong together are damaged, and 17 of parity"):
        healed(damaged, parity)


@pytest.mark.parametrize("where", ["front", "back", "middle", "cut"])
def test_damage_to_the_parity_itself_costs_no_more_than_it_must(large: tuple[bytes, bytes], where: str) -> None:
    data, parity = large
    layout = Layout.of(LARGE)
    table = HEADER_SIZE + layout.table
    changed = bytearray(parity)
    if where == "front":
        changed[:table] = bytes(table)
    elif where == "back":
        changed[-table:] = bytes(table)
    elif where == "middle":
        changed[table : table + 10 * BLOCK] = bytes(10 * BLOCK)
    else:
        del changed[table + 20 * BLOCK :]
    damaged = bytearray(data)
    damaged[5000 : 5000 + 5 * BLOCK] = bytes(5 * BLOCK)
    assert healed(damaged, changed) == data


@pytest.mark.parametrize("flips", [1, 3, 50])
def test_a_parity_file_that_lies_heals_nothing_wrongly(large: tuple[bytes, bytes], flips: int) -> None:
    data, parity = large
    chance = random.Random(flips)
    for _ in range(15):
        changed = bytearray(parity)
        for _ in range(flips):
            changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
        damaged = bytearray(data)
        damaged[100_000:130_000] = chance.randbytes(30_000)
        try:
            assert healed(damaged, changed) == data
        except DamagedError:
            assert flips > 10


@pytest.mark.parametrize("content", [b"", b"\x89WTP", bytes(100_000)])
def test_what_is_no_parity_is_none(content: bytes) -> None:
    assert read_parity(BytesFile(bytearray(content))) is None


def test_a_segment_that_is_shorter_than_said_gets_no_parity() -> None:
    with pytest.raises(DamagedError, match="ends at 10"):
        list(encode(BytesFile(bytearray(10)), 11))
