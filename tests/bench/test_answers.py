"""The benchmark of answers: the session that it makes, and that every question of it is answered."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.answers.__main__ import measure, table
from bench.answers.session import RARE, make
from wiretape.session.session import Session


def test_the_same_session_is_made_every_time_and_is_sound(tmp_path: Path) -> None:
    first, second = make(tmp_path / "a", 300), make(tmp_path / "b", 300)
    assert (first.log_bytes, first.text_bytes) == (second.log_bytes, second.text_bytes)
    with Session(first.session.path, first.session.session_id) as session:
        assert session.verify(deep=True).state == "clean"
        found = session.query()
        assert found.matched == 300
        assert {item.method for item in found.items} >= {"GET", "POST"}


def test_every_question_is_asked_and_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.answers.__main__.CALLS", 2)
    result = measure(tmp_path, 200, substrings=True)
    result["command"] = "test"
    assert all(question["p95"] >= question["p50"] > 0 for question in result["questions"])
    assert result["substringBytes"] > 0
    page = table(result)
    assert result["carried"]["export"]["rate"] > 0
    assert result["carried"]["import"]["mib"] > 0
    assert "| index following, exchanges a second of one core |" in page
    assert "| HAR export of 200, exchanges a second |" in page
    assert all(question["title"] in page for question in result["questions"])
    assert RARE not in page
