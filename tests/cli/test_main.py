"""The frame of the command line: help, errors, exit status, what is imported."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import click
import pytest

from tests.cli.support import COMMAND, wiretape
from tests.support.unmeasured import unmeasured_environment
from wiretape import __version__
from wiretape.cli.main import COMMANDS, MODULES

HEAVY = ("mcp", "rich", "cryptography", "sqlite3", "msgspec", "uvloop", "asyncio", "platformdirs", "pydantic")
"""What must not be imported where a start has to be fast."""


def imported(*arguments: str, stdin: bytes = b"") -> set[str]:
    """Run a command, unmeasured (coverage imports much itself), and give the names of the modules it imported."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "wiretape", *arguments],
        input=stdin,
        capture_output=True,
        check=False,
        timeout=60,
        env=unmeasured_environment(),
    )
    return {line.rpartition("|")[2].strip() for line in done.stderr.decode().splitlines() if "|" in line}


@pytest.mark.parametrize("arguments", [["--help"], ["mcp", "--help"], ["--version"], ["status", "--root", "/nowhere"]])
def test_a_command_that_has_to_start_fast_imports_nothing_heavy(arguments: list[str]) -> None:
    modules = imported(*arguments)
    assert "click" in modules
    assert not modules & set(HEAVY)


def test_help_lists_every_command_and_each_has_a_module_with_help_and_examples() -> None:
    listed = wiretape("--help").stdout.decode()
    for name in COMMANDS:
        assert re.search(rf"^  {name} ", listed, re.MULTILINE)
        command = import_module(f"wiretape.cli.commands.{MODULES.get(name, name)}").command
        assert isinstance(command, click.Command)
        assert command.name == name
        assert command.help
        assert f"wiretape {name}" in (command.epilog or "")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_can_be_asked_for_json(name: str) -> None:
    command = import_module(f"wiretape.cli.commands.{MODULES.get(name, name)}").command
    for one in command.commands.values() if isinstance(command, click.Group) else [command]:
        options = {option for parameter in one.params for option in parameter.opts}
        # What `mcp` writes is JSON anyhow: a protocol.
        assert ("--json" in options) == (name != "mcp")
        assert "--root" in options or name in {"demo", "completion"}


def test_every_module_in_the_folder_of_commands_is_listed() -> None:
    folder = Path(str(import_module("wiretape.cli.commands").__file__)).parent
    assert {file.stem for file in folder.glob("*.py")} - {"__init__"} == {MODULES.get(name, name) for name in COMMANDS}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_is_printed_with_status_0(name: str) -> None:
    done = wiretape(name, "--help")
    assert done.returncode == 0
    assert b"Examples:" in done.stdout
    assert done.stderr == b""


def test_the_version_is_the_packages() -> None:
    assert wiretape("--version").stdout.decode() == f"wiretape {__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["frobnicate"],
        ["query"],
        ["serve", "--proxy", "nonsense"],
        ["serve", "--max-disk", "lots"],
        ["serve", "--workers", "0"],
        ["exchange", "last", "0"],
        ["exchange", "last", "1", "--raw"],
        ["exchange", "last", "1", "--body", "response", "--json"],
        ["query", "last", "--sort", "sideways"],
        ["run"],
        ["completion", "tcsh"],
    ],
)
def test_wrong_usage_is_status_2_and_a_sentence_on_stderr(arguments: list[str], root: Path) -> None:
    done = wiretape("--root", root, *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(b"wiretape: ")
    assert b"Traceback" not in done.stderr
    if "--json" not in arguments:
        assert done.stdout == b""


def test_an_error_with_json_is_one_document_on_stdout_too(root: Path) -> None:
    done = wiretape("serve", "--proxy", "nonsense", "--root", root, "--json")
    document = json.loads(done.stdout)
    assert done.returncode == 2
    assert document["status"] == "error"
    assert document["code"] == "usage"
    assert "nonsense" in document["message"]
    assert document["hint"]
    assert done.stderr.startswith(b"wiretape: ")


def test_json_behind_two_dashes_belongs_to_the_command_that_is_run(root: Path) -> None:
    done = wiretape("run", "--root", root, "--", "no-such-program-anywhere", "--json")
    assert done.returncode == 127
    assert done.stdout == b""
    assert b"no-such-program-anywhere" in done.stderr


def test_an_argument_cannot_steer_the_terminal_through_the_message() -> None:
    done = wiretape("\x1b[2Jfoo")
    assert b"\x1b" not in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [["sessions", "--json"], ["sessions"], ["doctor"], ["doctor", "--json"], ["completion", "bash"], ["--help"]],
)
def test_an_output_that_takes_nothing_is_said_in_a_sentence(arguments: list[str], root: Path) -> None:
    with open("/dev/full", "wb") as full:
        command = [*COMMAND, "--root", str(root), *arguments]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False, timeout=60)
    lines = done.stderr.decode().splitlines()
    assert done.returncode == 1
    assert len(lines) == 2
    assert lines[0].startswith("wiretape: ")
    assert "No space left on device" in lines[0]
    assert lines[1].startswith("hint: ")


def test_the_output_that_takes_nothing_is_named(root: Path) -> None:
    with open("/dev/full", "wb") as full:
        command = [*COMMAND, "sessions", "--json", "--root", str(root)]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False, timeout=60)
    assert done.stderr.startswith(b"wiretape: standard output cannot be written: ")


@pytest.mark.parametrize("name", ["x" * 5000, "x" * 300])
def test_a_path_longer_than_any_is_wrong_usage(name: str, root: Path) -> None:
    done = wiretape("serve", "--upstream-ca", name, "--root", root)
    assert done.returncode == 2
    assert b"--upstream-ca" in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_reader_that_leaves_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [*COMMAND, "completion", "bash"], stdout=writer, stderr=subprocess.PIPE, check=False, timeout=60
        )
    finally:
        os.close(writer)
    assert done.returncode == 0
    assert done.stderr == b""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script_for_each_shell(shell: str) -> None:
    done = wiretape("completion", shell)
    assert done.returncode == 0
    assert b"_WIRETAPE_COMPLETE" in done.stdout


def test_the_completion_script_is_one_that_bash_takes_and_completes_commands(tmp_path: Path) -> None:
    script = tmp_path / "completion"
    script.write_bytes(wiretape("completion", "bash").stdout)
    subprocess.run(["bash", "-n", script], check=True, timeout=60)
    offered = wiretape(env={"_WIRETAPE_COMPLETE": "bash_complete", "COMP_WORDS": "wiretape rec", "COMP_CWORD": "1"})
    assert offered.stdout == b"plain,recover\n"


def test_an_output_that_is_closed_is_no_traceback(root: Path) -> None:
    closed = subprocess.run(
        ["sh", "-c", '"$@" >&-', "sh", *COMMAND, "sessions", "--root", str(root)],
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert (closed.returncode, closed.stderr) == (0, b"")


def test_an_output_that_takes_no_more_is_a_sentence_and_status_1(root: Path, tmp_path: Path) -> None:
    script = f'ulimit -f 0; exec "$@" > "{tmp_path / "out"}"'
    command = ["sh", "-c", script, "sh", *COMMAND, "sessions", "--root", str(root)]
    done = subprocess.run(command, capture_output=True, check=False, timeout=60, env=unmeasured_environment())
    assert done.returncode == 1
    assert done.stderr.startswith(b"wiretape: standard output cannot be written: File too large")
    assert b"Exception" not in done.stderr


def test_the_name_alone_says_what_is_going_on_and_helps(root: Path) -> None:
    done = wiretape("--root", root)
    assert done.returncode == 0
    lines = done.stdout.decode().splitlines()
    assert lines[0] == "Nothing is being recorded."
    assert lines[1] == "Nothing is recorded yet."
    assert lines[2].startswith("Try: wiretape run -- CMD")
    assert lines[4].startswith("Usage: wiretape")
    assert "\\n" not in done.stdout.decode()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["quer"], "No such command 'quer'. Did you mean 'query'?"),
        (["ls"], "No such command 'ls'. Did you mean 'sessions'?"),
        (["zzzz"], "No such command 'zzzz'."),
        (["query", "last", "--wxyz"], "No such option '--wxyz'."),
        (["query", "last", "--limt", "5"], "No such option '--limt'. Did you mean '--limit'?"),
        (["completion"], "Missing argument '{bash|zsh|fish}'. Choose from: bash, zsh, fish"),
        (["exchange", "last", "abc"], "'abc' is not a whole number."),
    ],
)
def test_wrong_usage_is_one_sentence_with_a_suggestion_where_one_is_near(words: list[str], said: str) -> None:
    done = wiretape(*words)
    assert done.returncode == 2
    first = done.stderr.decode().splitlines()[0]
    assert first.endswith(said), first
    assert "\\n" not in first


def test_help_is_a_command_too() -> None:
    assert b"Usage: wiretape query" in wiretape("help", "query").stdout
    assert b"Commands:" in wiretape("help").stdout
    assert wiretape("help", "nope").returncode == 2
