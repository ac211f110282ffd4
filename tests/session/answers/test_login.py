"""Logging in again: which requests come before another one, and how it gets the new values."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.logs import Recording, new_session
from wiretape.errors import UsageError
from wiretape.session.answers.login import Renewal, steps_before
from wiretape.session.answers.resend import Outgoing
from wiretape.session.catalogue import Catalogue

JSON = "Content-Type: application/json\r\n"
TOKEN = "tok_4f9a8b7c6d5e4f3a2b1c"


def test_a_new_value_that_has_an_old_one_in_it_stands_as_it_came() -> None:
    renewal = Renewal({"s-1": "s-12", "s-12": "s-1", "ä b": "ö"})
    outgoing = Outgoing(
        "POST",
        "http://a.example/s-1?of=s-12&name=%C3%A4%20b",
        (("Cookie", "a=s-1; b=s-12"),),
        '{"a":"s-1","b":"s-12","c":"ä b"}'.encode(),
    )
    assert renewal.applied(outgoing) == Outgoing(
        "POST",
        "http://a.example/s-12?of=s-1&name=%C3%B6",
        (("Cookie", "a=s-12; b=s-1"),),
        '{"a":"s-12","b":"s-1","c":"ö"}'.encode(),
    )
    assert Renewal().applied(outgoing) == outgoing


@pytest.mark.parametrize("over", ["answer", "message"])
def test_a_token_of_an_answer_has_a_login_to_replay_and_one_of_a_message_has_none(root: Path, over: str) -> None:
    recording = Recording(new_session(root))
    issued = b'{"access_token":"%b"}' % TOKEN.encode()
    if over == "answer":
        recording.done(recording.open("http://a.example/login", method="POST"), issued, headers=JSON)
    else:
        seq = recording.open("http://a.example/ws")
        recording.message(seq, 1, issued)
        recording.done(seq, b"", status=101, headers="")
    seq = recording.open("http://a.example/me", headers=f"Authorization: Bearer {TOKEN}\r\n")
    recording.done(seq)
    recording.close()
    with Catalogue(root).open("last") as session:
        session.follow()
        if over == "answer":
            assert [step.seq for step in steps_before(session, seq)] == [1]
            return
        with pytest.raises(UsageError, match="no login to replay"):
            steps_before(session, seq)
