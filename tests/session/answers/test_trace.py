"""Where a value comes from and where it goes, whatever it is wrapped in."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.logs import Recording, new_session
from wiretape.errors import UsageError
from wiretape.log.format import Flag, FrameType, MessageSeen
from wiretape.model import to_json
from wiretape.secrets.veil import UNVEILED
from wiretape.session.answers.covered import ranges
from wiretape.session.answers.needles import Needles, bare
from wiretape.session.answers.trace import trace
from wiretape.session.catalogue import Catalogue
from wiretape.session.session import Session

JSON = "Content-Type: application/json\r\n"
CSRF = "I1LhXZ/tB0aa77=="
CLAIMS = base64.urlsafe_b64encode(b'{"sub":"u_1842","mail":"ada.byron@example.com"}').decode().rstrip("=")
TOKEN = f"eyJhbGciOiJIUzI1NiJ9.{CLAIMS}.c2lnbmF0dXJl"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1 asks for a page, 2 logs in, 3 and 4 use token and cookie, 5 is a quote, 6 the checkout, 7 a WebSocket."""
    root = tmp_path_factory.mktemp("shop")
    recording = Recording(new_session(root, "shop"))
    recording.exchange("https://shop.example/")
    body = b'{"email":"ada.byron@example.com","password":"hunter2!"}'
    seq = recording.open("https://shop.example/login", method="POST", headers=JSON, body=body)
    answer = json.dumps({"data": {"accessToken": TOKEN, "path": "a\\b\nc d"}}).encode()
    cookie = "Set-Cookie: csrf=I1LhXZ%2ftB0aa77%3D%3D; Path=/\r\nSet-Cookie: sid=9f8e7d6c\r\n"
    recording.done(seq, answer, headers=JSON + cookie, request=body)
    headers = f"Authorization: Bearer {TOKEN}\r\nCookie: csrf=I1LhXZ%2FtB0aa77%3D%3D; sid=9f8e7d6c\r\n"
    for _ in range(2):
        seq = recording.open("https://shop.example/cart", headers=f"{headers}X-Csrf-Token: {CSRF}\r\n")
        recording.done(seq, b'{"totals":{"net":28824,"gross":34300}}', headers=JSON)
    recording.done(recording.open("https://shop.example/quote?net=28824"), b'{"cost":490}', headers=JSON)
    body = b'{"payment":{"amount":29314},"card":"129314"}'
    seq = recording.open("https://shop.example/checkout", method="POST", headers=JSON, body=body)
    recording.done(seq, b"{}", status=422, headers=JSON, request=body)
    recording.close()
    return root


@pytest.fixture
def session(shop: Path) -> Iterator[Session]:
    with Catalogue(shop).open("shop") as opened:
        yield opened


def traced(session: Session, **wishes: Any) -> dict[str, Any]:
    found: dict[str, Any] = to_json(trace(session, veil=UNVEILED, **wishes))
    return found


def test_the_first_answer_that_holds_it_is_the_origin_also_percent_encoded(session: Session) -> None:
    found = traced(session, seq=3, at="X-Csrf-Token")
    assert found == {
        "value": CSRF,
        "origin": {
            "seq": 2,
            "at": "+1.000s",
            "where": "response.cookie.csrf",
            "encoding": "percent",
            "op": "POST /login",
        },
        "carried": [
            {"where": "request.cookie.csrf", "seqs": "3,4", "encoding": "percent"},
            {"where": "request.header.X-Csrf-Token", "seqs": "3,4"},
        ],
        "searched": ["plain", "percent", "base64", "json", "jwt-payload", "hex"],
        "complete": True,
    }
    assert len(json.dumps(found)) < 650


def test_schemes_are_no_part_of_a_value(session: Session) -> None:
    found = traced(session, seq=3, at="request.header.authorization")
    assert found["value"].startswith("eyJh…")
    assert found["origin"]["where"] == "response.body/data/accessToken"
    assert bare("Basic YTpi") == "YTpi"
    assert bare("token=abc") == "abc"
    assert bare("tokenizer") == "tokenizer"


def test_cookies_are_followed_one_by_one(session: Session) -> None:
    assert traced(session, seq=3, at="request.cookie.sid")["origin"]["where"] == "response.cookie.sid"
    with pytest.raises(UsageError, match="several") as refused:
        traced(session, seq=3, at="Cookie")
    assert "cookie.csrf, cookie.sid" in refused.value.hint


def test_claims_of_a_jwt_hold_values_too(session: Session) -> None:
    found = traced(session, value="u_1842")
    assert found["origin"] == {
        "seq": 2,
        "at": "+1.000s",
        "where": "response.body/data/accessToken",
        "encoding": "jwt-payload",
        "op": "POST /login",
    }


def test_a_number_that_no_answer_holds_was_computed_and_of_what(session: Session) -> None:
    found = traced(session, seq=6, at="/payment/amount")
    assert found["origin"] is None
    assert found["firstSent"]["where"] == "request.body/payment/amount"
    assert found["near"] == ["3:/totals/net 28824 + 5:/cost 490"]
    assert found["note"] == "No answer before seq 6 holds it, so the client made or computed it."
    assert "carried" not in found, "129314 is another number"


def test_what_the_client_made_up_is_not_given_an_origin(session: Session) -> None:
    found = traced(session, value="hunter2!")
    assert (found["origin"], found["firstSent"]["seq"]) == (None, 2)
    assert traced(session, value="never seen")["note"] == "No exchange holds it."


def test_a_query_is_read_decoded(session: Session) -> None:
    found = traced(session, seq=5, at="request.query.net")
    assert found["origin"]["where"] == "response.body/totals/net"


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("xx secret-value/1+2 yy", "plain"),
        ("a=secret-value%2F1%2B2", "percent"),
        ("a=secret-value%2f1%2b2", "percent"),
        (base64.b64encode(b"user:secret-value/1+2").decode(), "base64"),
        (base64.b64encode(b"u:secret-value/1+2").decode().rstrip("="), "base64"),
        (base64.urlsafe_b64encode(b"us:secret-value/1+2!").decode(), "base64"),
        ('"secret-value\\/1+2"', "json"),
        (b"secret-value/1+2".hex(), "hex"),
        (b"secret-value/1+2".hex().upper(), "hex"),
        ("secret-value", ""),
    ],
)
def test_encodings(text: str, encoding: str) -> None:
    assert Needles("secret-value/1+2").find(text) == encoding


def test_the_decoded_form_of_an_encoded_value_is_found_too() -> None:
    assert Needles("a%2Fbc").find("x a/bc y") == "percent"
    assert Needles(base64.b64encode(b"user:hunter2").decode()).find("user:hunter2") == "base64"


def test_short_values_and_numbers_count_only_between_borders() -> None:
    number = Needles("14412")
    assert number.find("=14412&")
    assert not any(map(number.find, ("114412", "144120", "3.14412", "14412.5")))
    assert Needles("cat").find("a cat!")
    assert not Needles("cat").find("concatenate")


def test_p11_what_could_not_be_searched_is_named(root: Path) -> None:
    recording = Recording(new_session(root))
    seq = recording.open("http://a.example/ws")
    recording.done(seq, status=101, headers="Upgrade: websocket\r\n")
    seq = recording.open("http://a.example/cut")
    recording.done(seq, b"half", size=5000)
    recording.done(recording.open("http://a.example/x", headers="X-Id: abcdef\r\n"), b"")
    recording.close()
    with Catalogue(root).open("last") as session:
        found = traced(session, value="abcdef")
    assert found["complete"] is False
    assert "1: nothing recorded after the upgrade." in found["missing"]
    assert "2: not recorded whole." in found["missing"]
    assert found["note"] == "No searched answer before seq 3 holds it."


def test_p18_a_veiled_value_is_shown_as_its_handle(session: Session) -> None:
    class Hiding:
        def header(self, name: str, value: str) -> str:
            return value

        field = header

        def text(self, text: str) -> str:
            return text.replace(TOKEN, "{{jwt:1f5a78}}")

    found = trace(session, veil=Hiding(), seq=3, at="Authorization")
    assert found.value == "{{jwt:1f5a78}}"


def test_places_that_are_not_there_are_refused_with_those_that_are(session: Session) -> None:
    with pytest.raises(UsageError) as refused:
        traced(session, seq=6, at="request.body/payment/amont")
    assert "request.body/payment/amount" in refused.value.hint
    with pytest.raises(UsageError, match="too short"):
        traced(session, value="a")
    with pytest.raises(UsageError, match="value, or"):
        traced(session)


def test_numbers_are_written_as_ranges() -> None:
    assert ranges([1, 2, 3, 5, 6, 9]) == "1-3,5,6,9"
    assert ranges(range(0, 400, 2)).endswith(",...")


def test_a_value_is_followed_into_messages(root: Path) -> None:
    made = new_session(root)
    recording = Recording(made)
    upgraded = recording.open("https://shop.example/ws")
    recording.message(upgraded, 1, b'{"op":"hello","ticket":"t_3dbc3ba302"}')
    join = b'{"op":"join","with":{"ticket":"t_3dbc3ba302"}}'
    recording.writer.append(FrameType.MESSAGE, upgraded, MessageSeen(2_000, 1, 1, "", len(join)), join, Flag.LAST)
    recording.done(upgraded, b"", status=101, headers="")
    seq = recording.open("https://shop.example/orders?ticket=t_3dbc3ba302")
    recording.done(seq)
    recording.close()
    with Session(made.path, made.session_id) as session:
        found = trace(session, veil=UNVEILED, value="t_3dbc3ba302")
    assert found.origin is not None
    assert (found.origin.seq, found.origin.where) == (upgraded, "message.1/ticket")
    assert {one.where: one.seqs for one in found.carried} == {
        "message.1/with/ticket": str(upgraded),
        "request.query.ticket": str(seq),
    }
    assert found.complete
