"""Raw JSON-RPC lines through `wiretape mcp`, as `printf ... | wiretape mcp` sends them."""

from __future__ import annotations

import array
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.processes import wait_gone
from tests.support.unmeasured import unmeasured_environment
from wiretape.channel.messages import LINE_MAX
from wiretape.cli.demo.waiting import DEADLINE, wait_until
from wiretape.daemon.client import request
from wiretape.errors import NotFoundError
from wiretape.mcpserver.tools import TOOLSETS

CLIENT = {"name": "printf", "version": "1"}
ENVELOPE = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": CLIENT,
    "io.modelcontextprotocol/clientCapabilities": {},
}


def end_daemon(root: Path) -> None:
    try:
        request(root, {"cmd": "stop"})
    except NotFoundError:
        return


@pytest.fixture
def root(root: Path) -> Iterator[Path]:
    """The test's own root; the daemon that a bridge started there is ended."""
    yield root
    end_daemon(root)


@pytest.fixture(scope="module")
def shared_root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A root for tests that only talk; the daemon that the first bridge starts answers all of them."""
    root = tmp_path_factory.mktemp("shared") / "root"
    yield root
    end_daemon(root)


def call(number: int | str, method: str, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}


def is_waiting(pid: int) -> bool:
    """Whether a process has nothing left to read on stdin and sleeps."""
    with Path(f"/proc/{pid}/fd/0").open("rb") as stdin:
        queued = array.array("i", [0])
        fcntl.ioctl(stdin.fileno(), termios.FIONREAD, queued)
    state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return queued[0] == 0 and state == "S"


def initialize(version: str = "2025-11-25") -> dict[str, Any]:
    return call(1, "initialize", protocolVersion=version, capabilities={}, clientInfo=CLIENT)


def piped(root: Path, *lines: object, arguments: tuple[str, ...] = ()) -> dict[Any, dict[str, Any]]:
    text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
    done = subprocess.run(
        [sys.executable, "-m", "wiretape", "mcp", "--root", str(root), *arguments],
        input=text.encode(),
        capture_output=True,
        timeout=DEADLINE * 2,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    return {answer.get("id"): answer for answer in answers}


def test_the_handshake_the_list_and_a_recovery_are_answered_although_stdin_has_ended(root: Path) -> None:
    answers = piped(
        root,
        initialize(),
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        call(2, "tools/list"),
        call(3, "tools/call", name="proxy_session_recover", arguments={}),
    )
    assert answers.keys() == {1, 2, 3}
    assert answers[1]["result"]["protocolVersion"] == "2025-11-25"
    assert answers[1]["result"]["serverInfo"]["name"] == "wiretape"
    assert "proxy_session_recover" in {tool["name"] for tool in answers[2]["result"]["tools"]}
    recovered = answers[3]["result"]
    assert recovered["structuredContent"] == {"status": "success", "recovered": [], "skipped": []}
    assert json.loads(recovered["content"][0]["text"]) == recovered["structuredContent"]


def test_the_stateless_form_needs_no_handshake(shared_root: Path) -> None:
    answers = piped(
        shared_root,
        call(1, "server/discover", _meta=ENVELOPE),
        call(2, "tools/list", _meta=ENVELOPE),
        call(3, "tools/call", name="proxy_session_recover", arguments={}, _meta=ENVELOPE),
    )
    assert "2026-07-28" in answers[1]["result"]["supportedVersions"]
    assert len(answers[2]["result"]["tools"]) >= 9
    assert answers[3]["result"]["structuredContent"]["status"] == "success"


def test_a_handshake_that_asks_for_the_stateless_version_gets_the_newest_with_a_handshake(shared_root: Path) -> None:
    answers = piped(shared_root, initialize("2026-07-28"), call(2, "tools/list"))
    assert answers[1]["result"]["protocolVersion"] == "2025-11-25"
    assert answers[2]["result"]["tools"]


def test_lines_that_are_no_messages_are_answered_and_the_rest_goes_on(shared_root: Path) -> None:
    answers = piped(shared_root, initialize(), "this is no JSON", call(2, "ping"))
    assert answers[None]["error"]["code"] == -32700
    assert answers[2]["result"] == {}
    assert piped(shared_root, initialize(), '{"jsonrpc": "1.0"}')[None]["error"]["code"] == -32600


@pytest.mark.parametrize(
    ("line", "number", "code"),
    [
        ('{"jsonrpc":"2.0","id":null,"method":"ping"}', None, -32600),
        ('{"jsonrpc":"2.0","id":1.5,"method":"ping"}', None, -32600),
        ('{"jsonrpc":"2.0","id":true,"method":"ping"}', None, -32600),
        ('{"jsonrpc":"2.0","id":{"a":1},"method":"ping"}', None, -32600),
        ('{"jsonrpc":"2.0","id":17,"method":"ping","params":[]}', 17, -32600),
        ('{"jsonrpc":"2.0","id":"18","method":123}', "18", -32600),
        ('{"jsonrpc":"2.0","id":19,"method":"tools/call","params":{"name":"\\ud800","arguments":{}}}', 19, -32600),
        ("[" * 100_000 + "]" * 100_000, None, -32700),
        ('{"jsonrpc":"2.0","id":40,"method":"ping","x":"' + "a" * (LINE_MAX + 1) + '"}', None, -32600),
    ],
    ids=["null", "fraction", "boolean", "object", "parameters", "method", "half a character", "nested", "too long"],
)
def test_a_request_that_is_none_is_answered_under_its_id_where_it_can_be_told(
    shared_root: Path, line: str, number: object, code: int
) -> None:
    answers = piped(shared_root, initialize(), line, call(2, "ping"))
    assert answers.keys() == {1, number, 2}
    assert answers[number]["error"]["code"] == code
    assert ("too long" in answers[number]["error"]["message"]) == (len(line) > LINE_MAX)
    assert answers[2]["result"] == {}


@pytest.mark.parametrize("params", ["[1]", "null", '"x"', "{}", '{"requestId":{"a":[]}}', "7"])
def test_a_cancellation_of_nothing_is_answered_with_silence_or_an_error(shared_root: Path, params: str) -> None:
    cancelled = f'{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{params}}}'
    answers = piped(shared_root, initialize(), cancelled, call(2, "ping"))
    assert answers[2]["result"] == {}
    assert answers.keys() <= {1, 2, None}


def test_a_capture_outlives_the_bridge_that_began_it_and_the_next_one_finds_it(root: Path) -> None:
    started = piped(root, initialize(), call(2, "tools/call", name="proxy_start", arguments={"port": 0}))
    port = started[2]["result"]["structuredContent"]["port"]
    status = piped(root, initialize(), call(2, "tools/call", name="proxy_status", arguments={"verbose": True}))
    assert status[2]["result"]["structuredContent"]["port"] == port
    assert status[2]["result"]["structuredContent"]["bridges"] == 1


def test_toolsets_and_read_only_are_the_bridges_own(shared_root: Path) -> None:
    arguments = ("--toolsets", "legacy,core", "--read-only")
    names = {
        tool["name"]
        for tool in piped(shared_root, initialize(), call(2, "tools/list"), arguments=arguments)[2]["result"]["tools"]
    }
    assert "proxy_query_session" in names
    assert "proxy_get_session" in names
    assert not names & {"proxy_start", "proxy_delete_session", "proxy_clear_traffic"}
    default = {tool["name"] for tool in piped(shared_root, initialize(), call(2, "tools/list"))[2]["result"]["tools"]}
    assert "proxy_start" in default
    assert "proxy_get_session" not in default


def test_an_unknown_toolset_ends_the_bridge_with_a_sentence(shared_root: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "wiretape", "mcp", "--root", str(shared_root), "--toolsets", "bodies"],
        input=b"",
        capture_output=True,
        timeout=DEADLINE * 2,
        check=False,
    )
    assert done.returncode == 2
    assert b"'bodies'" in done.stderr
    assert f"there are {', '.join(TOOLSETS)} and all".encode() in done.stderr
    assert done.stdout == b""


class Conversation:
    """A bridge that is talked to line by line."""

    def __init__(self, root: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "wiretape", "mcp", "--root", str(root)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def ask(self, message: dict[str, Any]) -> dict[str, Any]:
        """Send a request and give the next line that comes."""
        self.say(message)
        assert self.process.stdout is not None
        answer = json.loads(self.process.stdout.readline())
        assert isinstance(answer, dict)
        return answer

    def say(self, message: dict[str, Any]) -> None:
        """Send a line."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        self.process.stdin.flush()

    def end(self) -> tuple[int, bytes]:
        """Close stdin; give the status and what still came."""
        rest, _ = self.process.communicate(timeout=DEADLINE)
        return self.process.returncode, rest


def test_a_killed_daemon_costs_the_agent_nothing_but_what_was_being_asked(root: Path) -> None:
    bridge = Conversation(root)
    try:
        assert bridge.ask(initialize())["result"]
        bridge.say({"jsonrpc": "2.0", "method": "notifications/initialized"})
        status = bridge.ask(call(2, "tools/call", name="proxy_status", arguments={"verbose": True}))
        first = status["result"]["structuredContent"]["pid"]
        # It is stopped, so that the next request is surely unanswered when it is killed.
        os.kill(first, signal.SIGSTOP)
        bridge.say(call(3, "tools/list"))
        bridge.say(call("3", "ping"))
        wait_until(lambda: is_waiting(bridge.process.pid), what="the bridge having passed its requests on")
        os.kill(first, signal.SIGKILL)
        assert bridge.process.stdout is not None
        lost = [json.loads(bridge.process.stdout.readline()) for _ in range(2)]
        assert [answer["id"] for answer in lost] == [3, "3"]
        assert all("ask again" in answer["error"]["message"].lower() for answer in lost)
        status = bridge.ask(call(4, "tools/call", name="proxy_status", arguments={"verbose": True}))
        assert status["id"] == 4
        assert status["result"]["structuredContent"]["pid"] != first
    finally:
        code, rest = bridge.end()
    assert rest == b""
    assert code == 1


def test_a_dying_daemon_that_still_takes_a_connection_is_not_mistaken_for_a_live_one(root: Path) -> None:
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = root / "daemon.sock"
    with socket.socket(socket.AF_UNIX) as dying:
        dying.bind(str(path))
        dying.listen()
        bridge = Conversation(root)
        bridge.say(initialize())
        dying.accept()[0].close()
    try:
        assert bridge.process.stdout is not None
        assert json.loads(bridge.process.stdout.readline())["result"]
    finally:
        assert bridge.end() == (0, b"")


def test_a_stopped_daemon_stays_stopped_until_the_agent_asks_again(root: Path) -> None:
    bridge = Conversation(root)
    try:
        assert bridge.ask(initialize())["result"]
        pid = request(root, {"cmd": "stop"})["pid"]
        wait_gone(pid)
        assert not (root / "daemon.sock").exists()
        assert bridge.ask(call(2, "tools/list"))["result"]["tools"]
    finally:
        assert bridge.end() == (0, b"")


def test_the_bridge_imports_nothing_heavy() -> None:
    code = (
        "import sys, wiretape.daemon.bridge, wiretape.cli.commands.mcp;"
        "print(sorted({'asyncio', 'mcp', 'msgspec', 'pydantic', 'rich', 'cryptography', 'sqlite3'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=True,
        env=unmeasured_environment(),
    )
    assert done.stdout.strip() == "[]"
