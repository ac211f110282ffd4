"""Secrets of a session are learned before it answers; of a large one from the index, and some bodies."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.logs import Recording, new_session
from wiretape.daemon import secrecy
from wiretape.daemon.secrecy import Secrecy
from wiretape.session.catalogue import Catalogue
from wiretape.session.session import Session


def value(number: int) -> str:
    return f"tok{number:05d}-{number * 7919:020x}"


def in_body(number: int) -> str:
    return value(number)[::-1]


def record(root: Path, count: int) -> Recording:
    recording = Recording(new_session(root))
    kind = "Content-Type: application/json\r\n"
    for number in range(count):
        seq = recording.open(
            f"https://a.example/items/{number}?api_key={value(number)}", headers=f"X-Auth-Token: h-{value(number)}\r\n"
        )
        recording.done(seq, json.dumps({"token": in_body(number)}).encode(), headers=kind)
    seq = recording.open("https://a.example/auth/login", method="POST")
    recording.done(seq, b'{"accessToken":"the-token-of-the-login"}', headers=kind)
    for _ in range(30):
        recording.exchange("https://a.example/static")
    return recording


def hidden(secrets: Secrecy, text: str) -> bool:
    return secrets.veil.known.hide(f"<{text}>") != f"<{text}>"


def open_session(root: Path) -> Session:
    return Catalogue(root).open("last")


def test_headers_urls_and_bodies_are_learned_and_what_is_new_with_the_next_answer(root: Path) -> None:
    recording = record(root, 20)
    secrets = Secrecy(root)
    with open_session(root) as session:
        secrets.learn(session)
        for form in (value(3), f"h-{value(7)}", in_body(11), "the-token-of-the-login"):
            assert hidden(secrets, form)
        seq = recording.open("https://a.example/late", headers="Authorization: Bearer late-0123456789abcdef\r\n")
        recording.done(seq)
        assert not hidden(secrets, "late-0123456789abcdef")
        secrets.learn(session)
        assert hidden(secrets, "late-0123456789abcdef")
    recording.close()


def test_of_a_large_session_headers_urls_logins_and_both_ends_are_learned(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secrecy, "WHOLE", 50)
    monkeypatch.setattr(secrecy, "_ENDS", 10)
    record(root, 80).close()
    secrets = Secrecy(root)
    with open_session(root) as session:
        secrets.learn(session)
    for form in (value(40), f"h-{value(40)}", in_body(3), "the-token-of-the-login"):
        assert hidden(secrets, form)
    assert not hidden(secrets, in_body(40))
    assert secrets.veil.text(json.dumps({"token": in_body(40)})).startswith('{"token": "{{token:')
