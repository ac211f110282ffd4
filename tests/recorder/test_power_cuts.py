"""A recorder on a simulated disk, stopped at every call that changes it: a small share of `make prove`'s part."""

from __future__ import annotations

import pytest

from prove.power_cuts import Life, live_some
from prove.tally import Tally

ONCE_FAILED = ("a/6", "a/25", "a/58", "a/68", "a/121", "a/181", "a/236", "a/242", "a/248", "a/304")


@pytest.mark.parametrize("seed", range(2))
def test_p9_what_was_acknowledged_survives_every_kill_and_what_was_synced_every_power_cut(seed: int) -> None:
    tally = live_some(f"test {seed}", 0, 8)
    assert tally.failures == []
    assert tally.counts["power cuts"] == tally.counts["kills"] > 300
    assert tally.counts["acknowledged"] > 50
    assert tally.counts["wrong"] == 0


@pytest.mark.parametrize("life", ONCE_FAILED)
def test_p9_lives_that_once_lost_something_lose_nothing(life: str) -> None:
    tally = Tally()
    Life(life, tally, calm=True).live()
    assert tally.failures == []
