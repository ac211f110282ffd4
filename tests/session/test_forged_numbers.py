"""Logs whose heads give numbers that have no place in 64 bits with a sign: each was found by the proof's fuzz part."""

from __future__ import annotations

from pathlib import Path

import pytest

from prove.fuzz import Case


@pytest.mark.parametrize("number", [628, 1413, 3188, 4947, 8136, 10938, 14677, 15574])
def test_p4_forged_numbers_of_streams_segments_and_exchanges_are_read_like_any_damage(
    number: int, tmp_path: Path
) -> None:
    """The index met an error of SQLite, or was begun anew without end where a segment's number was below nought."""
    assert Case(f"reliable/{number}").run(tmp_path) == []


def test_p7_when_a_recording_ended_does_not_depend_on_how_much_was_read_at_once(tmp_path: Path) -> None:
    """An exchange, and in the same reading a seal whose time means nothing: the exchange's time was left out."""
    assert Case("reliable/250").run(tmp_path) == []
