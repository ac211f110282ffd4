"""``wiretape messages``: a line a message."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.logs import Recording, new_session
from tests.cli.support import wiretape, wiretape_json
from tests.session.answers.test_messages import Talk, streamed


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("messages") / "root"
    recording = Recording(new_session(root, "talk"))
    talk = Talk(recording)
    talk.say(b'{"type":"hello"}', 5, server=True)
    talk.say(b"\x1b[31mred" + b"y" * 500, 7)
    talk.end()
    streamed(recording, [(b"data: one\n\n", 3)], "Content-Type: text/event-stream\r\n", "https://b.example/")
    recording.exchange()
    recording.close()
    return root


def test_each_message_is_a_line_with_who_and_when(made: Path) -> None:
    lines = wiretape("messages", "talk:1", "--root", made).stdout.decode().splitlines()
    assert lines[0].endswith('.005  <- 1   text  16 B  {"type":"hello"}')
    assert "-> 1   text  508 B  \\x1b[31mred" in lines[1]
    assert lines[1].endswith("… 308 more")
    both = wiretape("messages", "talk", "--root", made).stdout.decode().splitlines()
    assert [line.split()[0] for line in both] == ["1", "1", "2"]


def test_in_json_bodies_are_whole_and_a_filter_chooses(made: Path) -> None:
    found = wiretape_json("messages", "talk", "~d b.example", "--root", made)
    assert [one["body"] for one in found["items"]] == ["one"]
    assert found["items"][0]["from"] == "server"
    assert len(wiretape_json("messages", "talk:1", "--root", made)["items"][1]["body"]) == 508


def test_an_exchange_without_messages_is_told(made: Path) -> None:
    done = wiretape("messages", "talk:3", "--root", made)
    assert (done.returncode, b"has no messages" in done.stderr) == (1, True)
