"""A disk that is nearly full, and a recording that has stopped, are told in sentences."""

from __future__ import annotations

from pathlib import Path

import pytest

from wiretape.daemon.space import Space, space, warnings

GB = 1 << 30


@pytest.mark.parametrize(
    ("free", "total", "nearly"),
    [
        (0, 100 * GB, True),
        (GB - 1, 4 * GB, True),
        (GB, 4 * GB, False),
        (4 * GB, 100 * GB, True),
        (5 * GB, 99 * GB, False),
    ],
)
def test_p10_a_disk_is_nearly_full_below_a_gibibyte_or_a_twentieth(free: int, total: int, nearly: bool) -> None:
    disk = Space(free, total)
    assert disk.nearly_full is nearly
    assert bool(warnings(disk, dropped=0, blocked=False, refuses=False)) is nearly


def test_p10_what_happens_meanwhile_is_said() -> None:
    said = warnings(Space(50_000_000, GB), dropped=3, blocked=True, refuses=False)
    assert "50 MB of 1,074 MB are free" in said[0]
    assert "passes on unrecorded" in said[1]
    assert said[2].startswith("3 exchanges")
    assert "are refused" in warnings(None, dropped=0, blocked=True, refuses=True)[0]


def test_the_disk_of_a_folder_is_measured(tmp_path: Path) -> None:
    found = space(tmp_path)
    assert found is not None
    assert 0 < found.free <= found.total
    assert space(tmp_path / "absent") is None
