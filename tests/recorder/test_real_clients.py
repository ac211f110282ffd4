"""The clients that people use, through the recorder: each must work, and each exchange must be in the log."""

from __future__ import annotations

import functools
import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
import requests

from harness.bodies import body_for, text_for
from harness.clients import run_curl, run_program
from harness.origin import Origin
from harness.recorder import RecorderProcess
from tests.recorder.conftest import Recording
from wiretape.cli.demo.certificates import OriginCA
from wiretape.cli.demo.waiting import wait_until
from wiretape.tls.authority import CertificateAuthority


@pytest.fixture
def recorder(recording: Recording) -> Iterator[RecorderProcess]:
    """A recorder that records."""
    with recording("uvloop") as process:
        process.record()
        yield process


def ca_file(recorder: RecorderProcess) -> str:
    """Give the file of wiretape's CA."""
    return str(recorder.root / "ca" / "ca.pem")


def proxy_url(recorder: RecorderProcess) -> str:
    """Give the proxy's URL."""
    return f"http://{recorder.address[0]}:{recorder.address[1]}"


def recorded(recorder: RecorderProcess, count: int) -> list[str]:
    """Give the states once ``count`` exchanges have ended."""

    def states() -> list[str]:
        found: list[str] = [exchange.state for exchange in recorder.exchanges() if exchange.done is not None]
        return found if len(found) >= count else []

    return wait_until(states, what=f"{count} exchanges in the log")


def test_requests_works_over_http_and_https(
    recorder: RecorderProcess, http_origin: Origin, https_origin: Origin
) -> None:
    with requests.Session() as session:
        session.proxies = {"http": proxy_url(recorder), "https": proxy_url(recorder)}
        session.verify = ca_file(recorder)
        for origin in (http_origin, https_origin):
            answer = session.post(origin.url("/echo"), data=b"x" * 100_000, timeout=20)
            assert answer.content == b"x" * 100_000
            assert session.get(origin.url("/gzip"), timeout=20).status_code == 200
    assert recorded(recorder, 4) == ["complete"] * 4


def test_httpx_works_over_http_and_https(recorder: RecorderProcess, http_origin: Origin, https_origin: Origin) -> None:
    context = ssl.create_default_context(cafile=ca_file(recorder))
    with httpx.Client(proxy=proxy_url(recorder), verify=context, timeout=20) as client:
        for origin in (http_origin, https_origin):
            assert client.get(origin.url("/chunked/70000")).content == body_for("/chunked/70000", 70_000)
    assert recorded(recorder, 2) == ["complete"] * 2


def test_curl_works_over_https_with_a_large_upload(
    recorder: RecorderProcess, https_origin: Origin, tmp_path: Path
) -> None:
    upload = tmp_path / "upload"
    upload.write_bytes(body_for("curl", 3_000_000))
    result = run_curl(
        "--cacert",
        ca_file(recorder),
        "-x",
        proxy_url(recorder),
        "--noproxy",
        "",
        "--data-binary",
        f"@{upload}",
        https_origin.url("/echo"),
    )
    assert result.body == upload.read_bytes()
    exchange = recorder.exchanges()[0]
    assert recorder.body(exchange, "request") == upload.read_bytes()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the name is http.server's
        """Say nothing."""


@pytest.fixture
def git_server(tmp_path: Path, origin_ca: OriginCA) -> Iterator[str]:
    """A repository over https, as any static server gives it; the URL to clone."""
    work = tmp_path / "work"
    bare = tmp_path / "served" / "repo.git"
    for command in (
        ["git", "init", "-q", str(work)],
        [
            "git",
            "-C",
            str(work),
            "-c",
            "user.name=a",
            "-c",
            "user.email=a@b",
            "commit",
            "-q",
            "--allow-empty",
            "-m",
            "one",
        ],
        ["git", "clone", "-q", "--bare", str(work), str(bare)],
        ["git", "-C", str(bare), "update-server-info"],
    ):
        subprocess.run(command, check=True, capture_output=True)
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(bare.parent)))
    server.socket = origin_ca.issue().server_context().wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"https://localhost:{server.server_address[1]}/repo.git"
    server.shutdown()
    server.server_close()
    thread.join()


def test_git_clones_over_https(recorder: RecorderProcess, git_server: str, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    command = ["git", "-c", f"http.proxy={proxy_url(recorder)}", "-c", f"http.sslCAInfo={ca_file(recorder)}"]
    done = run_program([*command, "clone", "-q", git_server, str(clone)])
    assert done.returncode == 0, done.stderr
    log = subprocess.run(["git", "-C", str(clone), "log", "--format=%s"], check=True, capture_output=True, text=True)
    assert log.stdout == "one\n"
    assert len(recorded(recorder, 3)) >= 3


@pytest.mark.skipif(shutil.which("chromium") is None, reason="Chromium is not installed; CI installs it")
def test_chromium_loads_a_page_over_https(recorder: RecorderProcess, https_origin: Origin, tmp_path: Path) -> None:
    authority = CertificateAuthority.load_or_create(recorder.root)
    done = run_program(
        [
            "chromium",
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            f"--user-data-dir={tmp_path / 'profile'}",
            f"--proxy-server={proxy_url(recorder)}",
            "--proxy-bypass-list=<-loopback>",
            f"--ignore-certificate-errors-spki-list={authority.spki_sha256}",
            "--dump-dom",
            https_origin.url("/text/3000?type=text/html"),
        ]
    )
    assert text_for("/text/3000?type=text/html", 3000).split()[0] in done.stdout, done.stderr[-2000:]
    urls = [exchange.request.head.split(b" ")[1] for exchange in recorder.exchanges()]
    assert b"/text/3000?type=text/html" in urls
