"""serve, status, stop, mcp, ca and doctor against a real daemon."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.clients import RawClient
from harness.origin import Origin
from tests.cli.support import COMMAND, wiretape, wiretape_json
from wiretape.cli.demo.certificates import OriginCA
from wiretape.cli.demo.stage import Daemon
from wiretape.cli.demo.waiting import wait_until


@pytest.fixture
def daemon(root: Path, origin_ca: OriginCA, tmp_path: Path) -> Iterator[Daemon]:
    options = ("--session", "mine", "--upstream-ca", str(origin_ca.pem))
    made = Daemon(root, *options, messages=tmp_path / "daemon.log")
    yield made
    made.close()


@pytest.fixture(scope="module")
def lasting(origin_ca: OriginCA, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon for tests that leave it as it is."""
    options = ("--session", "mine", "--upstream-ca", str(origin_ca.pem))
    with Daemon(tmp_path_factory.mktemp("lasting") / "root", *options) as made:
        yield made


@pytest.mark.parametrize(("options", "status"), [((), b"200"), (("--strict-http",), b"502")])
def test_strict_http_is_a_switch_of_serve(
    root: Path, http_origin: Origin, options: tuple[str, ...], status: bytes
) -> None:
    http_origin.script("/lf", b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok", then="close")
    with Daemon(root, *options) as daemon:
        host, _, port = daemon.address.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=30) as client:
            client.sendall(f"GET {http_origin.url('/lf')} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert client.recv(65536).split(b" ")[1] == status


def test_reverse_makes_the_port_a_servers(root: Path, http_origin: Origin) -> None:
    with Daemon(root, "--reverse", f"http://{http_origin.authority}") as daemon:
        host, _, port = daemon.address.rpartition(":")
        with RawClient.plain((host, int(port))) as client:
            assert client.get("/bytes/1").status == 200
        assert wiretape_json("status", "--root", str(root))["reverse"] == [f"http://{http_origin.authority}"]
        (row,) = wiretape_json("query", "last", "~source reverse", "--root", str(root))["items"]
        assert row["url"] == http_origin.url("/bytes/1")


def test_a_unix_socket_is_a_way_in_and_goes_with_the_daemon(
    root: Path, https_origin: Origin, origin_ca: OriginCA, tmp_path: Path
) -> None:
    path = tmp_path / "proxy.sock"
    with Daemon(root, "--unix", str(path), "--upstream-ca", str(origin_ca.pem)):
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(30)
        sock.connect(str(path))
        with RawClient(sock) as client:
            authority = f"localhost:{https_origin.port}"
            client.send(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode())
            assert client.read_response("CONNECT").status == 200
            trust = ssl.create_default_context(cafile=str(root / "ca" / "ca.pem"))
            client.sock = trust.wrap_socket(client.sock, server_hostname="localhost")
            assert client.get("/bytes/5", host=authority).status == 200
        (row,) = wiretape_json("query", "last", "--root", str(root))["items"]
        assert row["url"] == https_origin.url("/bytes/5")
    assert not path.exists()


def test_how_long_a_server_is_waited_for_can_be_set(root: Path, http_origin: Origin) -> None:
    with Daemon(root, "--first-byte-timeout", "0.2") as daemon, http_origin.hold("/bytes/1", at="request"):
        host, _, port = daemon.address.rpartition(":")
        with RawClient.plain((host, int(port))) as client:
            answer = client.get(http_origin.url("/bytes/1"), host=http_origin.authority)
        assert answer.status == 504
        assert b"did not answer for" in answer.body


@pytest.mark.parametrize("option", ["--connect-timeout", "--first-byte-timeout", "--idle-timeout", "--retain-days"])
@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf"])
def test_what_is_no_length_of_time_is_refused(root: Path, option: str, value: str) -> None:
    done = wiretape("serve", option, value, "--root", root)
    assert done.returncode == 2
    assert option.encode() in done.stderr
    assert not root.exists()


def test_serve_says_in_one_line_where_everything_is(lasting: Daemon) -> None:
    ready = lasting.ready
    assert set(ready) >= {"proxy", "mcp", "ui", "caCert", "root", "sessionId", "pid", "recorderPids"}
    assert ready["root"] == str(lasting.root)
    assert ready["pid"] == lasting.process.pid
    assert Path(ready["caCert"]).read_text().startswith("-----BEGIN CERTIFICATE-----")
    assert len(ready["recorderPids"]) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_ends_cleanly_on_a_signal_and_closes_its_session(
    daemon: Daemon, root: Path, http_origin: Origin, number: signal.Signals
) -> None:
    host, _, port = daemon.address.rpartition(":")
    with RawClient.plain((host, int(port))) as client:
        assert client.get(http_origin.url("/bytes/10"), host=http_origin.authority).status == 200
    daemon.process.send_signal(number)
    assert daemon.process.wait(30) == 0
    assert wiretape_json("verify", "mine", "--root", root)["state"] == "clean"


def test_status_and_stop_speak_to_the_daemon_of_the_root(daemon: Daemon, root: Path) -> None:
    status = wiretape_json("status", "--root", root)
    assert status["status"] == "running"
    assert status["pid"] == daemon.process.pid
    assert status["sessionId"] == daemon.ready["sessionId"]
    assert b"A daemon runs (pid " in wiretape("status", "--root", root).stdout
    assert wiretape_json("stop", "--root", root) == {"status": "success", "stopped": True}
    assert daemon.process.wait(30) == 0
    assert wiretape_json("status", "--root", root)["status"] == "stopped"


def test_nothing_to_stop_is_no_error(root: Path) -> None:
    assert wiretape_json("stop", "--root", root) == {"status": "success", "stopped": False}
    assert not root.exists()


def test_p11_a_refused_request_is_counted_by_status_and_named_by_query(lasting: Daemon) -> None:
    host, _, port = lasting.address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=30) as client:
        client.sendall(b"GET http://example.com/odd HTTP/1.1\r\nX[0]: b\r\n\r\n")
        assert client.recv(65536).split(b" ")[1] == b"400"
    assert wiretape_json("status", "--root", lasting.root)["refused"] == 1
    assert b"1 request was refused" in wiretape("status", "--root", lasting.root).stdout
    assert b"GET http://example.com/odd" in wiretape("query", "mine", "--root", lasting.root).stderr


def test_a_second_daemon_on_the_root_is_refused_with_the_pid_of_the_first(lasting: Daemon) -> None:
    done = wiretape("serve", "--root", lasting.root, "--proxy", "127.0.0.1:0", "--api", "127.0.0.1:0", "--json")
    assert done.returncode == 1
    assert str(lasting.process.pid) in json.loads(done.stdout)["message"]
    assert lasting.process.poll() is None


def test_a_port_in_use_is_a_clear_error(root: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = wiretape("serve", "--root", root, "--proxy", f"127.0.0.1:{port}", "--api", "127.0.0.1:0")
    assert done.returncode == 1
    assert port.encode() in done.stderr
    assert b"hint: " in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [["serve", "--proxy", "127.0.0.1:0"], ["ca"], ["sessions"], ["recover"]])
def test_a_root_that_is_a_file_is_a_clear_error(tmp_path: Path, arguments: list[str]) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    done = wiretape("--root", file, *arguments)
    assert done.returncode == 1
    assert str(file).encode() in done.stderr
    assert b"Traceback" not in done.stderr
    assert file.read_text() == "mine"


def test_a_live_session_is_verified_and_recovered_reading_only_and_cannot_be_deleted(
    lasting: Daemon, http_origin: Origin
) -> None:
    host, _, port = lasting.address.rpartition(":")
    with RawClient.plain((host, int(port))) as client:
        client.get(http_origin.url("/bytes/10"), host=http_origin.authority)
    assert wiretape_json("verify", "mine", "--root", lasting.root)["state"] == "live"
    skipped = wiretape_json("recover", "--root", lasting.root)["skipped"]
    assert [one["sessionId"] for one in skipped] == [lasting.ready["sessionId"]]
    done = wiretape("delete", "mine", "--yes", "--root", lasting.root)
    assert done.returncode == 1
    assert wiretape_json("query", "mine", "--root", lasting.root)["matched"] == 1


def test_mcp_starts_a_daemon_answers_and_leaves_it_to_the_next(root: Path) -> None:
    hello = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"},
        },
    }
    try:
        done = wiretape("mcp", "--root", root, stdin=json.dumps(hello).encode() + b"\n")
        assert done.returncode == 0, done.stderr
        answer = json.loads(done.stdout.splitlines()[0])
        assert answer["id"] == 1
        assert answer["result"]["protocolVersion"] == "2025-11-25"
        assert wiretape_json("status", "--root", root)["status"] == "running"
    finally:
        assert wiretape_json("stop", "--root", root)["stopped"] is True


def test_ca_prints_the_path_and_the_certificate_and_makes_the_key_private(root: Path) -> None:
    path = Path(wiretape("ca", "--root", root).stdout.decode().rstrip("\n"))
    shown = wiretape("ca", "show", "--root", root).stdout
    document = wiretape_json("ca", "--root", root)
    assert path.read_bytes().strip() == shown.strip()
    assert document["path"] == str(path)
    assert document["certificate"].strip() == shown.decode().strip()
    assert (path.parent / "ca.key").stat().st_mode & 0o777 == 0o600


def test_doctor_finds_a_healthy_root_healthy(lasting: Daemon) -> None:
    report = wiretape_json("doctor", "--root", lasting.root)
    results = {check["check"]: check["result"] for check in report["checks"]}
    assert report["status"] == "success"
    assert results["root"] == results["CA"] == results["daemon"] == "ok"


def test_doctor_fails_a_key_that_others_can_read_and_says_how_to_mend_it(root: Path) -> None:
    wiretape("ca", "--root", root)
    (root / "ca" / "ca.key").chmod(0o644)
    report = wiretape_json("doctor", "--root", root, status=1)
    (check,) = [check for check in report["checks"] if check["result"] == "fail"]
    assert check["check"] == "CA"
    assert "ca.key" in check["detail"]
    assert check["hint"]


def test_doctor_fails_a_root_that_is_a_file_and_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    report = wiretape_json("doctor", "--root", file / "root", status=1)
    assert {check["check"]: check["result"] for check in report["checks"]}["root"] == "fail"
    assert wiretape("doctor", "--root", tmp_path / "new").returncode == 0
    assert not (tmp_path / "new").exists()


def test_serve_for_people_shows_a_ready_curl_line_and_the_block_for_an_mcp_client(root: Path) -> None:
    command = [*COMMAND, "serve", "--root", str(root), "--proxy", "127.0.0.1:0", "--api", "127.0.0.1:0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    os.set_blocking(process.stdout.fileno(), False)
    shown = bytearray()

    def complete() -> bool:
        shown.extend(process.stdout.read() or b"" if process.stdout else b"")
        return b"mcpServers" in shown and shown.endswith(b"\n\n")

    try:
        wait_until(complete, what="the page that serve prints")
        assert b"curl --proxy http://127.0.0.1:" in shown
        assert b"--cacert" in shown
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()
