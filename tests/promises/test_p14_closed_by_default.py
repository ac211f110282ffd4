"""P14: what comes from outside never becomes a path, whichever command or tool it is given to, new ones included."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import pytest
from mcp.client import Client

from harness.logs import closed_session, snapshot
from wiretape.cli.demo.stage import Daemon
from wiretape.cli.main import COMMANDS, MODULES, run

CANARY = "canary"
HOSTILE = (
    "..",
    ".",
    "../..",
    "../canary",
    "../../canary",
    "sessions/../../canary",
    "/etc/passwd",
    "%2e%2e%2fcanary",
    "..\\..\\canary",
    "．．／canary",
    "\x00",
    "a\nb\x1b[31m",
    "*",
    "20260101T000000-00000a/..",
    "20260101T000000-00000a.1/../../canary",
    ".deleted-20260101T000000-00000a",
    "x" * 20_000,
)


@pytest.fixture
def guarded(root: Path) -> Iterator[Path]:
    """A root with one session, between folders that nobody may touch; checked at the end."""
    made = closed_session(root)
    for folder in (root.parent / CANARY, root / CANARY, made.path.parent / CANARY):
        folder.mkdir(parents=True)
        (folder / "log").mkdir()
        (folder / "file").write_text("alive")
    (root.parent / "secret").write_text("alive")
    kept = {folder: snapshot(folder) for folder in (root.parent / CANARY, root / CANARY, made.log_dir)}
    yield root
    for folder, content in kept.items():
        assert snapshot(folder) == content
    assert (root.parent / "secret").read_text() == "alive"


def commands_that_take_a_session() -> list[str]:
    found = []
    for name in COMMANDS:
        command = import_module(f"wiretape.cli.commands.{MODULES.get(name, name)}").command
        assert isinstance(command, click.Command)
        if any(isinstance(param, click.Argument) and param.name == "session" for param in command.params):
            found.append(name)
    return found


@pytest.mark.parametrize("command", commands_that_take_a_session())
def test_p14_no_command_takes_a_path_for_a_session(
    guarded: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    further = {"exchange": ["1"], "delete": ["--yes"]}.get(command, [])
    for reference in HOSTILE:
        status = run([command, "--root", str(guarded), *further[1:], "--", reference, *further[:1]][: 5 + len(further)])
        assert status in {1, 2}, reference
        printed = capsys.readouterr()
        assert "Traceback" not in printed.err
        assert "bug in wiretape" not in printed.err
        assert "\x1b" not in printed.err
        assert len(printed.err) < 2_000
    assert len(commands_that_take_a_session()) >= 7


def test_p14_no_tool_takes_a_path_for_a_session_or_an_exchange(guarded: Path) -> None:
    async def ask(client: Client) -> int:
        asked = 0
        for tool in (await client.list_tools()).tools:
            for name in ("session_id", "exchange_id"):
                if name not in tool.input_schema["properties"]:
                    continue
                for reference in HOSTILE:
                    arguments: dict[str, Any] = {name: reference}
                    if tool.name == "proxy_get_session_exchange":
                        arguments = (
                            {"session_id": "last", **arguments, "seq": 1}
                            if name == "session_id"
                            else {
                                "session_id": "last",
                                **arguments,
                            }
                        )
                    result = await client.call_tool(tool.name, arguments)
                    asked += 1
                    assert result.is_error, (tool.name, arguments)
                    text = str(result.content[0].text)  # type: ignore[union-attr]
                    assert "Traceback" not in text
                    assert len(text) < 2_000
        return asked

    async def main(url: str) -> int:
        async with Client(url) as client:
            return await ask(client)

    with Daemon(guarded, "--no-record", "--proxy", "none") as daemon:
        asked = asyncio.run(main(daemon.mcp))
    assert asked >= 7 * len(HOSTILE)


def test_p14_nothing_that_is_written_can_be_read_by_others_whatever_the_umask(root: Path) -> None:
    before = os.umask(0)
    try:
        with Daemon(root) as daemon:
            daemon.stop()
    finally:
        os.umask(before)
    wrong = [
        str(path)
        for path in root.rglob("*")
        if not path.is_symlink() and stat.S_IMODE(path.stat().st_mode) & 0o077 and path.suffix != ".pem"
    ]
    assert wrong == []


def test_p14_the_private_key_leaves_its_file_in_no_file_and_no_answer(
    root: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async def answers(url: str) -> str:
        async with Client(url) as client:
            names = ("proxy_status", "proxy_get_ca_cert", "proxy_list_sessions", "proxy_session_status")
            return "".join([str((await client.call_tool(name, {})).content) for name in names])

    with Daemon(root) as daemon:
        said = asyncio.run(answers(daemon.mcp)) + str(daemon.ready)
        daemon.stop()
    for command in (["ca", "show"], ["doctor"], ["sessions"], ["status"]):
        run([*command, "--root", str(root)])
    printed = capfd.readouterr()
    keys = [path for path in root.rglob("*") if path.is_file() and b"PRIVATE KEY" in path.read_bytes()]
    assert len(keys) == 1
    assert stat.S_IMODE(keys[0].stat().st_mode) == 0o600
    text = keys[0].read_text()
    secret = next(line for line in text[text.index("PRIVATE KEY") :].splitlines()[1:] if len(line) > 40)
    others = [path for path in root.rglob("*") if path.is_file() and path != keys[0]]
    assert all(secret.encode() not in path.read_bytes() for path in others)
    assert secret not in said + printed.out + printed.err + daemon.messages.read_text()
