"""What is known of the secrets of a session that is too large to be read at once."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest

from harness.logs import Recording, new_session
from wiretape.daemon import secrecy
from wiretape.daemon.secrecy import Secrecy
from wiretape.secrets.handles import digest, root_key
from wiretape.session.catalogue import Catalogue

HIDDEN = "Zq7k1Lm9Xw2Rt5Yb8Nc4Vd6"
"""Stands in the body of an exchange in the middle, of which nothing promises a secret."""


@pytest.fixture
def large(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A root with a session of 60 exchanges, where 20 are many."""
    monkeypatch.setattr(secrecy, "WHOLE", 20)
    monkeypatch.setattr(secrecy, "_ENDS", 5)
    recording = Recording(new_session(root, "large"))
    for number in range(1, 61):
        body = {"refreshToken": HIDDEN} if number == 30 else {"n": number}
        seq = recording.open(f"http://a.test/items/{number}")
        recording.done(seq, json.dumps(body).encode(), headers="Content-Type: application/json\r\n")
    recording.close()
    return root


def test_p18_the_bodies_that_promise_nothing_are_read_in_the_background(large: Path) -> None:
    mine = Secrecy(large)
    others = set(threading.enumerate())
    with Catalogue(large).open("large") as session:
        mine.learn(session)
        (reader,) = set(threading.enumerate()) - others
        reader.join(60)
    assert mine.unread() == []
    mine.close()
    assert mine.veil.text(f"seen {HIDDEN}") == f"seen {mine.veil.known.handle_of('refresh-token', HIDDEN)}"


def test_p18_a_handle_is_looked_for_until_it_is_found(large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("threading.Thread.start", lambda _: None)
    mine = Secrecy(large)
    digits = digest(root_key(large), HIDDEN)[:6]
    with Catalogue(large).open("large") as session:
        mine.learn(session)
        assert not mine.veil.known.has(digits)
        (said,) = mine.unread()
        assert said.startswith(f"The bodies of 50 exchanges of {session.session_id} are still to be read for secrets")
        assert mine.look_for(session, {digits}, time.monotonic() + 60)
        assert mine.veil.known.has(digits)
        assert mine.look_for(session, {"000000"}, time.monotonic() + 60), "read to its end"
        assert not Secrecy(large).look_for(session, {digits}, time.monotonic() - 1)
