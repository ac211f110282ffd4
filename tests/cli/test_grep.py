"""``wiretape grep`` and ``wiretape sql`` as people and programs read them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.logs import Recording, new_session
from wiretape.cli.main import run


@pytest.fixture
def shop(root: Path) -> Path:
    recording = Recording(new_session(root, "shop"))
    for number in range(4):
        seq = recording.open(f"http://api.example/users/{number}")
        body = json.dumps({"user": {"mail": f"u{number}@example.com \x1b[31m"}}).encode()
        recording.done(seq, body, headers="Content-Type: application/json\r\n")
    recording.close()
    return root


def test_grep_prints_places_and_tells_what_was_searched(shop: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["grep", "shop", "u2@example", "--root", str(shop)]) == 0
    out, err = capfd.readouterr()
    assert out == ('3\tGET\t200\thttp://api.example/users/2\tresponse.body/user/mail\t"u2@example.com \\u001b[31m"\n')
    assert err.splitlines()[0].startswith("1 of 1 matching exchanges; 4 searched; ")


def test_grep_prints_the_keys_of_the_contract_as_json(shop: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["grep", "shop", "example", "--in", "response", "--limit", "2", "--root", str(shop), "--json"]) == 0
    found = json.loads(capfd.readouterr().out)
    assert (found["matched"], found["returned"]) == (4, 2)
    keys = {"seq", "exchangeId", "url", "in", "snippet", "method", "statusCode"}
    assert [set(item) for item in found["items"]] == [keys, keys]
    assert found["coverage"]["searched"] == 4
    assert found["coverage"]["complete"] is True
    arguments = ["grep", "shop", "example", "--in", "response", "--root", str(shop), "--cursor", found["nextCursor"]]
    assert run(arguments) == 0
    assert [line.split("\t")[0] for line in capfd.readouterr().out.splitlines()] == ["3", "4"]


def test_grep_exits_1_where_nothing_is_found_and_2_for_nonsense(shop: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["grep", "shop", "nobody", "--root", str(shop)]) == 1
    assert "Nothing matches." in capfd.readouterr().err
    assert run(["grep", "shop", "(", "--regex", "--root", str(shop)]) == 2
    assert "not a regular expression" in capfd.readouterr().err


def test_sql_prints_rows_and_says_what_can_be_read(shop: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["sql", "shop", "SELECT host, count(*) AS n FROM exchanges GROUP BY 1", "--root", str(shop)]) == 0
    out, err = capfd.readouterr()
    assert out == "host\tn\napi.example\t4\n"
    assert err.startswith("1 row; ")
    assert run(["sql", "shop", "DELETE FROM exchanges", "--root", str(shop)]) == 2
    assert "there are the views exchanges" in capfd.readouterr().err
    assert run(["sql", "shop", "SELECT 1 AS one", "--root", str(shop), "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["rows"] == [[1]]
