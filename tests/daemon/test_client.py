"""Finding, starting and asking the daemon of a root."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.processes import wait_gone
from wiretape.channel.blocking import BlockingChannel
from wiretape.daemon import client
from wiretape.daemon.lock import RootLock
from wiretape.daemon.paths import SOCKET_PATH_MAX, socket_path
from wiretape.errors import BusyError, DaemonError, NotFoundError, StorageError, UsageError


@pytest.fixture
def stopped_afterwards(root: Path) -> Iterator[None]:
    """End the daemon that a test started."""
    yield
    try:
        pid = client.request(root, {"cmd": "stop"})["pid"]
    except NotFoundError:
        return
    wait_gone(pid)


def test_no_daemon_is_an_error_that_says_how_to_start_one(root: Path) -> None:
    with pytest.raises(NotFoundError, match=str(root)) as missing:
        client.request(root, {"cmd": "status"})
    assert missing.value.code == "no-daemon"
    assert "wiretape serve" in missing.value.hint


def test_a_socket_left_by_a_killed_daemon_counts_as_none(root: Path) -> None:
    root.mkdir()
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(os.fspath(socket_path(root)))
    with pytest.raises(NotFoundError):
        client.connect(root)


@pytest.mark.usefixtures("stopped_afterwards")
def test_two_that_start_a_daemon_at_once_get_the_same_one(root: Path) -> None:
    connections: list[socket.socket] = []
    threads = [
        threading.Thread(target=lambda: connections.append(client.ensure_daemon(root, timeout=60))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pids = set()
    for connection in connections:
        with connection:
            channel = BlockingChannel(connection)
            client.greet(channel, {"wiretape": "control"})
            pids.add(channel.call({"cmd": "status"})["pid"])
    assert len(connections) == 3
    assert len(pids) == 1


@pytest.mark.usefixtures("stopped_afterwards")
def test_a_root_too_deep_for_a_sockets_name_works_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    path = socket_path(deep)
    assert len(os.fsencode(path)) <= SOCKET_PATH_MAX
    # Another environment, as cron or another terminal has it, means no other place.
    for variable in ("XDG_RUNTIME_DIR", "TMPDIR"):
        monkeypatch.setenv(variable, str(tmp_path))
        assert socket_path(deep) == path
    client.ensure_daemon(deep, timeout=60).close()
    try:
        assert client.request(deep, {"cmd": "status"})["root"] == str(deep)
        assert path.stat().st_mode & 0o077 == 0
        assert path.parent.stat().st_mode & 0o077 == 0
    finally:
        wait_gone(client.request(deep, {"cmd": "stop"})["pid"])


@pytest.mark.usefixtures("stopped_afterwards")
def test_what_the_daemon_does_not_understand_is_answered_with_what_it_does(root: Path) -> None:
    client.ensure_daemon(root, timeout=60).close()
    with pytest.raises(UsageError, match="'dance'") as unknown:
        client.request(root, {"cmd": "dance"})
    assert "status" in unknown.value.hint
    with client.connect(root) as connection, pytest.raises(UsageError, match="'web'"):
        client.greet(BlockingChannel(connection), {"wiretape": "web"})
    odd = b'{"wiretape": "mcp", "toolsets": 5}\n'
    for line in (b"garbage\n", b"[1]\n", b"\xff\xfe\n", b'{"wiretape": 7}\n', odd):
        with client.connect(root) as connection, connection.makefile("rwb") as stream:
            stream.write(line)
            stream.flush()
            answer = json.loads(stream.readline())
            assert (answer["wiretape"], answer["error"]["code"]) == ("error", "usage")
            assert stream.readline() == b""
    for command in ({"cmd": "start-proxy", "port": "x"}, {"cmd": "start-proxy", "port": 65536}):
        with pytest.raises(UsageError):
            client.request(root, command)
    with pytest.raises(UsageError):
        client.request(root, {"cmd": "start-session", "name": 5})
    assert client.request(root, {"cmd": "start-session", "name": "fine"})["session"]["name"] == "fine"


@pytest.mark.usefixtures("stopped_afterwards")
def test_a_proxy_can_be_started_and_stopped_over_the_socket(root: Path) -> None:
    client.ensure_daemon(root, timeout=60).close()
    started = client.request(root, {"cmd": "start-proxy", "port": 0, "name": "mine"})
    with socket.create_connection(("127.0.0.1", started["port"])):
        pass
    with pytest.raises(DaemonError, match="already running"):
        client.request(root, {"cmd": "start-proxy"})
    assert client.request(root, {"cmd": "stop-proxy"})["sessionId"] == started["sessionId"]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", started["port"]))


def test_a_daemon_that_cannot_start_is_reported_with_its_own_words(root: Path) -> None:
    (root / "ca").mkdir(parents=True)
    (root / "ca" / "ca.key").write_text("broken")
    with pytest.raises(DaemonError, match=r"ca\.key"):
        client.ensure_daemon(root, timeout=60)


def test_a_root_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "root").write_text("")
    with pytest.raises(StorageError, match=str(tmp_path / "root")):
        client.ensure_daemon(tmp_path / "root")


def test_a_lock_names_its_holder_and_ends_with_it(root: Path) -> None:
    lock = RootLock(root)
    with pytest.raises(BusyError, match=f"pid {os.getpid()}") as busy:
        RootLock(root)
    assert busy.value.pid == os.getpid()
    assert busy.value.hint
    lock.release()
    RootLock(root).release()
