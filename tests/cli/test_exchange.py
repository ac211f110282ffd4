"""``wiretape exchange`` for people: one line that says what happened, bodies laid out, the rest one command away."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
from pathlib import Path

import pytest

from harness.logs import Recording, new_session
from tests.cli.support import COMMAND, wiretape, wiretape_json
from wiretape.log.format import EndState


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("exchange") / "root"
    recording = Recording(new_session(root, "bad"))
    body = b'{"payment":{"amount":29314}}'
    headers = "Content-Type: application/json\r\nUser-Agent: x\r\nCookie: sid=1; csrf=2\r\n"
    seq = recording.open("https://localhost:29443/api/v2/checkout?x=1", method="POST", headers=headers, body=body)
    answer = b'{"title":"Validation failed","errors":[{"code":"amount_mismatch"}]}'
    recording.done(seq, answer, status=422, headers="Content-Type: application/problem+json\r\n", request=body)
    seq = recording.open("https://localhost:29443/products")
    many = json.dumps({"data": [{"id": number} for number in range(2_000)]}).encode()
    recording.done(seq, many, headers="Content-Type: application/json\r\n")
    seq = recording.open("https://localhost:29443/down")
    recording.done(seq, inline=False, status=0, state=EndState.FAILED, error="the server refused the connection")
    seq = recording.open("https://localhost:29443/x")
    recording.done(seq, b"\0\1\2", headers="Content-Type: application/octet-stream\r\n")
    recording.close()
    return root


def shown(root: Path, *words: str) -> list[str]:
    done = wiretape("exchange", *words, "--root", root)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode().splitlines()


def test_the_first_line_says_what_was_asked_what_came_and_how_long_it_took(made: Path) -> None:
    lines = shown(made, "bad:1")
    assert re.fullmatch(
        r"POST /api/v2/checkout\?x=1  422 OK  12 ms  28 B up  67 B down  (\d{4}-\d\d-\d\d )?\d\d:\d\d:\d\d\.000",
        lines[0],
    )
    assert lines[1] == "bad:1  https://localhost:29443  HTTP/1.1"


def test_bodies_are_laid_out_and_noise_is_counted(made: Path) -> None:
    text = "\n".join(shown(made, "bad", "1"))
    assert '{\n  "payment": {\n    "amount": 29314\n  }\n}' in text
    assert "Cookie: sid, csrf\n(2 headers more: --headers all)" in text
    assert "User-Agent" not in text
    every = "\n".join(shown(made, "bad:1", "--headers", "all"))
    assert "User-Agent: x" in every
    assert "Cookie: sid=1; csrf=2" in every
    assert "server 127.0.0.1:80" in every


def test_a_long_body_ends_after_a_hundred_lines_with_the_command_for_the_rest(made: Path) -> None:
    lines = shown(made, "bad:2")
    assert sum(1 for line in lines if '"id"' in line or line in {"    {", "    },"}) < 101
    assert "… 5,904 lines more: `wiretape body bad:2`" in lines


def test_p11_a_failure_stands_where_the_response_would(made: Path) -> None:
    lines = shown(made, "bad:3")
    assert lines[0].startswith("GET /down  failed  12 ms  0 B up")
    assert "No answer came: the server refused the connection." in lines
    assert "(3 B that are not text: `wiretape body bad:4 -o FILE`)" in shown(made, "bad:4")


def test_json_keeps_every_key_and_header(made: Path) -> None:
    found = wiretape_json("exchange", "bad:1", "--root", made)
    assert found == wiretape_json("exchange", "bad", "1", "--root", made)
    assert found["request"]["headers"][2] == ["User-Agent", "x"]
    assert {"tls", "timings", "state", "exchangeId"} <= found.keys()


def test_on_a_terminal_status_and_json_are_coloured_unless_no_colour_is_wanted(made: Path) -> None:
    def on_terminal(**env: str) -> str:
        ours, theirs = pty.openpty()
        done = subprocess.Popen(
            [*COMMAND, "exchange", "bad:1", "--root", str(made)], stdout=theirs, stderr=theirs, env=os.environ | env
        )
        os.close(theirs)
        text = b""
        try:
            while piece := os.read(ours, 65_536):
                text += piece
        except OSError:  # Linux says so at the end
            pass
        os.close(ours)
        assert done.wait(60) == 0
        return text.decode()

    coloured = on_terminal(TERM="xterm")
    assert "\x1b[33m422 OK\x1b[0m" in coloured
    assert "\x1b[33m29314\x1b[0m" in coloured
    assert "\x1b" not in on_terminal(NO_COLOR="1")


@pytest.mark.parametrize(
    ("words", "said"), [(["bad"], "no exchange of it"), (["bad:1", "2"], "one word too many"), (["bad:0"], "the seq 1")]
)
def test_what_names_no_exchange_is_refused(made: Path, words: list[str], said: str) -> None:
    done = wiretape("exchange", *words, "--root", made)
    assert done.returncode == 2
    assert said in done.stderr.decode()
