"""Commands that an agent has run: what they caused, what they printed, and that nothing of them is left."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from mcp.client import Client

from harness.clients import needs
from harness.origin import Origin
from tests.mcpserver.conftest import InProcess


def run(in_process: InProcess, **arguments: Any) -> Any:
    async def ask(client: Client) -> Any:
        return await client.call_tool("proxy_run", arguments)

    return in_process.run(ask)


def test_a_command_is_recorded_and_summed_up(in_process: InProcess, http_origin: Origin, tmp_path: Path) -> None:
    curl = needs("curl")
    script = (
        f"{curl} -sS {http_origin.url('/text/30')}; {curl} -sS {http_origin.url('/status/404')} >&2; echo $X; exit 3"
    )
    told = run(
        in_process, command=["sh", "-c", script], cwd=str(tmp_path), env={"X": "from env"}, session_name="bad-run"
    ).structured_content
    assert (told["exit"], told["session"], told["exchanges"], told["failed"]) == (3, "bad-run", 2, 0)
    assert told["errors"]["columns"] == ["seq", "op", "status", "message"]
    assert [row[:3] for row in told["errors"]["rows"]] == [[2, "GET /status/{id}", 404]]
    assert told["stdoutTail"].endswith("from env")
    assert "warnings" not in told
    assert told["seconds"] >= 0


def test_a_command_that_did_not_use_the_proxy_is_said_to_be_silent(in_process: InProcess) -> None:
    told = run(in_process, command=["true"]).structured_content
    assert (told["exit"], told["exchanges"]) == (0, 0)
    assert told["warnings"][0].startswith("0 exchanges: the command did not use the proxy")


def test_servers_whose_issuer_is_unknown_are_named_with_the_remedy(in_process: InProcess, https_origin: Origin) -> None:
    told = run(in_process, command=[needs("curl"), "-s", https_origin.url("/text/5")]).structured_content
    assert told["failed"] == 1
    assert "1 of 1 exchanges failed" in told["warnings"][0]
    assert "upstream_ca" in told["warnings"][0]


def test_a_client_that_does_not_trust_the_ca_is_named(in_process: InProcess, https_origin: Origin) -> None:
    code = "import ssl,sys,urllib.request as u;u.urlopen(sys.argv[1],context=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))"
    told = run(in_process, command=[sys.executable, "-c", code, https_origin.url("/")]).structured_content
    assert told["exit"] == 1
    assert "does not trust wiretape's CA" in told["warnings"][0]


def test_a_command_that_takes_too_long_is_ended_with_all_it_started(in_process: InProcess, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    script = f"sleep 600 & echo $! > {pid}; echo begun; wait"
    told = run(in_process, command=["sh", "-c", script], timeout_s=1).structured_content
    assert told["timedOut"]
    assert "timeout_s" in told["warnings"][0]
    assert told["stdoutTail"] == "begun"
    assert not _runs(int(pid.read_text()))


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def test_what_is_printed_is_bounded(in_process: InProcess) -> None:
    told = run(in_process, command=[sys.executable, "-c", "print('x' * 10**7)"]).structured_content
    assert len(told["stdoutTail"]) == 1500


def test_errors_name_the_thing_and_leave_no_session(in_process: InProcess, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("no program")
    for arguments, words in (
        ({"command": ["no-such-program"]}, ["'no-such-program'", "PATH"]),
        ({"command": [str(plain)]}, ["cannot be executed"]),
        ({"command": ["true"], "cwd": "/nowhere/at/all"}, ["cwd", "/nowhere/at/all"]),
        ({"command": []}, ["command"]),
        ({"command": "ls -l"}, ["command takes a list"]),
        ({"command": ["true"], "upstream_ca": "/nowhere.pem"}, ["upstream_ca"]),
    ):
        result = run(in_process, **arguments)
        assert result.is_error, arguments
        assert all(word in result.content[0].text for word in words), result.content[0].text
    assert not (in_process.root / "sessions").exists()
