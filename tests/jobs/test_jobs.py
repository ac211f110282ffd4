"""The twelve jobs on recordings, as a model does them: the right answer, in so few calls and tokens.

Figures are those of the ideal answers, in tokens (bytes of the text block / 4); an answer may cost 1.3 times as much. A
test that fails because an answer has grown is doing its work: make the answer smaller, not the ceiling higher.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import pytest

from tests.jobs.asking import ERAS, FACTOR, Answer, Asker, ask
from tests.jobs.recordings import MARK
from tests.jobs.shop import DUE, EMAIL, NET, PASSWORD, SAID, SHIPPING, WRONG

Job = Callable[[Asker], Awaitable[list[Answer]]]


def calls(*asked: tuple[str, dict[str, Any]]) -> Job:
    """Return a job that is done by calling some tools."""

    async def job(call: Asker) -> list[Answer]:
        return [await call(tool, **arguments) for tool, arguments in asked]

    return job


BODY: Final = 82
"""Tokens of the request's body within the curl command: the ideal answer writes it as ``{…}``, which cannot be run."""

JOBS: Final[dict[str, tuple[Job, int]]] = {
    "why": (calls(("proxy_explain_exchange", {"exchange": "bad:31"})), 153),
    "why, from the beginning": (
        calls(("proxy_session_overview", {"session_id": "bad"}), ("proxy_explain_exchange", {"exchange": "bad:31"})),
        400,
    ),
    "origin": (calls(("proxy_trace_value", {"exchange": "bad:31", "at": "request.header.X-Csrf-Token"})), 126),
    "no origin": (calls(("proxy_trace_value", {"value": str(WRONG), "session_id": "bad"})), 78),
    "compare": (calls(("proxy_compare", {"a": "good", "b": "bad", "noise_from": ["good-run"]})), 153),
    "since": (calls(("proxy_list_traffic", {"session_id": "bad", "since": MARK})), 83),
    "har": (calls(("proxy_export", {"what": "har", "session_id": "bad"})), 89),
    "curl": (calls(("proxy_export", {"what": "curl", "exchange": "bad:31"})), 136 + BODY),
    "crash": (calls(("proxy_session_recover", {"session_id": "crash"})), 117),
    "overview": (calls(("proxy_session_overview", {"session_id": "big"})), 848),
    "llm": (calls(("proxy_llm_calls", {"exchange": "bad:20"})), 216),
    "llm, the list": (calls(("proxy_llm_calls", {"session_id": "bad"})), 61),
    "field": (
        calls(("proxy_read_body", {"exchange": "bad:8", "path": "/data/*[id=p_0270]/variants/2/attributes"})),
        59,
    ),
    "shape": (calls(("proxy_read_body", {"exchange": "bad:8", "view": "shape"})), 139),
    "secrets": (calls(("proxy_find_secrets", {"session_id": "bad"})), 406),
    "openapi": (calls(("proxy_export", {"what": "openapi", "session_id": "good,bad"})), 310),
}
"""What is asked for each job, and what the ideal answers to it cost together."""


@pytest.fixture(scope="module", params=ERAS)
def done(request: pytest.FixtureRequest, recordings: Path) -> dict[str, list[Answer]]:
    """All jobs, done in one conversation of each era."""

    async def conversation(call: Asker) -> dict[str, list[Answer]]:
        return {name: await job(call) for name, (job, _) in JOBS.items()}

    return ask(recordings, request.param, conversation)


@pytest.mark.parametrize("name", JOBS)
def test_a_job_costs_hardly_more_than_the_ideal_answer(done: dict[str, list[Answer]], name: str) -> None:
    _, ideal = JOBS[name]
    cost = sum(answer.tokens for answer in done[name])
    assert cost <= ideal * FACTOR, "\n".join(answer.text for answer in done[name])


def test_p18_no_answer_shows_a_secret(done: dict[str, list[Answer]]) -> None:
    for name, answers in done.items():
        for answer in answers:
            assert PASSWORD not in answer.text, name
            assert "eyJhbGci" not in answer.text, name


def one(done: dict[str, list[Answer]], name: str) -> dict[str, Any]:
    return done[name][-1].value


def test_1_the_wrong_amount_is_named_with_where_it_may_come_from(done: dict[str, list[Answer]]) -> None:
    found = one(done, "why")
    assert (found["exchange"], found["op"], found["statusCode"]) == ("bad:31", "POST /api/v2/checkout", 422)
    assert found["problem"]["errors"][0]["code"] == "amount_mismatch"
    (blamed,) = found["blamed"]
    assert (blamed["pointer"], blamed["sent"], blamed["seenBefore"]) == ("/payment/amount", WRONG, False)
    assert blamed["near"] == [f"22:/data/totals/net {2 * NET} + 27:/data/cost {SHIPPING}"]
    other = found["otherOutcomes"][0]
    assert (other["exchange"], other["status"]) == ("good:31", 201)
    assert other["differs"] == [["/payment/amount", DUE, WRONG]]
    assert "29: nothing recorded after" in found["missing"]
    overview = done["why, from the beginning"][0].value
    assert overview["errors"]["rows"][-1][-2:] == [31, "Validation failed: /payment/amount amount_mismatch"]


def test_2_a_token_is_followed_to_the_cookie_that_holds_it_in_another_encoding(done: dict[str, list[Answer]]) -> None:
    found = one(done, "origin")
    origin = found["origin"]
    assert (origin["seq"], origin["where"], origin["encoding"], origin["op"]) == (
        5,
        "response.cookie.csrf_token",
        "percent",
        "POST /auth/login",
    )
    carried = {row["where"]: row["seqs"] for row in found["carried"]}
    assert carried == {"request.cookie.csrf_token": "6-28,30-32", "request.header.X-Csrf-Token": "21,22,25,31"}
    assert not found["complete"]
    assert "29" in found["missing"]


def test_2_a_value_that_no_answer_gave_is_said_to_be_the_clients_own(done: dict[str, list[Answer]]) -> None:
    found = one(done, "no origin")
    assert "origin" not in found
    assert (found["firstSent"]["seq"], found["firstSent"]["where"]) == (31, "request.body/payment/amount")
    assert found["near"] == [f"22:/data/totals/net {2 * NET} + 27:/data/cost {SHIPPING}"]
    assert found["note"] == "No searched answer before seq 31 holds it."


def test_3_two_runs_differ_where_the_cause_is_and_nowhere_else(done: dict[str, list[Answer]]) -> None:
    found = one(done, "compare")
    first = found["first"]
    assert (found["verdict"], first["a"], first["b"], first["status"]) == ("differs", 31, 31, [201, 422])
    assert first["request"] == [["/payment/amount", DUE, WRONG]]
    assert "amount_mismatch" in first["response"]["errors"][0]
    then = found["then"]
    assert [(row.get("onlyA"), row.get("a"), row.get("b")) for row in then] == [(32, None, None), (None, 33, 32)]
    assert then[1]["request"] == [["/event", "done", "checkout_failed"]]
    assert found["same"] == 30
    assert found["ignored"]["learnedFrom"] == ["good-run"]


def test_4_what_follows_a_mark_is_listed(done: dict[str, list[Answer]]) -> None:
    found = one(done, "since")
    assert found["origin"] == "https://localhost:29443"
    at = {name: number for number, name in enumerate(found["columns"])}
    assert [[row[at[name]] for name in ("seq", "method", "path", "status")] for row in found["rows"]] == [
        [30, "POST", "/telemetry", 204],
        [31, "POST", "/api/v2/checkout", 422],
        [32, "POST", "/telemetry", 204],
    ]


def test_5_a_har_is_written_without_secrets_and_looked_through_again(done: dict[str, list[Answer]]) -> None:
    found = one(done, "har")
    text = Path(found["file"]).read_text()
    assert (found["format"], found["exchanges"], found["bytes"]) == ("har", 32, len(text.encode()))
    assert PASSWORD not in text
    assert EMAIL not in text
    assert found["redacted"]["kinds"]["password"] >= 1
    assert found["redacted"]["places"] > found["redacted"]["values"] > 5
    assert found["check"] == "no secret found in a second scan of the file"
    assert [row["seq"] for row in found["left"]] == [29]


def test_5_a_request_becomes_a_command_whose_secrets_are_variables(done: dict[str, list[Answer]]) -> None:
    found = one(done, "curl")
    assert found["text"].startswith("curl ")
    assert "https://localhost:29443/api/v2/checkout" in found["text"]
    assert str(WRONG) in found["text"]
    variables = Path(found["envFile"]).read_text()
    assert all(f"{name}=" in variables for name in found["env"])
    assert any("seq 5" in origin for origin in found["env"].values())


def test_6_after_a_kill_the_exchange_that_was_cut_is_named(done: dict[str, list[Answer]]) -> None:
    (found,) = one(done, "crash")["recovered"]
    assert (found["ended"], found["exchanges"], found["interrupted"], found["lostExchanges"]) == ("killed", 27, 1, 0)
    ((seq, operation, reached),) = found["interruptedExchanges"]["rows"]
    assert (seq, operation) == (27, "GET /api/v2/shipping/quote")
    assert "no answer came" in reached
    assert found["resume"] == 'proxy_start {"port":38395}'


def test_7_an_unfamiliar_session_is_understood_at_once(done: dict[str, list[Answer]]) -> None:
    found = one(done, "overview")
    assert (found["exchanges"], found["complete"], found["states"]) == (2000, True, {"complete": 2000})
    assert sum(found["statuses"].values()) == 2000
    assert [row[0] for row in found["hosts"]["rows"]][:2] == ["api.acme.example", "cdn.acme.example"]
    assert len(found["hosts"]["rows"]) == 10
    endpoints = [row[0] for row in found["endpoints"]["rows"]]
    assert {"GET /v3/users/{id}/orders", "PATCH /v3/users/{id}/settings", "POST /graphql#Feed"} <= set(endpoints)
    assert all("-" not in one for one in endpoints), "ids are folded"
    errors = {(row[0], row[2]): row for row in found["errors"]["rows"]}
    assert errors["PATCH /v3/users/{id}/settings", 409][-1] == "Version conflict"
    assert any(row[2] == "200+errors" and row[-1] == "Field deprecated" for row in errors.values())
    assert found["slowest"]["rows"][0][2] == "GET /v3/users/{id}/orders"


def test_8_a_stream_is_put_together(done: dict[str, list[Answer]]) -> None:
    found = one(done, "llm")
    assert (found["api"], found["model"], found["finish"]) == ("openai.chat", "gpt-shop-2026-08-01", "tool_calls")
    assert found["usage"]["input"] == 812
    assert found["usage"]["cached"] == 640
    assert found["ms"]["firstToken"] == 7
    assert found["output"]["text"] == SAID
    (tool,) = found["output"]["toolCalls"]
    assert (tool["name"], tool["arguments"]) == ("add_to_cart", '{"productId":"p_0151","quantity":1}')
    assert [message["role"] for message in found["messages"]] == ["system", "user"]
    listed = one(done, "llm, the list")
    row = dict(zip(listed["calls"]["columns"], listed["calls"]["rows"][0], strict=False))
    assert (row["seq"], row["in"], row["cached"]) == (20, 812, 640)


def test_9_a_field_of_a_large_body_is_given_alone(done: dict[str, list[Answer]]) -> None:
    found = one(done, "field")
    (match,) = found["matches"]
    assert match["path"] == "/data/120/variants/2/attributes"
    assert match["value"].keys() == {"weightG", "madeIn", "labels"}
    shape = one(done, "shape")["shape"]
    assert "data:[150 x {" in shape
    assert "gross:int" in shape


def test_10_secrets_are_listed_by_kind_and_place_without_their_values(done: dict[str, list[Answer]]) -> None:
    found = one(done, "secrets")
    kinds = {row["kind"] for row in found["values"]}
    assert kinds == {"csrf", "email", "jwt", "session", "password", "refresh-token", "card-token"}
    assert found["session"] == "bad"
    (mail,) = [row for row in found["values"] if row["kind"] == "email" and row["exchanges"] > 20]
    assert (mail["exchanges"], mail["first"]) == (27, 5), "most of them in the claims of the JWT"
    assert [(row["domain"], row["distinct"]) for row in found["grouped"]] == [("marketplace.example", 17)]
    assert EMAIL not in done["secrets"][0].text
    assert any(29 in row["seq"] for row in found["notSearched"])


def test_12_an_api_is_described(done: dict[str, list[Answer]]) -> None:
    found = one(done, "openapi")
    assert found["openapi"].startswith("3.1")
    operations = {row[0]: row for row in found["operations"]["rows"]}
    assert operations["POST /api/v2/checkout"][1:3] == [2, [201, 422]]
    document = json.loads(Path(found["file"]).read_text())
    assert document["openapi"] == found["openapi"]
    assert {"Totals", "ShippingAddress"} <= document["components"]["schemas"].keys()
    assert len(json.dumps(document, separators=(",", ":"))) <= 13_288 * FACTOR
    assert found["bytes"] < 30_000, "it is laid out in few lines"
