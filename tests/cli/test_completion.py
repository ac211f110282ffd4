"""What a shell offers while a filter is written."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest

from harness.logs import Recording, closed_session, new_session
from tests.cli.support import wiretape
from wiretape.cli import options
from wiretape.cli.commands.query import command

CONTEXT = click.Context(command)
PARAMETER = command.params[0]


@pytest.mark.parametrize(
    ("complete", "begun", "offered"),
    [
        (options.complete_state, "in", ["inFlight", "interrupted"]),
        (options.complete_status, "42", ["422", "429"]),
        (options.complete_method, "p", ["POST", "PUT", "PATCH"]),
        (options.complete_sort, "d", ["desc", "down"]),
        (options.complete_group, "m", ["method", "minute"]),
    ],
)
def test_values_are_offered(complete: object, begun: str, offered: list[str]) -> None:
    assert complete(CONTEXT, PARAMETER, begun) == offered  # type: ignore[operator]


def test_operators_are_offered_where_one_is_begun() -> None:
    offered = options.complete_filter(CONTEXT, PARAMETER, "~m POST & ~js")
    assert [item.value for item in offered] == ["~m POST & ~json"]
    assert "JSON" in str(offered[0].help)
    assert len(options.complete_filter(CONTEXT, PARAMETER, "")) > 20


def test_marks_of_the_session_are_offered_the_newest_first(root: Path) -> None:
    recording = Recording(new_session(root))
    recording.mark("click-one", at_ms=1)
    recording.mark("click-two", at_ms=2)
    recording.close()
    context = click.Context(command)
    context.params = {"root": str(root), "session": "last"}
    assert options.complete_moment(context, PARAMETER, "cl") == ["click-two", "click-one"]
    context.params["session"] = "nobody"
    assert options.complete_moment(context, PARAMETER, "-") == ["-1m", "-5m", "-1h"]


def asked(shell: str, words: list[str], root: Path) -> str:
    """Return what the completion script of a shell is told of the last of some words."""
    env = {
        "_WIRETAPE_COMPLETE": f"{shell}_complete",
        "COMP_WORDS": "\n".join(words),
        "COMP_CWORD": str(len(words) - 1),
        "WIRETAPE_ROOT": str(root),
    }
    return wiretape(env=env).stdout.decode()


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("named") / "root"
    closed_session(root, 12, "big day.har")
    return root


def test_a_name_with_a_blank_is_quoted_for_bash_and_left_to_the_shells_that_quote_themselves(named: Path) -> None:
    assert asked("bash", ["wiretape", "query", "bi"], named) == "plain,'big day.har'\n"
    assert asked("bash", ["wiretape", "query", "'bi"], named) == "plain,big day.har\n"
    assert asked("zsh", ["wiretape", "query", "bi"], named).splitlines()[:2] == ["plain", "big day.har"]


def test_numbers_of_exchanges_are_offered_the_newest_first(named: Path) -> None:
    offered = ["plain,12", "plain,11", "plain,10", "plain,1"]
    assert asked("bash", ["wiretape", "exchange", "last", "1"], named).splitlines() == offered
    # bash takes the colon for the end of a word, and replaces what is behind it.
    assert asked("bash", ["wiretape", "exchange", "last", ":", "1"], named).splitlines() == offered
    assert asked("bash", ["wiretape", "trace", "last", ":", "12"], named) == "plain,12\n"
    found = asked("zsh", ["wiretape", "explain", "last:12"], named).splitlines()
    assert found == ["plain", "last\\:12", "GET 200 http://example.com/12"]
    assert asked("bash", ["wiretape", "exchange", "nobody", "1"], named).strip() == ""


def test_a_command_to_run_is_offered_and_files_behind_it(named: Path) -> None:
    assert "plain,env\n" in asked("bash", ["wiretape", "run", "--", "env"], named)
    assert asked("bash", ["wiretape", "run", "--", "env", "x"], named) == "file,x\n"


def test_the_script_leaves_bash_one_word_for_a_name_with_a_blank(named: Path, tmp_path: Path) -> None:
    (tmp_path / "wiretape").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m wiretape "$@"\n')
    (tmp_path / "wiretape").chmod(0o755)
    script = f"""
    export PATH="{tmp_path}:$PATH" WIRETAPE_ROOT="{named}"
    {wiretape("completion", "bash").stdout.decode()}
    COMP_WORDS=(wiretape query bi); COMP_CWORD=2
    _wiretape_completion wiretape
    printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(["bash", "-c", script], capture_output=True, check=False, timeout=60)
    assert done.stdout == b"'big day.har'\n", done.stderr
