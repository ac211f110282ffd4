"""One exchange as it is read: what says something, and nothing that is the same everywhere."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from harness.logs import WALL_MS, Recording, new_session
from tests.session.answers.test_read_body import PNG, Hiding
from wiretape.log.format import EndState
from wiretape.model import to_json
from wiretape.secrets.veil import UNVEILED
from wiretape.session.answers.lean import How, fitted, lean_exchange, lean_headers
from wiretape.session.catalogue import Catalogue
from wiretape.session.session import Session

EXPIRES = (WALL_MS // 1000) + 3_600


def _token(claims: dict[str, Any]) -> str:
    parts = [{"alg": "HS256", "typ": "JWT"}, claims]
    head, body = (base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)
    return f"{head}.{body}.c2lnbmF0dXJlLW9mLXRoZS10b2tlbg"


JWT = _token({"sub": "u_1842", "sid": "x" * 60, "email": "ada.byron@mail.example", "exp": EXPIRES})
CHECKOUT = {"cartId": "c_a38dc51642", "payment": {"method": "card", "amount": 29314, "currency": "EUR"}}
PROBLEM = {
    "type": "https://shop.example/problems/validation-failed",
    "title": "Validation failed",
    "errors": [{"pointer": "/payment/amount", "code": "amount_mismatch"}],
}
SENT = (
    "Accept: */*\r\nAccept-Encoding: gzip, deflate, br\r\nConnection: keep-alive\r\nUser-Agent: python-httpx/0.28\r\n"
    f"Authorization: Bearer {JWT}\r\nX-Csrf-Token: I1LhXZtB0==\r\nCookie: csrf_token=I1Lh; sid=abc; ab_bucket=A\r\n"
    "Content-Type: application/json\r\nContent-Length: 90\r\n"
)
ANSWERED = (
    "Content-Type: application/problem+json\r\nX-Request-Id: 7f\r\nVary: *\r\nServer: shop\r\nDate: now\r\n"
    "X-A: 1\r\nx-a: 2\r\n"
)


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    recording = Recording(new_session(tmp_path_factory.mktemp("lean"), "bad"))
    body = json.dumps(CHECKOUT).encode()
    seq = recording.open(
        "https://localhost:29443/api/v2/checkout", method="POST", headers=SENT, body=body, connection=1
    )
    recording.done(seq, json.dumps(PROBLEM).encode(), status=422, headers=ANSWERED, request=body)
    recording.tls(1)
    seq = recording.open("https://shop.example/products")
    products = {"data": [{"id": f"p_{number}", "title": "x" * 50} for number in range(500)]}
    recording.done(seq, json.dumps(products).encode(), headers="Content-Type: application/json\r\n")
    seq = recording.open("https://shop.example/i.png")
    recording.done(seq, PNG, headers="Content-Type: image/png\r\n")
    seq = recording.open("https://shop.example/refused")
    recording.done(seq, inline=False, status=0, state=EndState.FAILED, error="the server refused the connection")
    seq = recording.open(
        "https://shop.example/protobuf", method="POST", headers="Content-Type: application/x-protobuf\r\n"
    )
    recording.done(seq, b"\0\0\0\0\x04\x0a\x02hi", headers="Content-Type: application/grpc-web+proto\r\n")
    seq = recording.open("https://shop.example/secret")
    secret = json.dumps({"user": {"password": "hunter2!", "hint": "opensesame-12345"}, "pad": "y" * 5_000})
    recording.done(seq, secret.encode(), headers="Content-Type: application/json\r\nX-Token: opensesame-12345\r\n")
    seq = recording.open(
        "https://shop.example/" + "long" * 1_000, headers="".join(f"X-{n}: {'v' * 900}\r\n" for n in range(400))
    )
    recording.done(seq, b"\0\1\2" * 9_000, headers="Content-Type: text/plain\r\n")
    seq = recording.open("https://shop.example/ws")
    recording.done(seq, status=101, headers="Upgrade: websocket\r\n", size=75)
    seq = recording.open("https://shop.example/cut")
    recording.kill()
    with Catalogue(recording.session.path.parent.parent).open("bad") as opened:
        yield opened


def ask(session: Session, seq: int, *, veil: Any = None, **how: Any) -> dict[str, Any]:
    found: dict[str, Any] = to_json(lean_exchange(session, seq, How(**how), **({} if veil is None else {"veil": veil})))
    return found


def test_the_essence_of_a_failed_checkout_fits_in_338_tokens(session: Session) -> None:
    found = ask(session, 1)
    assert len(msgspec.json.encode(found)) / 4 < 338 * 1.3
    assert found["exchange"] == "bad:1"
    assert found["request"]["headers"] == [
        ("Authorization", f"Bearer {JWT[:8]}… ({len(JWT)} characters) sub=u_1842 exp={'09:00:00Z'}"),
        ("X-Csrf-Token", "I1LhXZtB0=="),
        ("Cookie", "csrf_token, sid, ab_bucket"),
        ("Content-Type", "application/json"),
    ]
    assert found["request"]["headersLeft"] == 6
    assert json.loads(found["request"]["body"]) == CHECKOUT
    assert found["response"]["statusCode"] == 422
    assert json.loads(found["response"]["body"]) == PROBLEM


def test_absent_means_nothing(session: Session) -> None:
    found = ask(session, 1)

    def nothing(value: Any) -> Iterator[Any]:
        if isinstance(value, dict):
            for inner in value.values():
                yield from nothing(inner)
        elif value is None or value is False or value in ([], {}):
            yield value

    assert list(nothing(found)) == []
    assert not found.keys() & {"tls", "client", "server", "connections", "error", "notes"}


def test_p12_all_headers_come_whole_in_their_order_and_case_with_tls_and_addresses_where_that_is_asked(
    session: Session,
) -> None:
    found = ask(session, 1, headers="all")
    names = [name for name, _ in found["response"]["headers"]]
    assert names == ["Content-Type", "X-Request-Id", "Vary", "Server", "Date", "X-A", "x-a"]
    assert dict(found["request"]["headers"])["Authorization"] == f"Bearer {JWT}"
    assert "headersLeft" not in found["request"]
    assert (found["client"], found["server"]) == ("127.0.0.1:50000", "127.0.0.1:80")
    assert found["tls"]["client"]["version"] == "TLSv1.3"


def test_a_token_that_had_expired_says_so(session: Session) -> None:
    old = _token({"sub": 7, "exp": 1_700_000_000})
    shown, _ = lean_headers([("Authorization", f"Bearer {old}")], every=False, at=WALL_MS, veil=UNVEILED)
    assert shown[0][1].endswith("sub=7 exp=2023-11-14T22:13:20Z(expired)")


def test_big_json_comes_as_its_shape_and_first_element_and_the_path_to_more(session: Session) -> None:
    response = ask(session, 2)["response"]
    assert response["bodyShape"] == "{data:[500 x {id:str,title:str}]}"
    assert response["bodyFirst"] == {"id": "p_0", "title": "x" * 50}
    assert response["bodyTry"] == "/data/*[id=p_0]"
    assert "body" not in response


def test_an_image_is_its_size_and_protobuf_its_fields_and_neither_is_base64(session: Session) -> None:
    image = ask(session, 3)["response"]["bodyValue"]
    assert (image["width"], image["height"], image["bytes"]) == (640, 480, len(PNG))
    grpc = ask(session, 5)["response"]
    assert (grpc["bodyView"], grpc["bodyValue"]) == ("grpc", [{"1": "hi"}])
    assert "ase64" not in json.dumps([ask(session, 3), ask(session, 5)])


def test_p11_where_there_is_no_response_a_sentence_says_why(session: Session) -> None:
    failed = ask(session, 4)
    assert failed["response"] == {"missing": "No answer came: the server refused the connection."}
    assert failed["error"] == {"code": "refused", "message": "the server refused the connection"}
    assert failed["server"] == "127.0.0.1:80"
    cut = ask(session, 9)
    assert cut["state"] == "interrupted"
    assert cut["response"]["missing"] == (
        "The recorder ended before an answer came; the server may have acted on the request."
    )


def test_p11_of_an_upgrade_it_is_not_said_that_a_body_was_cut_for_the_answer(session: Session) -> None:
    response = ask(session, 8)["response"]
    assert response["bodyNote"].startswith("None of the 75 bytes of the response body of exchange 8 were recorded")
    assert (response["bodySize"], response["bodyRecorded"]) == (75, 0)


@pytest.mark.parametrize("how", [{}, {"headers": "all"}, {"headers": "all", "objects": True, "body": 120}])
def test_p18_the_veil_sees_whole_values_before_they_are_cut(session: Session, how: dict[str, Any]) -> None:
    shown = json.dumps(ask(session, 6, veil=Hiding(), **how))
    assert "opensesame" not in shown
    if "objects" not in how:
        assert "hunter2" not in shown


def test_objects_have_the_keys_of_the_command_lines_json(session: Session) -> None:
    found = ask(session, 1, headers="all", objects=True)
    assert found["request"].keys() >= {"method", "url", "httpVersion", "headers", "bodySize", "body"}
    assert found["response"].keys() >= {"statusCode", "statusMessage", "headers", "bodySize", "body"}
    image = ask(session, 3, headers="all", objects=True, body=300)["response"]
    assert base64.b64decode(image["bodyBase64"]) == PNG[:300]
    assert image["bodyLeft"] == len(PNG) - 300


@pytest.mark.parametrize("seq", range(1, 10))
@pytest.mark.parametrize("objects", [False, True])
def test_an_exchange_fits_into_its_answer_whatever_it_holds(session: Session, seq: int, objects: bool) -> None:
    how = How(headers="all" if objects else "lean", objects=objects, body=8_000 if objects else 4_096)
    found = fitted(session, seq, how, 24_000)
    assert len(msgspec.json.encode(found)) <= 24_000
    assert found.request is not None
    assert found.request.method


def test_an_exchange_with_no_bodies_wanted_keeps_its_headers(session: Session) -> None:
    found = ask(session, 1, body=0)
    assert found["request"]["headers"]
    assert "body" not in found["request"]
