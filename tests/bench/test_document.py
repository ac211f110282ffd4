"""The page about speed shows what the kept runs say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import report
from bench.document import PAGE, RESULTS, filled
from tests.support.runs import made

_PAGE = "before\n<!-- run: goals -->\nold figures\n<!-- end -->\nafter\n"


def test_the_page_shows_the_runs_that_it_names() -> None:
    assert filled(PAGE.read_text(), RESULTS) == PAGE.read_text()


def test_a_runs_goals_take_the_place_of_what_stood_there(tmp_path: Path) -> None:
    figures = {"wiretape": [1000.0, 3000.0, 2000.0], "before": [900.0, 900.0, 900.0], "nginx": [4000.0] * 3}
    report.write(made(figures), tmp_path, name="goals")
    page = filled(_PAGE, tmp_path)
    assert "old figures" not in page
    assert page.startswith("before\n<!-- run: goals -->\n")
    assert page.endswith("<!-- end -->\nafter\n")
    assert "| HTTP, small GETs (/s) | not less than before | 900 (900 to 900) | 2,000 (1,000 to 3,000) | yes |" in page
    assert "| HTTP, small GETs, of nginx (%) | at least 50 | 22.5 (22.5 to 22.5) | 50.0 (25.0 to 75.0) | yes |" in page
    assert json.loads((tmp_path / "goals.json").read_text())["command"] in page
    assert filled(page, tmp_path) == page


def test_a_run_that_is_not_kept_cannot_be_shown(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        filled(_PAGE, tmp_path)


def test_runs_of_the_other_benchmarks_have_tables_of_their_own(tmp_path: Path) -> None:
    times = dict.fromkeys(("status", "url", "one", "text", "overview", "timeline", "endpoints"), 2.0)
    run = {
        "command": "python -m bench.beside",
        "date": "2026-11-27",
        "exchanges": 100,
        "textBytes": 1,
        "times": {"wiretape": times, "DuckDB": dict.fromkeys(times, 3.0)},
        "wrong": {"wiretape": [], "DuckDB": []},
        "left": {},
    }
    (tmp_path / "beside.json").write_text(json.dumps(run))
    page = filled("<!-- beside: beside -->\nold\n<!-- end -->\n", tmp_path)
    assert "| overview | 2.0 | 3.0 (1.5) |" in page
    assert filled(page, tmp_path) == page
