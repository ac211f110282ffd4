"""What ``find_secrets`` tells: where and how often, never what."""

from __future__ import annotations

import gzip
import json
import struct
from pathlib import Path

import pytest

from harness.logs import Recording, new_session
from tests.session.answers.conftest import Walked
from tests.session.answers.shop import EMAIL, PASSWORD
from wiretape.errors import UsageError
from wiretape.model import to_json
from wiretape.secrets.known import Known
from wiretape.session.answers.secrets import find_secrets, hinted
from wiretape.session.session import Session

KEY = bytes(32)


def test_secrets_and_addresses_are_told_by_kind_place_and_count_without_their_values(walked: Walked) -> None:
    known = Known(KEY)
    found = find_secrets(walked.session, known)
    by_kind = {one.kind: one for one in found.values}
    assert set(by_kind) == {"email", "jwt", "session", "csrf", "password", "refresh-token"}
    assert by_kind["jwt"].where == ["request.header.Authorization x5", "response.body/data/session/accessToken x1"]
    assert by_kind["jwt"].first == 1
    assert by_kind["jwt"].exchanges == 6
    assert by_kind["password"].where == ["request.body/password x1"]
    ada = next(one for one in found.values if one.kind == "email" and one.value == "ada***om")
    assert ada.where[0] == "request.header.Authorization (JWT payload) x5"
    told = json.dumps(to_json(found))
    assert PASSWORD not in told
    assert EMAIL not in told
    assert known.resolve(by_kind["password"].handle) == PASSWORD


def test_what_could_not_be_searched_is_named(walked: Walked) -> None:
    found = find_secrets(walked.session, Known(KEY))
    assert not found.complete
    assert {(tuple(one.seq), one.why) for one in found.not_searched} == {((3,), "image/png"), ((7,), "x/y")}


def test_only_the_kinds_that_were_asked_for_and_own_expressions(walked: Walked) -> None:
    found = find_secrets(walked.session, Known(KEY), kinds=["password", "custom"], custom=["p_00[0-9]{2}"], top=3)
    assert {one.kind for one in found.values} == {"custom"} | ({"password"} & {one.kind for one in found.values})
    assert found.left["values"] > 0


def test_an_expression_that_is_none_is_a_clear_error(walked: Walked) -> None:
    with pytest.raises(UsageError, match="not a regular expression"):
        find_secrets(walked.session, Known(KEY), custom=["(a"])


def test_short_values_are_hinted_at_less() -> None:
    assert [hinted(one) for one in ("abc", "hunter2!", "a-long-secret-value")] == ["***", "h***!", "a-l***ue"]


def test_messages_are_searched_for_secrets(root: Path) -> None:
    made = new_session(root)
    recording = Recording(made)
    upgraded = recording.open("https://shop.example/ws")
    recording.message(upgraded, 1, b'{"type":"auth","password":"correct horse 7"}', response=False)
    recording.message(upgraded, 1, b"mail grace@example.org, order ORD-12345678")
    recording.done(upgraded, b"", status=101, headers="")
    call = recording.open("https://shop.example/grpc", method="POST")
    message = gzip.compress(b"\x0a\x0fada@example.org", mtime=0)
    recording.done(
        call, struct.pack(">BI", 1, len(message)) + message, headers="Content-Type: application/grpc-web+proto\r\n"
    )
    silent = recording.open("https://shop.example/tunnel")
    recording.done(silent, b"", status=101, headers="")
    recording.close()
    with Session(made.path, made.session_id) as opened:
        found = find_secrets(opened, Known(KEY), custom=["ORD-[0-9]{8}"])
    assert {(one.kind, *one.where) for one in found.values} == {
        ("password", "message.*/password x1"),
        ("email", "message.* x1"),
        ("custom", "message.* x1"),
        ("email", "message.*/* x1"),
    }
    assert [(one.seq, one.why) for one in found.not_searched] == [([silent], "nothing recorded after the upgrade")]


def test_a_kind_that_is_not_there_is_said_with_those_that_are(root: Path) -> None:
    made = new_session(root)
    recording = Recording(made)
    asked = recording.open("https://shop.example/login", method="POST", headers="X-Api-Key: kf83hf9ah28fhw02hf\r\n")
    recording.done(asked, b"{}")
    recording.close()
    with Session(made.path, made.session_id) as opened:
        found = find_secrets(opened, Known(KEY), kinds=["phone"])
        assert find_secrets(opened, Known(KEY), kinds=["api-key"]).note == ""
        with pytest.raises(UsageError, match=r"'\(' is not a regular expression: missing \): \("):
            find_secrets(opened, Known(KEY), custom=["("])
    assert found.values == []
    assert found.note == (
        "Nothing was found of phone. It has api-key. Names of people, addresses and phone numbers are not looked for."
    )
