"""Lists on a terminal: a line an exchange at any width, and what is the same said once."""

from __future__ import annotations

from typing import Any

import pytest

from wiretape.cli.exchange_lines import exchange_lines, one_line, status_colour, status_text, took_text
from wiretape.cli.output import shorten, width_of
from wiretape.model import ExchangeSummary

DAY = 24 * 3_600_000


def item(seq: int = 1, url: str = "https://localhost:29443/api/v2/checkout", **changes: Any) -> ExchangeSummary:
    fields: dict[str, Any] = {
        "seq": seq,
        "exchange_id": f"x.{seq}",
        "timestamp": 1_800_000_000_000 + seq,
        "method": "GET",
        "url": url,
        "status_code": 200,
        "state": "complete",
        "duration": 1.4,
        "request_body_size": 0,
        "response_body_size": 251,
        "response_content_type": None,
    }
    return ExchangeSummary(**fields | changes)


def plain(text: str, _colour: str) -> str:
    return text


def lines(items: list[ExchangeSummary], width: int | None) -> list[str]:
    return exchange_lines(items, width=width, paint=plain)


@pytest.mark.parametrize("width", [60, 80, 120, 200])
@pytest.mark.parametrize(
    "items",
    [
        [item()],
        [item(n, f"https://localhost:29443/{'x' * n}") for n in range(1, 300)],
        [item(1, "https://a.test/" + "路" * 300), item(2, "http://b.test/" + "é" * 300)],
        [item(123_456_789, method="PROPFIND" * 5, duration=1e12, response_body_size=10**15)],
        [item(1), item(2, timestamp=1_800_000_000_000 + 3 * DAY)],
        [item(1, timestamp=10**17)],
        [item(1, "x\x1b[2J\n" * 50)],
    ],
)
def test_no_line_is_wider_than_the_terminal_or_takes_two(width: int, items: list[ExchangeSummary]) -> None:
    shown = lines(items, width)
    assert len(shown) == len(items) + 1
    assert all(width_of(line) <= max(width, 83) and line.isprintable() for line in shown)


def test_at_80_columns_nothing_that_matters_is_lost() -> None:
    shown = lines([item(31, method="POST", status_code=422)], 80)
    assert shown[0].startswith("  seq  time      method          took      body  path on localhost:29443")
    assert shown[1][:5] == "   31"
    assert shown[1].split()[2:] == ["POST", "422", "1", "ms", "251", "B", "/api/v2/checkout"]


def test_the_host_is_said_once_only_where_there_is_one() -> None:
    several = lines([item(1), item(2, "http://other.test/x")], 120)
    assert "host and path" in several[0]
    assert several[2].endswith("other.test/x")


def test_the_date_is_in_the_heading_where_all_share_it_and_in_the_rows_where_not() -> None:
    assert lines([item(1), item(2)], 120)[0].endswith(", 2027-01-15")
    two_days = lines([item(1), item(2, timestamp=1_800_000_000_000 + 3 * DAY)], 120)
    assert "2027" not in two_days[0]
    assert two_days[1].split()[1] == "01-15"


def test_with_full_nothing_is_cut() -> None:
    url = "https://localhost:29443/" + "y" * 500
    assert lines([item(1, url)], None)[1].endswith("/" + "y" * 500)


@pytest.mark.parametrize(
    ("changes", "text", "colour"),
    [
        ({}, "200", "dim"),
        ({"status_code": 301}, "301", "cyan"),
        ({"status_code": 404}, "404", "yellow"),
        ({"status_code": 200, "error_in_body": True}, "200!", "yellow"),
        ({"status_code": 500}, "500", "red"),
        ({"status_code": None, "state": "inFlight"}, "...", "bold"),
        ({"status_code": None, "state": "interrupted"}, "cut", "red"),
        ({"status_code": None, "state": "failed"}, "502*", "red"),
        ({"status_code": None, "state": "failed", "error": "connect-timeout: x"}, "504*", "red"),
        ({"status_code": 200, "state": "aborted"}, "200*", "red"),
    ],
)
def test_a_status_says_how_it_ended(changes: dict[str, Any], text: str, colour: str) -> None:
    assert status_text(item(**changes)) == text
    assert status_colour(item(**changes)) == colour


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [(None, ""), (0, "0 ms"), (1502.4, "1502 ms"), (12_340, "12.3 s"), (7_200_000, "2.0 h"), (1e13, "> 1000 h")],
)
def test_a_duration_takes_eight_characters_at_most(milliseconds: float | None, text: str) -> None:
    assert took_text(milliseconds) == text


def test_a_text_is_cut_in_the_middle() -> None:
    assert shorten("/api/v2/shipping/quote?cart=1&zip=10115", 31) == "/api/v2/shipping/quo…&zip=10115"
    assert shorten("short", 10) == "short"


def test_traffic_as_it_comes_names_its_host_on_one_line() -> None:
    line = one_line(item(7, "https://a.test/" + "z" * 300), width=80, paint=plain)
    assert width_of(line) == 80
    assert "https://a.test/" in line
