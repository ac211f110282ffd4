"""The side by side: every peer that is there is asked, and gives our answers."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from bench.beside.__main__ import measure, table


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_the_method_of_proxy_mcp_gives_our_answers_to_the_same_questions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.beside.__main__._CALLS", {"wiretape": 2, "proxy-mcp": 1})
    result = measure(tmp_path, 150, only=["proxy-mcp"])
    assert result["wrong"] == {"wiretape": [], "proxy-mcp": []}
    assert result["left"] == {}
    result["command"] = "test"
    assert "| timeline |" in table(result)


def test_a_wrong_answer_has_no_time_in_the_table() -> None:
    times = {"status": 1.0, "url": 1.0, "one": 1.0, "text": 1.0, "overview": 1.0, "timeline": 1.0, "endpoints": 1.0}
    result = {
        "command": "test",
        "date": "2026-11-27",
        "exchanges": 1,
        "textBytes": 1,
        "times": {"wiretape": times, "other": times},
        "wrong": {"wiretape": [], "other": ["url"]},
        "left": {"third": "it is not installed"},
    }
    page = table(result)
    assert "| substring in URLs, newest page | 1.0 | another answer |" in page
    assert "third was left out: it is not installed" in page
