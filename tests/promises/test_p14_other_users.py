"""P14: another user of the machine gets at nothing, whatever the umask and the rights of the root he finds it under."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

import pytest

from harness.logs import closed_session, flip_in, segment
from harness.origin import Origin
from harness.processes import wait_gone
from tests.cli.support import wiretape_json
from tests.support.stranger import reached_by_a_stranger
from wiretape.cli.demo.stage import Daemon
from wiretape.cli.demo.waiting import DEADLINE
from wiretape.cli.main import run
from wiretape.daemon import client
from wiretape.daemon.paths import SOCKET_PATH_MAX, socket_path
from wiretape.errors import DaemonError, StorageError

PUBLIC = {"ca.pem", "bundle.pem"}
"""Certificates, which are to be given away."""


@pytest.fixture
def open_root() -> Iterator[Path]:
    """A root that everybody may look into, in a folder where everybody may go, under a umask that forbids nothing."""
    before = os.umask(0)
    folder = Path(tempfile.mkdtemp(prefix="wiretape-test-", dir="/tmp"))
    try:
        folder.chmod(0o755)
        root = folder / "root"
        root.mkdir(mode=0o755)
        yield root
    finally:
        os.umask(before)
        shutil.rmtree(folder)


def private_files(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.name not in PUBLIC and path != root]


def test_p14_a_stranger_gets_at_nothing_of_a_recording(open_root: Path, http_origin: Origin) -> None:
    with Daemon(open_root) as daemon:
        opener = build_opener(ProxyHandler({"http": daemon.proxy}))
        with opener.open(http_origin.url("/bytes/100000"), timeout=DEADLINE) as response:
            response.read()
        names = {path.name for path in open_root.rglob("*")}
        assert {"daemon.sock", "daemon.json", "token", "ca.key", "0-00000001.wlog", "manifest.json"} <= names
        while_it_runs = reached_by_a_stranger(open_root)
        wrong = [path for path in private_files(open_root) if stat.S_IMODE(path.lstat().st_mode) & 0o077]
    assert wrong == []
    # The root itself is as its owner made it: its names may be read, and nothing else.
    assert while_it_runs == [str(open_root)]


def test_p14_a_stranger_gets_at_nothing_that_commands_derive_or_import(open_root: Path, tmp_path: Path) -> None:
    made = closed_session(open_root)
    flip_in(segment(made), b"answer 2")
    run(["recover", "last", "--root", str(open_root)])
    run(["query", "last", "--root", str(open_root)])
    run(["pin", "last", "--root", str(open_root)])
    run(["ca", "path", "--root", str(open_root)])
    names = {path.name for path in open_root.rglob("*")}
    assert {"index.sqlite", "recovery.json", "manifest.json", "quarantine", "pinned"} <= names
    assert reached_by_a_stranger(open_root) == [str(open_root)]
    assert [path for path in private_files(open_root) if stat.S_IMODE(path.stat().st_mode) & 0o077] == []


def test_p14_the_messages_of_a_daemon_in_the_background_are_the_owners(open_root: Path) -> None:
    with client.ensure_daemon(open_root):
        assert (open_root / "daemon.log").stat().st_mode & 0o077 == 0
        assert reached_by_a_stranger(open_root) == [str(open_root)]
    wait_gone(client.request(open_root, {"cmd": "stop"})["pid"])


def test_a_stranger_would_be_seen(open_root: Path) -> None:
    """What the others rely on: what is open is reported as open."""
    (open_root / "open").write_text("x")
    (open_root / "closed").touch(mode=0o600)
    assert reached_by_a_stranger(open_root) == [str(open_root), str(open_root / "open")]


def test_p14_a_root_that_others_may_read_or_write_is_reported(open_root: Path) -> None:
    run(["ca", "path", "--root", str(open_root)])
    for mode, path in ((0o777, open_root), (0o755, open_root / "sessions"), (0o755, open_root / "ca")):
        path.mkdir(exist_ok=True)
        path.chmod(mode)
        checks = wiretape_json("doctor", "--root", open_root, status=0)["checks"]
        told = [check for check in checks if check["result"] != "ok" and str(path) in check["detail"]]
        assert told, (path, checks)
        assert f"chmod 700 {path}" in told[0]["hint"]
        assert stat.S_IMODE(path.stat().st_mode) == mode, "doctor only looks"
        path.chmod(0o700)


def test_p14_a_key_that_others_can_read_is_a_failure_until_it_is_used_and_closed_again(open_root: Path) -> None:
    run(["ca", "path", "--root", str(open_root)])
    key = open_root / "ca" / "ca.key"
    key.chmod(0o644)
    checks = wiretape_json("doctor", "--root", open_root, status=1)["checks"]
    assert [check["result"] for check in checks if check["check"] == "CA"] == ["fail"]
    assert stat.S_IMODE(key.stat().st_mode) == 0o644
    run(["ca", "path", "--root", str(open_root)])
    assert stat.S_IMODE(key.stat().st_mode) == 0o600


def test_p14_a_token_that_others_can_read_is_a_failure_until_a_daemon_replaces_it(open_root: Path) -> None:
    with Daemon(open_root) as daemon:
        before = daemon.token
        assert [check["result"] for check in doctor(open_root, 0) if check["check"] == "API token"] == ["ok"]
    token = open_root / "token"
    token.chmod(0o644)
    checks = [check for check in doctor(open_root, 1) if check["check"] == "API token"]
    assert [check["result"] for check in checks] == ["fail"]
    assert token.read_text().strip() == before, "doctor only looks"
    assert before not in str(checks)
    with Daemon(open_root) as daemon:
        assert daemon.token != before
        assert stat.S_IMODE(token.stat().st_mode) == 0o600
        said = client.request(open_root, {"cmd": "status"})["warnings"]
        assert [str(token) in warning for warning in said] == [True]
        assert "could be read" in daemon.messages.read_text()


def doctor(root: Path, status: int) -> list[dict[str, str]]:
    found: list[dict[str, str]] = wiretape_json("doctor", "--root", root, status=status)["checks"]
    return found


def test_p14_a_daemons_socket_is_not_looked_for_in_a_folder_that_somebody_else_made(
    open_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wiretape.daemon.paths.FAR_ROOTS", open_root)
    root = open_root / ("x" * SOCKET_PATH_MAX)
    path = socket_path(root)
    assert path.parent.parent == open_root
    path.parent.mkdir()
    path.parent.chmod(0o755)
    with pytest.raises(StorageError, match="not a private folder"):
        client.connect(root)
    path.parent.rmdir()
    (open_root / "elsewhere").mkdir(mode=0o700)
    path.parent.symlink_to(open_root / "elsewhere")
    with pytest.raises(StorageError, match="not a private folder"):
        client.connect(root)


@pytest.mark.parametrize(
    "name", ["daemon.lock", "daemon.json", "daemon.sock", "daemon.log", "token", "ca/lock", "ca/ca.key"]
)
def test_p14_links_in_the_root_lead_a_daemon_nowhere(root: Path, tmp_path: Path, name: str) -> None:
    outside = tmp_path / "outside"
    outside.write_text("alive")
    outside.chmod(0o644)
    root.mkdir()
    (root / "ca").mkdir()
    (root / name).symlink_to(outside)
    try:
        with client.ensure_daemon(root):
            assert outside.read_text() == "alive"
        wait_gone(client.request(root, {"cmd": "stop"})["pid"])
    except (DaemonError, StorageError):
        # A daemon that cannot have its own files says so and does not start.
        assert name in {"daemon.lock", "daemon.log", "token", "ca/lock", "ca/ca.key"}
    assert outside.read_text() == "alive"
    assert stat.S_IMODE(outside.stat().st_mode) == 0o644
