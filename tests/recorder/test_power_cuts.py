"""A recorder on a simulated disk, stopped at every call that changes it: a small share of `make prove`'s part."""

from __future__ import annotations

import pytest

from prove.power_cuts import live_some


@pytest.mark.parametrize("seed", range(6))
def test_p9_what_was_acknowledged_survives_every_kill_and_what_was_synced_every_power_cut(seed: int) -> None:
    tally = live_some(f"test {seed}", 0, 8)
    assert tally.failures == []
    assert tally.counts["power cuts"] == tally.counts["kills"] > 300
    assert tally.counts["acknowledged"] > 50
    assert tally.counts["wrong"] == 0
