"""Sets of seqs behave as sets do, in memory that follows their gaps."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wiretape.log import seqs as module
from wiretape.log.seqs import Seqs

STEPS = st.sampled_from((1, 2, 3))


@st.composite
def some(draw: st.DrawFn, step: int) -> set[int]:
    return {2 + step * number for number in draw(st.sets(st.integers(0, 40)))}


@given(st.data(), STEPS)
def test_they_hold_what_was_noted_until_it_is_discarded(data: st.DataObject, step: int) -> None:
    noted = data.draw(some(step))
    seqs = Seqs(step)
    for seq in data.draw(st.permutations(sorted(noted))):
        seqs.note(seq)
        if data.draw(st.booleans()):
            seqs.fold()
    for seq in data.draw(some(step)):
        seqs.discard(seq)
        noted.discard(seq)
    assert list(seqs) == sorted(noted)
    assert len(seqs) == len(noted)
    assert bool(seqs) == bool(noted)
    assert all((seq in seqs) == (seq in noted) for seq in range(130))


@given(st.data(), STEPS)
def test_they_are_put_together_and_taken_from_one_another(data: st.DataObject, step: int) -> None:
    one, other = data.draw(some(step)), data.draw(some(step))
    left = Seqs(step, sorted(one)).without(Seqs(step, sorted(other)))
    assert list(left) == sorted(one - other)
    both = Seqs(step, sorted(one))
    both.add(Seqs(step, sorted(other)))
    assert list(both) == sorted(one | other)
    assert len(both) == len(one | other)


@given(st.data(), STEPS, st.integers(0, 50))
def test_the_first_are_taken_out_in_order(data: st.DataObject, step: int, count: int) -> None:
    held = data.draw(some(step))
    seqs = Seqs(step, sorted(held))
    assert seqs.take_first(count) == sorted(held)[:count]
    assert list(seqs) == sorted(held)[count:]


def test_what_is_taken_leaves_what_was_noted_last() -> None:
    seqs = Seqs()
    for seq in (1, 2, 3, 4):
        seqs.note(seq)
    taken = seqs.take(keep_noted=1)
    assert (list(taken), list(seqs)) == ([1, 2, 3], [4])


def test_p8_a_million_that_lie_side_by_side_take_a_few_bytes() -> None:
    seqs = Seqs(2)
    for first in range(1, 2_000_001, 200_000):
        for seq in range(first, first + 200_000, 2):
            seqs.note(seq)
        seqs.fold()
    assert len(seqs) == 1_000_000
    assert sys.getsizeof(seqs._noted) + sys.getsizeof(seqs._ranges) < 1_000


def test_p8_what_has_no_room_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_RANGES", 10)
    seqs = Seqs(1, range(1, 101, 2))
    assert (len(seqs), list(seqs), seqs.unlisted) == (50, list(range(1, 20, 2)), 40)
    more = Seqs()
    more.add(seqs)
    assert (len(more), more.unlisted) == (50, 40)
