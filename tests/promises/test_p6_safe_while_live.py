"""P6: checking a log while it is written finds no false damage and changes nothing; a second writer is refused."""

from __future__ import annotations

from pathlib import Path

from prove.live import check_often, second_writers
from prove.part import Task


def test_p6_checks_of_a_log_that_grows_find_no_damage_and_change_nothing(tmp_path: Path) -> None:
    task = Task(folder=tmp_path, seed="", effort=1.0, report=lambda *_: None)
    assert check_often(tmp_path, 150, task) == (0, 0, [])


def test_p6_a_second_writer_is_refused_with_the_holders_pid(tmp_path: Path) -> None:
    assert second_writers(tmp_path, 30) == (30, [])
