"""Reed-Solomon: any blocks that are gone come back from as many of parity."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wiretape.log.erasure import Code


def parity_of(code: Code, blocks: list[bytes]) -> list[bytes]:
    sums = [0] * code.parity
    for index, block in enumerate(blocks):
        code.add(sums, index, block)
    return [value.to_bytes(len(blocks[0]), "little") for value in sums]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_blocks_come_back_from_as_many_of_parity(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 239))
    parity = data.draw(st.integers(1, 17))
    chance = random.Random(data.draw(st.integers()))
    code = Code(size, parity)
    blocks = [chance.randbytes(16) for _ in range(size)]
    made = parity_of(code, blocks)
    missing = data.draw(st.lists(st.integers(0, size - 1), unique=True, max_size=min(parity, size)))
    rows = data.draw(st.permutations(range(parity)))[: max(1, len(missing))]

    def read(index: int) -> bytes:
        assert index not in missing
        return blocks[index]

    healed = code.heal(missing, {row: made[row] for row in rows}, read)
    assert healed == {index: blocks[index] for index in missing}


def test_every_pair_of_blocks_of_a_full_code_comes_back() -> None:
    code = Code(20, 2)
    blocks = [bytes([index]) * 3 for index in range(20)]
    made = dict(enumerate(parity_of(code, blocks)))
    for one in range(20):
        for other in range(one):
            healed = code.heal([one, other], made, blocks.__getitem__)
            assert healed == {one: blocks[one], other: blocks[other]}


def test_too_little_parity_is_refused() -> None:
    code = Code(3, 2)
    blocks = [b"a", b"b", b"c"]
    made = parity_of(code, blocks)
    with pytest.raises(ValueError, match="2 blocks are gone, and 1 of parity"):
        code.heal([0, 1], {1: made[1]}, blocks.__getitem__)


@pytest.mark.parametrize(("data", "parity"), [(0, 1), (1, 0), (240, 17), (256, 1)])
def test_codes_that_cannot_be_are_refused(data: int, parity: int) -> None:
    with pytest.raises(ValueError, match="no code"):
        Code(data, parity)
