"""Plans of what would be sent: changes, warnings, what cannot be sent."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path

import pytest

from harness.logs import Recording, new_session
from wiretape.errors import UsageError
from wiretape.session.answers.resend import Changes, plan
from wiretape.session.catalogue import Catalogue


def token(expires: float) -> str:
    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    return f"{part({'alg': 'HS256'})}.{part({'sub': 'u_1842', 'exp': expires})}.{'s' * 43}"


def recorded(root: Path, headers: str, body: bytes = b"{}") -> None:
    recording = Recording(new_session(root))
    seq = recording.open("https://a.example/x?y=1", method="POST", headers=headers, body=body)
    recording.done(seq, request=body)
    recording.close()


@pytest.mark.parametrize(
    ("seconds", "said"), [(3480, "expires in 58 min"), (-600, "expired 10 min ago"), (-90_000, "expired 25 h ago")]
)
def test_a_token_says_until_when_it_is_valid(root: Path, seconds: int, said: str) -> None:
    recorded(root, f"Authorization: Bearer {token(time.time() + seconds)}\r\n")
    with Catalogue(root).open("last") as session:
        _, planned = plan(session, "bad", 1, Changes())
    assert any(said in warning for warning in planned.warnings)


def test_an_idempotency_key_is_warned_of_and_can_be_new(root: Path) -> None:
    recorded(root, "Idempotency-Key: k-1\r\nContent-Length: 2\r\nConnection: keep-alive\r\n")
    with Catalogue(root).open("last") as session:
        _, planned = plan(session, "bad", 1, Changes())
        outgoing, changed = plan(session, "bad", 1, Changes(headers={"idempotency-key": "new"}))
    assert any("answer from its memory" in warning for warning in planned.warnings)
    assert not changed.warnings
    (name, value), *others = outgoing.headers
    assert (name, len(value), others) == ("Idempotency-Key", 36, [])
    assert changed.changes == [["request.header.Idempotency-Key", "k-1", value]]


def test_a_form_a_list_and_another_server_can_be_changed(root: Path) -> None:
    recorded(root, "Content-Type: application/x-www-form-urlencoded\r\n", b"a=1&b=2&a=3")
    with Catalogue(root).open("last") as session:
        outgoing, planned = plan(session, "s", 1, Changes(values={"/b": 5, "/c": "d e"}, target="http://h:81/base/"))
    assert outgoing.body == b"a=1&b=5&a=3&c=d+e"
    assert outgoing.url == "http://h:81/base/x?y=1"
    assert planned.changes[0] == ["request.url", "https://a.example/x?y=1", "http://h:81/base/x?y=1"]


def test_a_list_in_json_takes_new_items_and_the_rest_stays(root: Path) -> None:
    recorded(root, "Content-Type: application/json\r\n", '{"a":[1,{"b/c":"ü"}],"n":12345678901234567890}'.encode())
    with Catalogue(root).open("last") as session:
        outgoing, _ = plan(session, "s", 1, Changes(values={"/a/-": None, "/a/1/b~1c": "x"}))
    assert outgoing.body.decode() == '{"a":[1,{"b/c":"x"},null],"n":12345678901234567890}'


def test_what_was_not_recorded_whole_is_refused(root: Path) -> None:
    recording = Recording(new_session(root))
    seq = recording.open("https://a.example/x", method="POST", body=b"abc")
    recording.done(seq, request=b"abcdef")
    recording.close()
    with Catalogue(root).open("last") as session, pytest.raises(UsageError, match="Only 3 of 6 bytes"):
        plan(session, "s", 1, Changes())


def test_a_tunnel_is_refused(root: Path) -> None:
    recorded(root, "Upgrade: websocket\r\nConnection: Upgrade\r\n")
    with Catalogue(root).open("last") as session, pytest.raises(UsageError, match="WebSocket"):
        plan(session, "s", 1, Changes())
