"""A session at a glance: the same from the index's counts and from rows, and small."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.logs import Recording, flip_in, new_session, segment
from wiretape.errors import UsageError
from wiretape.log.format import EndState
from wiretape.model import Filter, to_json
from wiretape.secrets.veil import UNVEILED
from wiretape.session.answers.overview import overview, span_text
from wiretape.session.catalogue import Catalogue

JSON = "Content-Type: application/json\r\n"


def shop(root: Path, exchanges: int = 60) -> None:
    """Two hosts; of every ten exchanges one is a 422, one a failed connection, one a GraphQL error, one an image."""
    recording = Recording(new_session(root, "shop"))
    for number in range(exchanges):
        kind = number % 10
        if kind == 0:
            seq = recording.open("https://api.example/v1/checkout", method="POST", body=b"{}")
            body = b'{"title":"Validation failed","errors":[{"pointer":"/amount","code":"mismatch"}]}'
            recording.done(seq, body, status=422, headers=JSON, request=b"{}")
        elif kind == 1:
            seq = recording.open("https://pay.example/charge", method="POST")
            recording.done(seq, status=0, state=EndState.FAILED, error="connection refused", inline=False)
        elif kind == 2:
            seq = recording.open("https://api.example/graphql", method="POST", body=b'{"operationName":"Coupon"}')
            recording.done(seq, b'{"errors":[{"message":"Coupon expired"}]}', headers=JSON)
        elif kind == 3:
            recording.exchange("https://api.example/logo.png", b"x" * 1000)
        else:
            recording.exchange(f"https://api.example/v1/users/{number}/orders", b"y" * 100)
    recording.close()


def seen(root: Path, wanted: Filter | None = None, **wishes: Any) -> dict[str, Any]:
    with Catalogue(root).open("last") as session:
        found: dict[str, Any] = to_json(overview(session, wanted, veil=UNVEILED, **wishes))
        return found


def test_it_names_hosts_endpoints_errors_and_their_messages(root: Path) -> None:
    shop(root)
    found = seen(root)
    assert (found["session"], found["exchanges"], found["complete"]) == ("shop", 60, True)
    assert found["states"] == {"complete": 54, "failed": 6}
    assert found["statuses"] == {"2xx": 48, "4xx": 6, "none": 6}
    assert found["hosts"]["rows"] == [["api.example", 54, 12, 10], ["pay.example", 6, 6, 0]]
    assert found["endpoints"]["columns"] == ["endpoint", "host", "n", "p50ms", "p95ms", "slowestSeq"]
    assert found["endpoints"]["rows"][0] == ["GET /v1/users/{id}/orders", "api.example", 36, 12, 12, 5]
    assert found["endpoints"]["left"] == {"static": 6}
    assert found["errors"]["rows"] == [
        ["POST /v1/checkout", "api.example", 422, 6, 1, "Validation failed: /amount mismatch"],
        ["POST /charge", "pay.example", "failed", 6, 2, "connection refused"],
        ["POST /graphql#Coupon", "api.example", "200+errors", 6, 3, "Coupon expired"],
    ]
    assert found["slowest"]["columns"] == ["seq", "ms", "endpoint"]
    assert "missing" not in found


def test_of_an_error_without_a_message_it_is_said_whether_it_had_a_body(root: Path) -> None:
    recording = Recording(new_session(root, "shop"))
    recording.done(recording.open("https://api.example/bare"), status=404)
    recording.done(recording.open("https://api.example/dull"), b'{"state":3}', status=500, headers=JSON)
    recording.close()
    assert seen(root)["errors"]["rows"] == [
        ["GET /bare", 404, 1, 1, "(no body)"],
        ["GET /dull", 500, 1, 2, "(no reason found in its body)"],
    ]


def test_counts_that_the_index_keeps_say_what_the_rows_say(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shop(root, 200)
    exact = seen(root)
    monkeypatch.setattr("wiretape.session.answers.tally.EXACT", 0)
    kept = seen(root)
    assert kept == exact


def test_a_filter_counts_only_what_it_takes(root: Path) -> None:
    shop(root)
    found = seen(root, Filter(host="pay.example"))
    assert found["exchanges"] == 6
    assert found["endpoints"]["columns"] == ["endpoint", "n", "p50ms", "p95ms", "slowestSeq"], "one host is said once"
    nothing = seen(root, Filter(host="nowhere.example"))
    assert nothing == {"session": "shop", "exchanges": 0, "complete": True}
    with pytest.raises(UsageError):
        seen(root, Filter(status="9"))


def test_paths_can_be_told_apart_and_the_rest_is_counted(root: Path) -> None:
    shop(root)
    found = seen(root, group="path", top=2)
    assert [row[0] for row in found["endpoints"]["rows"]] == ["POST /v1/checkout", "POST /charge"]
    assert found["endpoints"]["left"] == {"endpoints": 37, "exchanges": 42, "static": 6}


def test_p11_an_overview_of_a_damaged_log_says_what_is_missing(root: Path) -> None:
    session = new_session(root)
    recording = Recording(session)
    for number in range(20):
        recording.exchange(f"http://a.example/needle{number}")
    recording.close()
    flip_in(segment(session), b"/needle7 ")
    found = seen(root)
    assert found["complete"] is False
    assert "damaged" in found["missing"]
    assert found["exchanges"] == sum(found["states"].values())


def test_what_runs_and_what_was_interrupted_is_counted(root: Path) -> None:
    recording = Recording(new_session(root))
    recording.exchange()
    recording.open("http://a.example/slow")
    assert seen(root)["states"] == {"complete": 1, "inFlight": 1}
    recording.kill()
    assert seen(root)["states"] == {"complete": 1, "interrupted": 1}


def test_texts_go_through_the_veil(root: Path) -> None:
    class Hiding:
        def header(self, name: str, value: str) -> str:
            return value

        field = header

        def text(self, text: str) -> str:
            return text.replace("Coupon", "{{word:1}}")

    shop(root)
    with Catalogue(root).open("last") as session:
        found = msgspec.json.encode(overview(session, veil=Hiding()))
    assert b"Coupon" not in found
    assert b"{{word:1}} expired" in found


def test_spans_are_written_for_people() -> None:
    spans = {0: "0.0s", 2_700: "2.7s", 1_745_000: "29m05s", 10_920_000: "3h02m", 187_200_000: "2d04h", 59_999: "1m00s"}
    assert {ms: span_text(ms) for ms in spans} == spans


def test_p11_an_upgrade_of_which_nothing_is_recorded_is_named(root: Path) -> None:
    recording = Recording(new_session(root))
    recording.done(recording.open("https://a.example/page"))
    recording.done(recording.open("https://a.example/ws"), b"", status=101, headers="")
    recording.close()
    with Catalogue(root).open("last") as session:
        found = overview(session, veil=UNVEILED)
        assert (found.complete, found.missing) == (False, "2: nothing recorded after the upgrade.")
        assert overview(session, Filter(expression="~u page"), veil=UNVEILED).complete
