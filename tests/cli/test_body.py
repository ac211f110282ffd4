"""``wiretape body``: a part of a body for people and pipes, and the truth about what is not there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.logs import Recording, new_session
from tests.cli.support import wiretape, wiretape_json

BODY = json.dumps({"data": [{"id": f"p_{number}", "price": number} for number in range(500)]}).encode()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("body") / "root"
    recording = Recording(new_session(root, "bad"))
    seq = recording.open("https://shop.example/products")
    recording.done(seq, BODY, headers="Content-Type: application/json\r\n")
    seq = recording.open("https://shop.example/ws")
    recording.done(seq, status=101, headers="Upgrade: websocket\r\n", size=75)
    seq = recording.open("https://shop.example/big")
    recording.done(seq, b"x" * 4096, size=27_650)
    recording.close()
    return root


def test_a_field_is_read_by_its_path_and_the_shape_fits_in_a_line(made: Path) -> None:
    shown = wiretape("body", "bad:1", "--path", "/data/*[id=p_270]/price", "--root", made)
    assert shown.stdout == b"/data/270/price\n270\n"
    shown = wiretape("body", "bad", "1", "--shape", "--root", made)
    assert shown.stdout == b"{data:[500 x {id:str,price:int}]}\n"
    assert b"try --path '/data/*[id=p_0]'" in shown.stderr
    found = wiretape_json("body", "1", "--path", "$.data[7].id", "--root", made)
    assert found["matches"] == [{"path": "/data/7/id", "value": "p_7"}]


def test_grep_says_where(made: Path) -> None:
    shown = wiretape("body", "last:1", "--grep", "p_49", "--root", made)
    assert shown.stdout.splitlines()[:2] == [b"/data/49/id: p_49", b"/data/490/id: p_490"]
    assert b"11 hits" in shown.stderr


def test_into_a_pipe_and_a_file_the_body_goes_as_it_is(made: Path, tmp_path: Path) -> None:
    assert wiretape("body", "bad:1", "--root", made).stdout == BODY
    target = tmp_path / "page.json"
    assert wiretape("body", "bad:1", "-o", target, "--root", made).returncode == 0
    assert (target.read_bytes(), target.stat().st_mode & 0o777) == (BODY, 0o600)
    again = wiretape("body", "bad:1", "-o", target, "--root", made)
    assert (again.returncode, b"not written over" in again.stderr) == (2, True)


@pytest.mark.parametrize("command", [["body", "bad:2"], ["exchange", "bad", "2", "--body", "response"]])
def test_p11_of_an_upgrade_no_empty_file_is_written(made: Path, tmp_path: Path, command: list[str]) -> None:
    done = wiretape(*command, "-o", tmp_path / "ws", "--root", made)
    assert done.returncode == 1
    assert b"None of the 75 bytes of the response body of exchange 2 were recorded" in done.stderr
    assert not (tmp_path / "ws").exists()


@pytest.mark.parametrize("command", [["body", "bad:3"], ["exchange", "bad", "3", "--body", "response"]])
def test_p11_of_a_preview_it_is_said_that_the_file_is_not_whole(made: Path, tmp_path: Path, command: list[str]) -> None:
    done = wiretape(*command, "-o", tmp_path / "half", "--root", made)
    assert done.returncode == 1
    assert b"Only the first 4,096 of 27,650 bytes of the response body of exchange 3 were recorded" in done.stderr
    assert (tmp_path / "half").read_bytes() == b"x" * 4096


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["bad"], "names a session and no exchange"),
        (["bad:1", "both"], "not a side of an exchange"),
        (["bad:1", "--path", "/data/0/cost"], "/data/0 exists and has id, price"),
        (["bad:1", "--raw", "--shape"], "write the whole body"),
        (["bad:99"], "does not exist"),
    ],
)
def test_what_cannot_be_shown_is_said(made: Path, words: list[str], said: str) -> None:
    done = wiretape("body", *words, "--root", made)
    assert done.returncode in {1, 2}
    assert said in done.stderr.decode()
