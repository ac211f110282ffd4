"""What people see: the same commands on a real terminal."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.clients import RawClient, needs
from harness.logs import Recording, closed_session, new_session
from harness.origin import Origin
from tests.cli.support import wiretape
from tests.cli.terminals import CTRL_C, Terminal, shown
from tests.support.terminal import on_terminal

EVIL = (
    b"HTTP/1.1 200 \x9b2JOK\r\nContent-Type: text/plain\r\nContent-Length: 14\r\n"
    b"X-Title: \x9d0;owned\x9c\r\n\r\n\x1b[31mred\nline2"
)
"""HTTP allows the bytes 0x80 to 0xff in header fields: as characters they are the C1 controls, CSI among them."""


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root whose newest session has an answer that tries to steer the terminal, and a binary one."""
    root = tmp_path_factory.mktemp("hostile") / "root"
    with Origin() as origin:
        origin.script("/evil", EVIL, then="close")
        words = [needs("curl"), "-sS", "-o", os.devnull, origin.url("/evil"), "-o", os.devnull, origin.url("/bytes/99")]
        done = wiretape("run", "--root", root, "--session", "evil", "--", *words)
        assert done.returncode == 0, done.stderr
    return root


@pytest.mark.parametrize(
    "arguments",
    [
        ["exchange", "last", "1"],
        ["exchange", "last", "1", "--json"],
        ["exchange", "last", "1", "--body", "response"],
        ["cat", "last"],
        ["query", "last"],
        ["query", "last", "--json"],
        ["sessions"],
    ],
)
def test_nothing_captured_reaches_a_terminal_raw(hostile: Path, arguments: list[str]) -> None:
    status, shown = on_terminal(*arguments, "--root", hostile)
    assert status == 0
    assert "evil" in shown or "red" in shown
    for sequence in ("\x9b", "\x9d", "\x1b[31mred"):
        assert sequence not in shown


def test_a_body_of_several_lines_stays_so_and_its_controls_are_visible(hostile: Path) -> None:
    _, shown = on_terminal("exchange", "last", "1", "--body", "response", "--root", hostile)
    assert shown == "\\x1b[31mred\r\nline2\r\n"


def test_a_binary_body_is_not_written_to_a_terminal(hostile: Path) -> None:
    status, shown = on_terminal("exchange", "last", "2", "--body", "response", "--root", hostile)
    assert status == 2
    assert "-o FILE" in shown


@pytest.mark.parametrize("command", ["verify", "recover"])
def test_long_work_shows_a_bar_on_a_terminal_and_none_with_json(hostile: Path, command: str) -> None:
    status, shown = on_terminal(command, "last", "--root", hostile, stdout=False)
    assert status == 0
    assert command in shown
    assert "\x1b[" in shown
    assert on_terminal(command, "last", "--root", hostile, "--json", stdout=False) == (0, "")


def test_doctor_has_colours_on_a_terminal_and_none_for_who_wants_none(
    hostile: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "\x1b[" in on_terminal("doctor", "--root", hostile)[1]
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[" not in on_terminal("doctor", "--root", hostile)[1]


def test_lists_are_a_line_each_on_a_terminal(hostile: Path) -> None:
    status, shown = on_terminal("sessions", "--root", hostile)
    assert status == 0
    heading, row = shown.splitlines()
    assert "exchanges" in heading
    assert row.startswith("evil")
    assert "today" in row


def test_colours_can_be_asked_for_and_refused(hostile: Path) -> None:
    assert "\x1b[" in on_terminal("query", "last", "--root", hostile)[1]
    assert "\x1b[" not in on_terminal("query", "last", "--root", hostile, "--color", "never")[1]
    assert b"\x1b[" not in wiretape("sessions", "--root", hostile).stdout
    assert b"\x1b[" in wiretape("doctor", "--root", hostile, "--color", "always").stdout


PAGED = {"PAGER": "sed s/^/PAGED:/"}
"""A pager that marks what it is given, and ends."""


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with a session that is longer than a terminal is high, and so is a body in it."""
    root = tmp_path_factory.mktemp("long") / "root"
    made = closed_session(root, 40, "long")
    recording = Recording(made)
    seq = recording.open("http://example.com/body")
    recording.done(seq, b"\n".join(b"line %d" % number for number in range(40)))
    recording.close()
    return root


@pytest.mark.parametrize("command", [["query", "long"], ["body", "long:41"], ["guide"]])
def test_what_is_longer_than_the_terminal_is_high_goes_through_the_pager(long: Path, command: list[str]) -> None:
    found = shown(*command, "--root", long, lines=10, env=PAGED)
    paged = [line.startswith("PAGED:") for line in found]
    assert sum(paged) >= 10


@pytest.mark.parametrize(
    ("lines", "pager"), [(100, PAGED), (10, {"PAGER": "cat"}), (10, {"PAGER": ""}), (10, PAGED | {"TERM": "dumb"})]
)
def test_there_is_no_pager_for_one_screen_nor_for_who_wants_none(long: Path, lines: int, pager: dict[str, str]) -> None:
    found = shown("query", "long", "--root", long, lines=lines, env=pager)
    assert len(found) > 40
    assert not any("PAGED:" in line for line in found)


def test_serve_shows_traffic_as_it_comes_and_on_ctrl_c_what_was_recorded(root: Path, http_origin: Origin) -> None:
    listen = ["--proxy", "127.0.0.1:0", "--api", "127.0.0.1:0"]
    with Terminal("serve", "--root", root, *listen, columns=100) as terminal:
        terminal.wait_for("mcpServers")
        port = terminal.text.partition("http://127.0.0.1:")[2].partition(" ")[0].strip("/\r\n")
        with RawClient.plain(("127.0.0.1", int(port))) as client:
            assert client.get(http_origin.url("/status/404"), host=http_origin.authority).status == 404
        terminal.wait_for("/status/404")
        terminal.type(CTRL_C)
        assert terminal.end() == 0
        line = next(line for line in terminal.lines if "/status/404" in line)
        assert line.split()[2:4] == ["GET", "404"]
        assert len(line) <= 100
        said = [line for line in terminal.lines if line.strip()][-1]
        session = next((root / "sessions").iterdir()).name
        assert said == f"1 exchange in {session}; `wiretape query last`"
        assert not any(line.endswith("INFO ended") for line in terminal.lines)


def test_follow_ends_with_ctrl_c_and_status_130(root: Path) -> None:
    recording = Recording(new_session(root, "live"))
    recording.exchange("http://example.com/first")
    with Terminal("query", "live", "--follow", "--root", root) as terminal:
        terminal.wait_for("/first")
        recording.exchange("http://example.com/second")
        terminal.wait_for("/second")
        terminal.type(CTRL_C)
        assert terminal.end() == 130
        assert "Traceback" not in terminal.text
    recording.close()
