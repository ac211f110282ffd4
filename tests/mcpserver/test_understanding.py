"""Tools that answer questions about a recording, as a model calls them: small, complete, without secrets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from mcp.client import Client

from harness.logs import Recording, new_session
from tests.mcpserver.conftest import InProcess

JSON = "Content-Type: application/json\r\n"
TOKEN = "abcdefghijklmnop0123456789ABCDEF"


def shop(root: Path, name: str, amount: int) -> None:
    recording = Recording(new_session(root, name))
    seq = recording.open("https://shop.example/login", method="POST")
    recording.done(seq, json.dumps({"accessToken": TOKEN}).encode(), headers=JSON)
    headers = f"Authorization: Bearer {TOKEN}\r\n"
    seq = recording.open("https://shop.example/cart/17", headers=headers)
    recording.done(seq, b'{"net":28824,"gross":34300}', headers=JSON)
    recording.done(recording.open("https://shop.example/quote", headers=headers), b'{"cost":490}', headers=JSON)
    body = json.dumps({"payment": {"amount": amount}}).encode()
    seq = recording.open("https://shop.example/checkout", method="POST", headers=headers + JSON, body=body)
    wrong = {
        "title": "Validation failed",
        "errors": [{"pointer": "/payment/amount", "code": "mismatch", "detail": "no"}],
    }
    well = {"state": "confirmed"}
    status = 201 if amount == 34_790 else 422
    recording.done(
        seq, json.dumps(well if status == 201 else wrong).encode(), status=status, headers=JSON, request=body
    )
    recording.close()


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What each tool said in one conversation, by what was asked."""
    root = tmp_path_factory.mktemp("understood") / "root"
    shop(root, "good", 34_790)
    shop(root, "bad", 29_314)
    calls = {
        "overview": ("proxy_session_overview", {"session_id": "bad"}),
        "filtered": ("proxy_session_overview", {"session_id": "bad", "filter": "~c 4xx", "since": "2"}),
        "compare": ("proxy_compare", {"a": "good", "b": "bad"}),
        "compare some": ("proxy_compare", {"a": "good", "b": "bad", "filter": "~m GET"}),
        "explain": ("proxy_explain_exchange", {"exchange": "bad:4"}),
        "trace": ("proxy_trace_value", {"exchange": "bad:4", "at": "Authorization"}),
        "trace a number": ("proxy_trace_value", {"value": "28824", "session_id": "bad"}),
        "no session": ("proxy_compare", {"a": "good", "b": "worse"}),
        "no place": ("proxy_trace_value", {"exchange": "bad:4", "at": "X-Nothing"}),
        "nothing": ("proxy_trace_value", {}),
        "no exchange": ("proxy_explain_exchange", {"exchange": "bad"}),
    }

    async def ask(client: Client) -> dict[str, Any]:
        found = {}
        for name, (tool, arguments) in calls.items():
            answer = await client.call_tool(tool, arguments)
            text = answer.content[0].text  # type: ignore[union-attr]
            found[name] = json.loads(text) | {"isError": bool(answer.is_error), "text": text}
        return found

    return InProcess(root).run(ask)


def test_the_overview_names_the_error_with_its_message(answers: dict[str, Any]) -> None:
    found = answers["overview"]
    assert found["status"] == "success"
    assert found["errors"]["rows"] == [["POST /checkout", 422, 1, 4, "Validation failed: /payment/amount mismatch"]]
    assert len(found["text"]) < 900
    assert answers["filtered"]["exchanges"] == 1


def test_two_runs_are_compared_by_their_cause(answers: dict[str, Any]) -> None:
    found = answers["compare"]
    assert found["first"]["request"] == [["/payment/amount", 34_790, 29_314]]
    assert found["first"]["response"] == {"errors": ["/payment/amount mismatch: no"]}
    assert (found["same"], found["complete"]) == (3, True)
    assert answers["compare some"]["verdict"] == "same"


def test_a_failure_is_explained_with_where_the_value_may_come_from(answers: dict[str, Any]) -> None:
    assert (answers["explain"]["status"], answers["explain"]["statusCode"]) == ("success", 422)
    found = answers["explain"]
    assert found["blamed"][0]["near"] == ["2:/net 28824 + 3:/cost 490"]
    assert found["otherOutcomes"][0]["exchange"] == "good:4"


def test_p18_a_secret_is_traced_without_being_shown(answers: dict[str, Any]) -> None:
    found = answers["trace"]
    assert found["origin"]["where"] == "response.body/accessToken"
    assert found["carried"] == [{"where": "request.header.Authorization", "seqs": "2-4"}]
    assert found["value"].startswith("{{")
    assert all(TOKEN not in one["text"] and TOKEN[:12] not in one["text"] for one in answers.values())
    assert answers["trace a number"]["origin"]["where"] == "response.body/net"


def test_errors_say_what_to_give_instead(answers: dict[str, Any]) -> None:
    for name in ("no session", "no place", "nothing", "no exchange"):
        found = answers[name]
        assert found["isError"], name
        assert found["hint"], name
    assert "SESSION:SEQ" in answers["no exchange"]["hint"]
