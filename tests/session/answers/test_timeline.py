"""A session by the minute, what stands out in it, and its totals: what proxy-mcp's resources say."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.logs import WALL_MS, Recording, new_session
from wiretape.log.format import EndState
from wiretape.model import to_json
from wiretape.secrets.veil import UNVEILED
from wiretape.session.answers.timeline import findings, timeline, totals
from wiretape.session.catalogue import Catalogue


@pytest.fixture
def recorded(root: Path) -> Path:
    """130 exchanges, one a second: every tenth a 500, every 13th a refused connection, the last still running."""
    recording = Recording(new_session(root))
    for number in range(1, 130):
        seq = recording.open(f"https://{'pay' if number % 2 else 'api'}.example/users/{number}?page={number}")
        if number % 13 == 0:
            recording.done(seq, status=0, state=EndState.FAILED, error="refused", inline=False)
        else:
            recording.done(seq, b"x", status=500 if number % 10 == 0 else 200)
    recording.open("https://api.example/slow")
    recording.kill()
    return root


def test_exchanges_are_counted_by_the_minute_they_began_in(recorded: Path) -> None:
    with Catalogue(recorded).open("last") as session:
        found = to_json(timeline(session))
    assert (found["sessionId"], found["bucketMs"]) == (session.session_id, 60_000)
    assert [bucket["bucketStart"] for bucket in found["timeline"]] == [WALL_MS, WALL_MS + 60_000, WALL_MS + 120_000]
    assert [bucket["count"] for bucket in found["timeline"]] == [59, 60, 11]
    assert sum(bucket["errorCount"] for bucket in found["timeline"]) == 12 + 9


@pytest.mark.parametrize("exact", [20_000, 0])
def test_failed_connections_count_as_errors_and_queries_are_no_endpoints(
    recorded: Path, exact: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wiretape.session.answers.tally.EXACT", exact)
    with Catalogue(recorded).open("last") as session:
        found = to_json(findings(session, veil=UNVEILED))["findings"]
    assert found["highErrorEndpoints"] == [
        {"endpoint": "GET /users/{id} (api.example)", "errors": 16},
        {"endpoint": "GET /users/{id} (pay.example)", "errors": 5},
    ]
    assert len(found["slowestExchanges"]) == 10
    assert found["slowestExchanges"][0]["url"] == "https://pay.example/users/1?page=1"
    assert found["hostErrorRates"][0] == {"hostname": "api.example", "total": 65, "errors": 16, "errorRate": 0.2462}


def test_totals(recorded: Path) -> None:
    with Catalogue(recorded).open("last") as session:
        found = to_json(totals(session, veil=UNVEILED))
    assert found == {
        "exchanges": 130,
        "avgDurationMs": 12.346,
        "topHostnames": [{"hostname": "api.example", "count": 65}, {"hostname": "pay.example", "count": 65}],
        "statuses": {"200": 108, "500": 12, "none": 9},
        "methods": {"GET": 130},
    }
