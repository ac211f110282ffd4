"""The endpoints of a session, and how they drifted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.logs import Recording, new_session
from wiretape.cli.main import run
from wiretape.model import to_json
from wiretape.secrets.veil import UNVEILED
from wiretape.session.answers.endpoints import drift, endpoints
from wiretape.session.catalogue import Catalogue

JSON = "Content-Type: application/json\r\n"


def record(root: Path, name: str, exchanges: list[tuple[str, int, Any]]) -> None:
    recording = Recording(new_session(root, name))
    for path, status, answer in exchanges:
        recording.done(
            recording.open(f"https://a.example{path}"), json.dumps(answer).encode(), status=status, headers=JSON
        )
    recording.close()


@pytest.fixture
def drifted(root: Path) -> Path:
    before = {"id": 1, "name": "Ada", "tags": ["a"], "address": None, "orders": [], "price": 1.5}
    after = {"id": "1", "tags": ["b", "c"], "address": {"zip": "1"}, "orders": [{"n": 1}], "price": 2, "mail": "x@y.z"}
    record(root, "before", [("/users/1", 200, before), ("/users/2", 200, {}), ("/old", 200, {}), ("/same", 200, {})])
    record(root, "after", [("/users/1", 200, after), ("/users/7", 404, {}), ("/new", 200, {}), ("/same", 200, {})])
    return root


def test_what_came_went_and_changed_is_named(drifted: Path) -> None:
    catalogue = Catalogue(drifted)
    with catalogue.open("before") as before, catalogue.open("after") as after:
        found = to_json(drift(before, after, veil=UNVEILED))
    assert found == {
        "a": "before",
        "b": "after",
        "same": 1,
        "onlyA": ["GET /old"],
        "onlyB": ["GET /new"],
        "changed": [["GET /users/{id}", "statuses", "200", "200 404"]],
        "fields": {"GET /users/{id}": ["+ /mail", "- /name", "~ /id number -> string"]},
        "complete": True,
    }


def test_the_endpoints_of_one_session_have_counts_by_status(drifted: Path) -> None:
    with Catalogue(drifted).open("after") as session:
        found = to_json(endpoints(session, veil=UNVEILED))
    assert found["endpoints"]["rows"][0] == ["GET /users/{id}", "a.example", 2, "200:1 404:1", 12, 12]


def test_the_command_prints_both(drifted: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["endpoints", "before", "after", "--root", str(drifted)]) == 0
    text = capfd.readouterr().out
    assert "- GET /old\n+ GET /new\n" in text
    assert "    ~ /id number -> string\n" in text
    assert run(["endpoints", "before", "--json", "--root", str(drifted)]) == 0
    assert json.loads(capfd.readouterr().out)["session"] == "before"
    assert run(["endpoints", "before", "--root", str(drifted)]) == 0
    assert "      2  200:2       12 ms, 95 %: 12 ms     GET /users/{id}  a.example" in capfd.readouterr().out
