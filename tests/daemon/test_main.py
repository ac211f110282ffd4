"""`wiretape serve` as users and programs meet it."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

import pytest

from harness.origin import Origin
from harness.processes import wait_gone
from wiretape.cli.demo.stage import Daemon
from wiretape.cli.demo.waiting import DEADLINE, wait_until
from wiretape.daemon.client import request
from wiretape.session.catalogue import Catalogue
from wiretape.session.recovery.history import RECOVERY


def get(daemon: Daemon, url: str) -> bytes:
    opener = build_opener(ProxyHandler({"http": daemon.proxy}))
    with opener.open(url, timeout=DEADLINE) as response:
        return bytes(response.read())


def status(root: Path) -> dict[str, object]:
    return request(root, {"cmd": "status"})


def test_prints_exactly_one_line_with_the_agreed_keys(root: Path) -> None:
    with Daemon(root) as daemon:
        assert list(daemon.ready) == ["proxy", "mcp", "ui", "caCert", "root", "sessionId", "pid", "recorderPids"]
        assert daemon.ready["pid"] == daemon.process.pid
        assert Path(daemon.ready["caCert"]).read_text().startswith("-----BEGIN CERTIFICATE-----")
        code, rest = daemon.stop()
    assert (code, rest) == (0, "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_it_with_the_session_sealed(root: Path, http_origin: Origin, number: int) -> None:
    with Daemon(root) as daemon:
        get(daemon, http_origin.url("/bytes/10"))
        assert daemon.stop(number)[0] == 0
    with Catalogue(root).open(daemon.session_id) as session:
        report = session.verify()
    assert (report.state, report.exchanges, report.interrupted) == ("clean", 1, 0)
    wait_gone(daemon.ready["recorderPids"][0])


def test_recorder_and_background_share_the_daemons_session_but_not_what_a_terminal_sends_it(root: Path) -> None:
    def background() -> int:
        return int(request(root, {"cmd": "status"})["background"]["pid"] or 0)

    with Daemon(root) as daemon:
        wait_until(background, what="the background's start")
        pids: list[int] = [daemon.ready["recorderPids"][0], background()]
        for pid in pids:
            assert os.getsid(pid) == os.getsid(daemon.ready["pid"])
            assert os.getpgid(pid) == pid


def test_what_it_prints_for_people_can_be_pasted(root: Path) -> None:
    command = [sys.executable, "-m", "wiretape", "serve", "--root", str(root)]
    with subprocess.Popen(
        [*command, "--proxy", "127.0.0.1:0", "--api", "127.0.0.1:0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        try:
            wait_until((root / "daemon.json").exists, what="the daemon's own file")
            facts = json.loads((root / "daemon.json").read_text())
        finally:
            process.terminate()
            page = process.communicate(timeout=DEADLINE)[0].decode()
    assert f"curl --proxy {facts['url']} --cacert {facts['caCert']} \\\n      https://" in page
    assert facts["mcp"] in page
    token = (root / "token").read_text().strip()
    assert f"{facts['ui']}?token={token}\n" in page
    stdio, over_http = (json.loads(block) for block in re.findall(r"^\{.*?^\}", page, re.MULTILINE | re.DOTALL))
    server = stdio["mcpServers"]["wiretape"]
    assert server["args"][-3:] == ["mcp", "--root", str(root)]
    assert os.access(server["command"], os.X_OK)
    server = over_http["mcpServers"]["wiretape"]
    assert server == {"type": "http", "url": facts["mcp"], "headers": {"Authorization": f"Bearer {token}"}}


def test_a_killed_recorder_is_back_on_the_same_port_in_the_same_session(root: Path, http_origin: Origin) -> None:
    with Daemon(root) as daemon:
        get(daemon, http_origin.url("/bytes/10?before"))
        old = daemon.ready["recorderPids"][0]
        os.kill(old, signal.SIGKILL)
        # No waiting: the connection is accepted by the successor, out of the backlog that outlived its predecessor.
        assert len(get(daemon, http_origin.url("/bytes/10?after"))) == 10
        now = status(root)
        assert now["recorderPids"] != [old]
        assert now["recorderRestarts"] == 1
        assert now["sessionId"] == daemon.session_id
        with Catalogue(root).open(daemon.session_id) as session:
            urls = [item.url for item in session.query(sort="asc").items]
        assert [url.rpartition("?")[2] for url in urls] == ["before", "after"]


def test_recorders_end_when_the_daemon_is_killed_and_its_successor_gets_the_port(
    root: Path, http_origin: Origin
) -> None:
    with Daemon(root) as daemon:
        get(daemon, http_origin.url("/bytes/10"))
        daemon.process.kill()
        daemon.process.wait(DEADLINE)
        address = daemon.proxy.removeprefix("http://")
        with Daemon(root, "--proxy", address) as successor:
            assert successor.proxy == daemon.proxy
            assert successor.session_id != daemon.session_id
            wait_gone(daemon.ready["recorderPids"][0])
            get(successor, http_origin.url("/bytes/10"))
    with Catalogue(root).open(daemon.session_id) as session:
        assert [item.state for item in session.query().items] == ["complete"]


def test_p13_a_session_left_unclean_is_recovered_by_the_next_daemon_unasked(root: Path, http_origin: Origin) -> None:
    with Daemon(root) as daemon:
        get(daemon, http_origin.url("/bytes/10"))
        os.kill(daemon.ready["recorderPids"][0], signal.SIGSTOP)
        daemon.process.kill()
        os.kill(daemon.ready["recorderPids"][0], signal.SIGKILL)
        daemon.process.wait(DEADLINE)
    with Daemon(root):
        # Not what the daemon says it recovered: the killed one's background process, while it still lived, may have
        # been the faster one.
        folder = Catalogue(root).folder / daemon.session_id
        wait_until((folder / RECOVERY).exists, what="the recovery of the unclean session")
    summary = next(line for line in Catalogue(root).list() if line.session_id == daemon.session_id)
    assert (summary.recovery_state, summary.exchanges) == ("recovered", 1)


def test_a_root_in_use_names_the_holder_and_harms_nothing(root: Path) -> None:
    with Daemon(root) as daemon:
        command = [sys.executable, "-m", "wiretape", "serve", "--root", str(root), "--proxy", "127.0.0.1:0"]
        second = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=False)
        assert second.returncode == 1
        assert f"pid {daemon.process.pid}" in second.stderr
        assert "hint:" in second.stderr
        assert "Traceback" not in second.stderr
        assert status(root)["pid"] == daemon.process.pid


@pytest.mark.parametrize("option", ["--proxy", "--api"])
def test_a_port_in_use_is_named_and_no_session_is_left(root: Path, option: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        other = "--api" if option == "--proxy" else "--proxy"
        command = [sys.executable, "-m", "wiretape", "serve", "--root", str(root)]
        done = subprocess.run(
            [*command, option, f"127.0.0.1:{port}", other, "127.0.0.1:0"],
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )
    assert done.returncode == 1
    assert f"port {port}" in done.stderr
    assert "Traceback" not in done.stderr
    assert Catalogue(root).list() == []


def test_a_root_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    command = [sys.executable, "-m", "wiretape", "serve", "--root", str(tmp_path / "file" / "root")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert done.returncode == 1
    assert str(tmp_path / "file" / "root") in done.stderr
    assert "Traceback" not in done.stderr


def test_without_recording_traffic_passes_and_no_session_exists(root: Path, http_origin: Origin) -> None:
    with Daemon(root, "--no-record") as daemon:
        assert daemon.ready["sessionId"] is None
        assert len(get(daemon, http_origin.url("/bytes/10"))) == 10
    assert Catalogue(root).list() == []


def test_several_recorders_share_the_port_and_number_without_gaps_of_their_own(root: Path, http_origin: Origin) -> None:
    with Daemon(root, "--workers", "2") as daemon:
        assert len(set(daemon.ready["recorderPids"])) == 2
        for number in range(8):
            get(daemon, http_origin.url(f"/bytes/10?{number}"))
        with Catalogue(root).open(daemon.session_id) as session:
            page = session.query()
        assert page.matched == 8
        assert len({item.seq for item in page.items}) == 8


def test_the_background_process_runs_at_the_lowest_priority(root: Path) -> None:
    with Daemon(root) as daemon:
        children = Path(f"/proc/{daemon.process.pid}/task").glob("*/children")
        pids = [int(pid) for path in children for pid in path.read_text().split()]
        name = b"wiretape.maintenance.background"
        background = [pid for pid in pids if name in Path(f"/proc/{pid}/cmdline").read_bytes()]
        assert len(background) == 1
        wait_until(lambda: os.getpriority(os.PRIO_PROCESS, background[0]) == 19, what="nice 19")
    wait_gone(background[0])


def test_the_index_follows_a_quiet_log_by_itself(root: Path, http_origin: Origin) -> None:
    with Daemon(root) as daemon:
        get(daemon, http_origin.url("/bytes/10"))
        index = root / "sessions" / daemon.session_id / "index.sqlite"
        wait_until(index.exists, what="the index that nobody asked for")


def test_the_stop_command_returns_from_a_daemon_whose_session_is_sealed(root: Path, http_origin: Origin) -> None:
    with Daemon(root) as daemon:
        get(daemon, http_origin.url("/bytes/10"))
        done = subprocess.run(
            [sys.executable, "-m", "wiretape", "stop", "--root", str(root)],
            capture_output=True,
            timeout=DEADLINE,
            check=False,
        )
        assert done.returncode == 0
        with Catalogue(root).open(daemon.session_id) as session:
            assert session.verify().state == "clean"
        assert daemon.process.wait(DEADLINE) == 0


def test_a_daemon_that_nobody_needs_ends_by_itself(root: Path) -> None:
    before = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "wiretape.mcpserver", str(root), "0.3"],
        capture_output=True,
        timeout=DEADLINE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - before >= 0.3
    assert not (root / "daemon.json").exists()
