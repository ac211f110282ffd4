"""Why an exchange went wrong: what it says, what it blames, and what else speaks for a cause."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from harness.logs import WALL_MS, Recording, new_session
from wiretape.errors import NotFoundError
from wiretape.log.format import EndState
from wiretape.model import to_json
from wiretape.secrets.veil import UNVEILED
from wiretape.session.answers.explain import explain
from wiretape.session.catalogue import Catalogue

JSON = "Content-Type: application/json\r\n"
PROBLEM = {
    "type": "about:blank",
    "title": "Validation failed",
    "status": 422,
    "errors": [{"pointer": "/payment/amount", "code": "amount_mismatch", "detail": "does not match"}],
}


def checkout(root: Path, name: str, amount: int, *, status: int = 422) -> None:
    recording = Recording(new_session(root, name))
    recording.done(
        recording.open("https://shop.example/cart/17"), b'{"totals":{"net":28824,"gross":34300}}', headers=JSON
    )
    recording.done(recording.open("https://shop.example/quote"), b'{"cost":490}', headers=JSON)
    body = json.dumps({"cart": 17, "payment": {"amount": amount}}).encode()
    seq = recording.open("https://shop.example/checkout", method="POST", headers=JSON, body=body)
    answer = json.dumps(PROBLEM if status >= 400 else {"state": "confirmed"}).encode()
    recording.done(seq, answer, status=status, headers="Content-Type: application/problem+json\r\n", request=body)
    recording.close()


def explained(root: Path, name: str, seq: int) -> dict[str, Any]:
    catalogue = Catalogue(root)
    with catalogue.open(name) as session:
        found: dict[str, Any] = to_json(explain(session, seq, veil=UNVEILED, catalogue=catalogue))
        return found


def one(root: Path, *, headers: str = "", method: str = "GET", url: str = "https://a.example/x", **done: Any) -> Any:
    recording = Recording(new_session(root))
    recording.done(recording.open(url, method=method, headers=headers), **done)
    recording.close()
    return explained(root, "last", 1)


def test_a_failed_checkout_is_explained_with_the_value_its_parts_and_the_run_that_went_well(root: Path) -> None:
    checkout(root, "good", 34_790, status=201)
    checkout(root, "bad", 29_314)
    with Catalogue(root).open("good") as session:
        session.follow()
    found = explained(root, "bad", 3)
    assert found == {
        "exchange": "bad:3",
        "op": "POST /checkout",
        "statusCode": 422,
        "ms": 12,
        "problem": {
            "form": "problem+json",
            "title": "Validation failed",
            "errors": [{"pointer": "/payment/amount", "code": "amount_mismatch", "detail": "does not match"}],
        },
        "blamed": [
            {
                "pointer": "/payment/amount",
                "sent": 29_314,
                "seenBefore": False,
                "near": ["1:/totals/net 28824 + 2:/cost 490"],
            }
        ],
        "otherOutcomes": [
            {
                "exchange": "good:3",
                "status": 201,
                "differs": [["/payment/amount", 34_790, 29_314]],
                "near": ["1:/totals/gross 34300 + 2:/cost 490"],
            }
        ],
        "complete": True,
    }
    assert len(json.dumps(found)) < 800
    assert explained(root, "good", 3)["otherOutcomes"][0]["exchange"] == "bad:3", "a success has its failures"


def test_a_value_that_an_answer_gave_has_its_origin(root: Path) -> None:
    checkout(root, "bad", 28_824)
    assert explained(root, "bad", 3)["blamed"] == [
        {
            "pointer": "/payment/amount",
            "sent": 28_824,
            "seenBefore": True,
            "origin": "1:response.body/totals/net",
        }
    ]


def test_the_value_that_was_right_has_its_origin_and_runs_alike_are_told_once(root: Path) -> None:
    checkout(root, "bad", 29_314)
    for name in ("good", "also good"):
        checkout(root, name, 34_300, status=201)
    (outcome,) = explained(root, "bad", 3)["otherOutcomes"]
    assert outcome["from"] == ["1:response.body/totals/gross"]
    assert {outcome["exchange"], *outcome["also"]} == {"good:3", "also good:3"}


def test_requests_that_were_sent_again_do_not_hide_the_run_that_went_well(root: Path) -> None:
    checkout(root, "good", 34_790, status=201)
    checkout(root, "bad", 29_314)
    for number in range(1, 10):
        recording = Recording(new_session(root, f"replay-{number}"))
        recording.done(recording.open("https://shop.example/checkout", method="POST"), b"{}", status=201)
        recording.close()
    assert explained(root, "bad", 3)["otherOutcomes"][0]["exchange"] == "good:3"


def test_the_same_session_may_have_the_other_outcome(root: Path) -> None:
    recording = Recording(new_session(root, "shop"))
    for status in (503, 200):
        recording.done(recording.open("https://a.example/stock/7"), b"{}", status=status, headers=JSON)
    recording.close()
    assert explained(root, "shop", 1)["otherOutcomes"] == [{"exchange": "shop:2", "status": 200}]


def test_graphql_and_grpc_have_their_own_forms(root: Path) -> None:
    body = b'{"data":null,"errors":[{"message":"Coupon expired","extensions":{"code":"COUPON_EXPIRED"}}]}'
    found = one(root, url="https://a.example/graphql", method="POST", body=body, headers="")
    assert found["problem"] == {"form": "graphql", "errors": [{"code": "COUPON_EXPIRED", "detail": "Coupon expired"}]}


def test_www_authenticate_is_read_and_an_expired_token_is_noticed(root: Path) -> None:
    exp = WALL_MS // 1000 - 100
    claims = base64.urlsafe_b64encode(json.dumps({"sub": "u", "exp": exp}).encode()).decode().rstrip("=")
    recording = Recording(new_session(root))
    seq = recording.open("https://a.example/x", headers=f"Authorization: Bearer eyJhbGciOiJIUzI1NiJ9.{claims}.c2ln\r\n")
    challenge = 'WWW-Authenticate: Bearer realm="a", error="invalid_token", error_description="The token is stale"\r\n'
    recording.done(seq, status=401, headers=challenge)
    seq = recording.open("https://a.example/y")
    recording.done(seq, status=401, headers="Retry-After: 30\r\n")
    recording.close()
    found = explained(root, "last", 1)
    assert found["problem"] == {"form": "www-authenticate", "title": "The token is stale", "code": "invalid_token"}
    assert found["signs"] == ["The bearer token expired at 2027-01-15T07:58:20Z, 101 s away."]
    found = explained(root, "last", 2)
    assert found["problem"] == {"form": "status", "title": "401 OK"}
    assert found["signs"] == ["Retry-After: 30", "The request has neither Authorization nor Cookie."]


def test_what_a_browser_was_not_allowed_is_said(root: Path) -> None:
    recording = Recording(new_session(root))
    asked = "Origin: https://app.example\r\nAccess-Control-Request-Method: PUT\r\n"
    asked += "Access-Control-Request-Headers: x-a, x-b\r\n"
    seq = recording.open("https://a.example/x", method="OPTIONS", headers=asked)
    allowed = (
        "Access-Control-Allow-Origin: *\r\nAccess-Control-Allow-Methods: GET\r\nAccess-Control-Allow-Headers: X-A\r\n"
    )
    recording.done(seq, status=204, headers=allowed)
    seq = recording.open("https://a.example/x", headers="Origin: https://app.example\r\nSec-Fetch-Mode: cors\r\n")
    recording.done(seq, b"{}", headers=JSON)
    recording.close()
    assert explained(root, "last", 1)["signs"] == [
        "CORS: PUT is not among the methods allowed.",
        "CORS: not allowed are the headers x-b.",
    ]
    assert explained(root, "last", 2)["signs"] == [
        "CORS: Origin https://app.example was sent, and there is no Access-Control-Allow-Origin."
    ]


def test_redirects_that_loop_are_noticed(root: Path) -> None:
    recording = Recording(new_session(root))
    for _ in range(3):
        for path, to in (("a", "/b"), ("b", "/a")):
            recording.done(recording.open(f"https://x.example/{path}"), status=302, headers=f"Location: {to}\r\n")
    recording.done(recording.open("https://x.example/c"), status=302, headers="Location: /c\r\n")
    for _ in range(2):
        recording.done(recording.open("https://x.example/a"), status=302, headers="Location: /b\r\n")
    recording.close()
    assert explained(root, "last", 1)["signs"] == [
        "Redirect loop: this URL was answered with a redirect 5 times around here."
    ]
    assert explained(root, "last", 7)["signs"] == ["It redirects to itself."]


def test_without_an_answer_the_end_is_what_is_explained(root: Path) -> None:
    recording = Recording(new_session(root, "ends"))
    recording.done(recording.open(), status=0, state=EndState.FAILED, error="certificate verify failed", inline=False)
    recording.done(recording.open(), status=0, state=EndState.ABORTED, inline=False)
    recording.open()
    recording.exchange()
    recording.kill()
    assert explained(root, "ends", 1)["problem"] == {
        "form": "tls",
        "title": "certificate verify failed",
        "code": "refused",
    }
    assert explained(root, "ends", 2)["problem"]["form"] == "aborted"
    interrupted = explained(root, "ends", 3)
    assert (interrupted["state"], interrupted["problem"]["form"]) == ("interrupted", "interrupted")
    assert explained(root, "ends", 4)["note"] == "Nothing in it says that it went wrong."
    with pytest.raises(NotFoundError):
        explained(root, "ends", 5)


def test_other_sessions_that_are_not_looked_at_are_told(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wiretape.session.answers.explain.NEIGHBOURS", 1)
    for name in ("one", "two", "three"):
        checkout(root, name, 1)
    found = explained(root, "three", 3)
    assert found["complete"] is False
    assert "not in 1 more" in found["missing"]
