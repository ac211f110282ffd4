"""The benchmark's report: medians, ratios, and a verdict that cannot be overlooked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import report
from bench.measure import Account
from tests.support.runs import made


def test_a_row_holds_the_median_of_each_peers_rounds() -> None:
    results = made({"wiretape": [900.0, 1000.0, 5000.0], "mockttp": [100.0, 200.0, 10.0]})
    (row,) = report.rows(results)
    assert row.medians == {"wiretape": 1000.0, "mockttp": 100.0}


def test_ratios_and_goals_come_from_the_medians() -> None:
    text = report.markdown(made({"wiretape": [1000.0], "mockttp": [100.0], "mitmproxy": [51.0]}))
    assert "| HTTP, small GETs, of mockttp (×) | at least 5 | - | 10.00 (10.00 to 10.00) | yes |" in text
    assert "| HTTP, small GETs, of mitmproxy (×) | at least 20 | - | 19.61 (19.61 to 19.61) | no |" in text


def test_json_and_markdown_are_written_side_by_side(tmp_path: Path) -> None:
    results = made({"wiretape": [1000.0], "mockttp": [100.0]})
    text = report.write(results, tmp_path / "results", name="latest")
    assert (tmp_path / "results" / "latest.md").read_text() == text
    document = json.loads((tmp_path / "results" / "latest.json").read_text())
    assert document["medians"]["http"] == {"unit": "/s", "wiretape": 1000.0, "mockttp": 100.0}
    assert document["ratios"]["http"] == {"mockttp": 10.0}
    assert document["goals"][0] == {
        "title": "HTTP, small GETs",
        "unit": "/s",
        "goal": "not less than before",
        "before": None,
        "now": {"median": 1000.0, "low": 1000.0, "high": 1000.0},
        "reached": None,
    }
    assert document["sound"] is True


@pytest.mark.parametrize(
    ("account", "holds"),
    [
        (Account(answered=10, recorded=10, unfinished=0, dropped=0), True),
        (Account(answered=10, recorded=12, unfinished=2, dropped=0), True),
        (Account(answered=10, recorded=9, unfinished=5, dropped=0), False),
        (Account(answered=10, recorded=11, unfinished=0, dropped=0), False),
        (Account(answered=10, recorded=10, unfinished=0, dropped=1), False),
    ],
    ids=["equal", "left in flight", "one lost", "one too many", "dropped"],
)
def test_an_account_holds_only_when_all_that_was_answered_was_recorded(account: Account, holds: bool) -> None:
    results = made({"wiretape": [1000.0]}, account)
    assert account.holds is holds
    assert report.sound(results) is holds
    assert ("NOT ALL" in report.markdown(results)) is not holds


def test_what_could_not_be_measured_is_named_and_makes_the_run_unsound() -> None:
    results = made({"wiretape": [1000.0]}, failures={"mockttp": "node and npm are not installed"})
    assert not report.sound(results)
    assert "- mockttp: node and npm are not installed" in report.markdown(results)
