"""P10: a disk that is full or fails costs what could not be written, counted exactly, and nothing else."""

from __future__ import annotations

import resource
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from prove.faulty_round import FullDisk, Limit, Round, run_round, small_disk
from prove.one_round import Stage, open_stage
from prove.real_faults import fail_recording


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with open_stage(tmp_path) as made:
        yield made


@pytest.mark.parametrize(("refuses", "at_the_end"), [(False, True), (True, False)])
def test_p10_a_full_disk_in_reality(stage: Stage, tmp_path: Path, refuses: bool, at_the_end: bool) -> None:
    with small_disk(tmp_path / "disk", "16m") as disk:
        if disk is None:  # nobody may mount here: files that may not grow are as good
            fault, root = Limit(resource.RLIMIT_FSIZE, lambda _: 100_000), tmp_path / "root"
            result = run_round(stage, Round(name="limit", root=root, fault=fault, requests=24))
        else:
            how = Round(
                name="full",
                root=disk / "root",
                fault=FullDisk(),
                refuses=refuses,
                at_the_end=at_the_end,
                requests=24,
            )
            result = run_round(stage, how)
    assert result["wrong"] == []
    assert result["lost"] == 0
    assert result["dropped"] > 0
    assert result["answered"] > 48


def test_p10_writes_that_are_short_in_reality(stage: Stage, tmp_path: Path) -> None:
    fault = Limit(resource.RLIMIT_FSIZE, lambda _: 200_000)
    result = run_round(stage, Round(name="limit", root=tmp_path / "root", fault=fault, requests=24))
    assert result["wrong"] == []
    assert result["dropped"] > 0


@pytest.mark.parametrize(
    ("call", "error", "number"),
    [
        ("fdatasync", "EIO", 2),
        ("write", "ENOSPC", 5),
        ("write", "EIO", 5),
        ("writev", "ENOSPC", 3),
        ("writev", "EIO", 3),
    ],
)
def test_p10_a_call_that_fails_costs_nothing_that_is_not_counted(
    tmp_path: Path, call: str, error: str, number: int
) -> None:
    counts: Counter[str] = Counter()
    assert fail_recording(tmp_path, call, error, number, counts) == ""
    assert (counts["calls failed"], counts["lost"]) == (1, 0)
