"""Sessions on a terminal."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec import UNSET

from wiretape.cli.output import local_time, width_of
from wiretape.cli.session_lines import session_lines, span_text, when_text
from wiretape.model import SessionSummary

NOW = datetime(2026, 11, 27, 18, 0, tzinfo=UTC).astimezone()
START = int(datetime(2026, 11, 27, 10, 44, tzinfo=UTC).timestamp() * 1000)


def session(**changes: Any) -> SessionSummary:
    fields: dict[str, Any] = {
        "session_id": "20261127T104436-f4ed15",
        "name": "bad",
        "status": "stopped",
        "recovery_state": "clean",
        "exchanges": 32,
        "interrupted": 0,
        "bytes": 289_500,
        "started_at": START,
        "ended_at": START + 3_400,
        "errors": 3,
    }
    return SessionSummary(**fields | changes)


def lines(sessions: list[SessionSummary], width: int | None = 80) -> list[str]:
    return session_lines(sessions, width=width, now=NOW, paint=lambda text, _: text)


def test_columns_that_say_nothing_are_not_there_and_the_id_is_last() -> None:
    heading, row = lines([session()])
    assert heading.split() == ["name", "when", "took", "exchanges", "errors", "size", "id"]
    clock = f"{local_time(START):%H:%M}"
    assert row.split() == ["bad", "today", clock, "3.4s", "32", "3", "289.5", "kB", "20261127T104436-f4ed15"]


def test_what_is_not_as_usual_gets_a_column() -> None:
    heading = lines([session(), session(status="active", recovery_state="recovered", interrupted=1, pinned=True)], 200)[
        0
    ]
    assert heading.split()[6:] == ["status", "recovery", "cut", "pinned", "id"]


def test_columns_give_way_to_names_that_would_be_cut_beyond_reading() -> None:
    heading, row = lines([session(name="checkout-good-2", recovery_state="recovered", interrupted=1)])
    assert heading.split() == ["name", "when", "exchanges", "errors", "cut", "id"]
    assert row.startswith("checkout-good-2  today")


@pytest.mark.parametrize("width", [80, 100, 132])
def test_no_line_is_wider_than_the_terminal_and_no_id_is_cut(width: int) -> None:
    shown = lines(
        [
            session(name="imported big.har " * 9),
            session(status="active", ended_at=None, interrupted=7, exchanges=10**7),
        ],
        width,
    )
    assert all(width_of(line) <= width for line in shown)
    assert all(line.endswith("20261127T104436-f4ed15") for line in shown[1:])


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [(3_400, "3.4s"), (42_000, "42s"), (90_000, "1m30s"), (3_723_000, "1h02m"), (90_000_000, "1d01h"), (-5, "0.0s")],
)
def test_a_span_has_the_units_that_matter(milliseconds: int, text: str) -> None:
    assert span_text(session(ended_at=START + milliseconds)) == text


def test_when_is_as_short_as_the_distance_allows() -> None:
    day = 24 * 3_600_000
    assert when_text(START, NOW).startswith("today ")
    assert when_text(START - 3 * day, NOW).startswith("24 Nov ")
    assert when_text(START - 400 * day, NOW).startswith("2025-10-")
    assert when_text(10**18, NOW) == f"@{10**18}"


def test_errors_that_nobody_has_counted_are_no_zero() -> None:
    assert lines([session(errors=UNSET)])[1].split()[5] == "?"


def test_at_80_columns_every_column_is_there_beside_names_of_eight_letters() -> None:
    shown = lines([session(name="good-run", exchanges=1_234_567, errors=12_345)])
    assert shown[0].split() == ["name", "when", "took", "exchanges", "errors", "size", "id"]
    assert all(width_of(line) <= 80 for line in shown)
