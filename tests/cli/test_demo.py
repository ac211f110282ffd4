"""The demonstration and its account: it must hold, and it must be able to fail."""

from __future__ import annotations

import base64
import json
import random
from pathlib import Path
from typing import Any

import pytest

from tests.cli.support import wiretape_json
from wiretape.cli.demo.account import Witness, make_account, read_witness
from wiretape.cli.demo.plan import Plan, draw, parse_path
from wiretape.cli.demo.show import show

PLAN = Plan(name="a-1", method="POST", up=30, down=2000, framing="chunked", pace=5)


def line(plan: Plan, seq: int = 1, **changes: Any) -> dict[str, Any]:
    """An exchange of the session as `wiretape cat` prints it."""
    exchange = {
        "seq": seq,
        "state": "complete",
        "request": {
            "url": f"http://127.0.0.1:1{plan.path}",
            "bodyBase64": base64.b64encode(plan.request_body).decode(),
        },
        "response": {"statusCode": 200, "bodyBase64": base64.b64encode(plan.response_body).decode()},
    }
    return exchange | changes


def witness(*plans: Plan, reached: tuple[Plan, ...] = ()) -> Witness:
    paths = frozenset(plan.path for plan in plans)
    return Witness(
        sent=paths | {plan.path for plan in reached},
        answered=paths,
        refused=frozenset(),
        wrong=frozenset(),
        reached=paths | {plan.path for plan in reached},
    )


def encoded(*exchanges: dict[str, Any]) -> list[bytes]:
    return [json.dumps(exchange).encode() for exchange in exchanges]


@pytest.mark.parametrize("seed", range(20))
def test_a_path_says_everything_about_its_request(seed: int) -> None:
    plan = draw(f"t-{seed}", random.Random(seed), rough=True)
    read = parse_path(f"https://localhost:1{plan.path}")
    assert (read.path, read.request_body, read.response_body) == (plan.path, plan.request_body, plan.response_body)


def test_a_foreign_path_is_no_plan() -> None:
    with pytest.raises(ValueError, match="lacks"):
        parse_path("/x?method=GET")


def test_an_account_without_fault_holds() -> None:
    account = make_account(witness(PLAN), encoded(line(PLAN)))
    assert account.holds
    assert account.to_json()["complete"] == 1


@pytest.mark.parametrize(
    ("exchanges", "fault"),
    [
        ([], "not in the session"),
        ([line(PLAN, state="interrupted")], "state interrupted"),
        ([line(PLAN, response=None)], "no response"),
        ([line(PLAN, response={"statusCode": 502, "body": ""})], "status 502"),
        ([line(PLAN, response={"statusCode": 200, "body": "x"})], "other bytes in the response's body"),
        (
            [line(PLAN, request={"url": f"http://h:1{PLAN.path}", "body": "x" * 30})],
            "other bytes in the request's body",
        ),
    ],
)
def test_an_answer_that_is_not_recorded_as_it_was_is_lost(exchanges: list[dict[str, Any]], fault: str) -> None:
    account = make_account(witness(PLAN), encoded(*exchanges))
    assert not account.holds
    assert account.lost == {PLAN.path: fault}


def test_a_request_that_a_server_saw_and_the_session_does_not_have_is_a_fault() -> None:
    other = Plan(name="a-2", method="GET", up=0, down=1)
    account = make_account(witness(PLAN, reached=(other,)), encoded(line(PLAN)))
    assert not account.holds
    assert account.unseen == [other.path]


@pytest.mark.parametrize("second", [line(PLAN, 2), line(Plan(name="b", method="GET", up=0, down=0), 1)])
def test_an_exchange_or_a_number_that_is_there_twice_is_a_fault(second: dict[str, Any]) -> None:
    account = make_account(witness(PLAN), encoded(line(PLAN), second))
    assert not account.holds
    assert account.twice


def test_the_witness_is_what_client_and_server_wrote_down(tmp_path: Path) -> None:
    client, origin = tmp_path / "client", tmp_path / "origin"
    client.write_text("sent /a\nsent /b\nanswered /a\nbroken /b\n")
    origin.write_text("/old\n/a\n")
    seen = read_witness(client, origin, start=5)
    assert seen.sent == {"/a", "/b"}
    assert seen.answered == seen.reached == {"/a"}


def test_the_demonstration_loses_nothing_and_keeps_its_session_where_it_is_told_to(root: Path) -> None:
    result = wiretape_json("demo", "--root", root)
    assert result["holds"] is True
    assert result["lost"] == result["unseen"] == result["twice"] == result["wrong"] == 0
    assert result["answered"] > 1000
    assert result["recorded"] >= result["answered"]
    assert wiretape_json("query", result["sessionId"], "--limit", "1", "--root", root)["matched"] == result["recorded"]


def test_for_people_the_demonstration_prints_the_account(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("wiretape.cli.demo.show.BEFORE_FIRST", 60)
    monkeypatch.setattr("wiretape.cli.demo.show.BEFORE_SECOND", 60)
    assert show(None, quiet=False)["holds"] is True
    shown = capsys.readouterr().out
    assert "SIGKILL to the recorder" in shown
    rows = {line.rsplit(None, 1)[0].strip(): line.rsplit(None, 1)[1] for line in shown.splitlines() if line[:2] == "  "}
    assert rows["lost"] == "0"
    assert int(rows["answered"]) > 100
