"""HTTP/2 of others' making through the recorder: curl, httpx, Node and Chromium against nginx and Node."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from harness.clients import needs, run_curl, run_program
from harness.h2_peers import H2Client, H2Origin
from harness.recorder import RecorderProcess
from tests.recorder.conftest import Recording
from tests.recorder.test_h2 import connect, recorded, the_one
from wiretape.cli.demo.certificates import OriginCA
from wiretape.cli.demo.waiting import wait_until
from wiretape.log import Exchange

BIG = os.urandom(3_000_000)


@dataclass(frozen=True)
class Nginx:
    port: int

    def url(self, path: str) -> str:
        return f"https://localhost:{self.port}{path}"


@pytest.fixture(scope="module")
def nginx(origin_ca: OriginCA, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    """An nginx that serves files over HTTP/2."""
    program = needs("nginx")
    folder = tmp_path_factory.mktemp("nginx")
    issued = origin_ca.issue()
    (folder / "big").write_bytes(BIG)
    (folder / "small").write_bytes(b"small")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    paths = "".join(f"{name}_temp_path {folder};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    (folder / "conf").write_text(
        f"daemon off; master_process off; pid {folder}/pid; error_log {folder}/errors; events {{}}"
        f"http {{ access_log off; {paths} gzip on; gzip_min_length 1; gzip_types text/plain;"
        f" server {{ listen 127.0.0.1:{port} ssl http2; root {folder};"
        f" ssl_certificate {issued.cert}; ssl_certificate_key {issued.key};"
        f' location /text {{ default_type text/plain; return 200 "{"text " * 500}"; }} }} }}'
    )
    command = [program, "-p", str(folder), "-c", str(folder / "conf"), "-e", str(folder / "errors")]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: _listens(port), what="nginx")
            yield Nginx(port)
        finally:
            process.terminate()


def _listens(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def recorder(recording: Recording) -> Iterator[RecorderProcess]:
    with recording("uvloop") as process:
        process.record()
        yield process


def authority(recorder: RecorderProcess) -> Path:
    return recorder.root / "ca" / "ca.pem"


def versions(exchange: Exchange) -> tuple[str, str]:
    assert exchange.response is not None
    return exchange.request.version, exchange.response.version


def test_curl_downloads_ranges_and_compressed_text(recorder: RecorderProcess, nginx: Nginx) -> None:
    options = {"proxy": recorder.address, "cacert": authority(recorder)}
    whole = run_curl("--http2", nginx.url("/big"), **options)  # type: ignore[arg-type]
    assert (whole.status, whole.body) == (200, BIG)
    part = run_curl("--http2", "-r", "1000-1999", nginx.url("/big"), **options)  # type: ignore[arg-type]
    assert (part.status, part.body) == (206, BIG[1000:2000])
    text = run_curl("--http2", "--compressed", nginx.url("/text"), **options)  # type: ignore[arg-type]
    assert (text.status, text.body) == (200, b"text " * 500)
    assert "HTTP/2 200" in text.headers
    head = run_curl("--http2", "-I", nginx.url("/big"), **options)  # type: ignore[arg-type]
    assert head.status == 200
    one = run_curl("--http1.1", nginx.url("/small"), **options)  # type: ignore[arg-type]
    assert one.body == b"small"
    found = recorded(recorder, 5)
    assert [versions(exchange) for exchange in found] == [("HTTP/2", "HTTP/2")] * 4 + [("HTTP/1.1", "HTTP/1.1")]
    assert found[0].response is not None
    assert found[0].response.body.read() == BIG


def test_httpx_speaks_http2(recorder: RecorderProcess, nginx: Nginx) -> None:
    context = ssl.create_default_context(cafile=str(authority(recorder)))
    proxy = f"http://{recorder.address[0]}:{recorder.address[1]}"
    with httpx.Client(http2=True, proxy=proxy, verify=context, timeout=20) as client:
        for _ in range(3):
            answer = client.get(nginx.url("/small"))
            assert (answer.http_version, answer.content) == ("HTTP/2", b"small")
        assert client.get(nginx.url("/text")).text == "text " * 500
    assert len({exchange.opened.connection for exchange in recorded(recorder, 4) if exchange.opened}) == 1


NODE = """
const http = require("http"), http2 = require("http2"), tls = require("tls"), fs = require("fs");
const [proxyPort, port, ca, parallel] = [process.argv[2], process.argv[3], fs.readFileSync(process.argv[4]), 50];
const connect = http.request({ port: proxyPort, method: "CONNECT", path: `localhost:${port}` });
connect.end();
connect.on("connect", (answer, socket) => {
  const secured = tls.connect({ socket, ca, servername: "localhost", ALPNProtocols: ["h2"] }, () => {
    const session = http2.connect(`https://localhost:${port}`, { createConnection: () => secured });
    let left = parallel, bytes = 0;
    for (let i = 0; i < parallel; i++) {
      const stream = session.request({ ":path": `/small?${i}` });
      stream.on("data", data => { bytes += data.length; });
      stream.on("end", () => { if (--left == 0) { console.log(bytes); session.close(); } });
      stream.end();
    }
  });
});
"""


def test_node_speaks_http2_many_streams_at_a_time(recorder: RecorderProcess, nginx: Nginx, tmp_path: Path) -> None:
    script = tmp_path / "client.js"
    script.write_text(NODE)
    command = [needs("node"), str(script), str(recorder.address[1]), str(nginx.port), str(authority(recorder))]
    done = run_program(command)
    assert (done.returncode, done.stdout.strip()) == (0, b"250"), done.stderr
    assert len(recorded(recorder, 50)) == 50


def test_chromium_loads_a_page_over_http2(recorder: RecorderProcess, origin_ca: OriginCA, tmp_path: Path) -> None:
    program = needs("chromium")
    with H2Origin(origin_ca.issue().server_context(alpn=("h2", "http/1.1"))) as origin:
        script = b"fetch('/bytes/1000').then(r => r.blob()).then(b => document.title = b.size)"
        page = b"<title>x</title><script>%b</script>" % script
        origin.on("/", lambda wire, request: wire.respond(request.stream, 200, [(b"content-type", b"text/html")], page))
        flags = [
            *("--headless", "--no-sandbox", "--disable-gpu", "--ignore-certificate-errors", "--dump-dom"),
            *(f"--user-data-dir={tmp_path}", f"--proxy-server=127.0.0.1:{recorder.address[1]}"),
            *("--proxy-bypass-list=<-loopback>", "--virtual-time-budget=5000"),
        ]
        done = run_program([program, *flags, origin.url("/")])
        assert b"<title>1000</title>" in done.stdout, done.stderr
    found = [exchange for exchange in recorder.exchanges() if exchange.request.url.startswith(origin.url("/"))]
    assert {exchange.request.version for exchange in found} == {"HTTP/2"}


def test_p1_after_kill_9_every_answered_stream_is_in_the_log(
    new_h2_recorder: RecorderProcess, origin_ca: OriginCA
) -> None:
    recorder = new_h2_recorder
    with H2Origin(origin_ca.issue().server_context(alpn=("h2",))) as origin, connect(recorder, origin.port) as client:
        streams = [client.send("POST", f"/echo?{at}", body=b"%d" % at * 100) for at in range(100)]
        for stream in streams[:30]:
            client.answer(stream)
        recorder.process.send_signal(signal.SIGKILL)
        recorder.process.wait()
        _read_the_rest(client)
        answered = {at: client.messages[stream] for at, stream in enumerate(streams) if client.messages[stream].ended}
        begun = {request.path for request in origin.requests}
    assert len(answered) >= 30
    found = {exchange.request.target: exchange for exchange in recorder.exchanges()}
    for at, message in answered.items():
        exchange = found[f"/echo?{at}"]
        assert exchange.state == "complete"
        assert exchange.response is not None
        assert exchange.response.body.read() == bytes(message.body) == b"%d" % at * 100
    assert begun <= set(found)  # P2: nothing reached the server that is not in the log


def _read_the_rest(client: H2Client) -> None:
    while client.read():
        pass


@pytest.fixture
def new_h2_recorder(root: Path, origin_ca: OriginCA) -> Iterator[RecorderProcess]:
    root.mkdir()
    with RecorderProcess(root, upstream_ca=origin_ca.pem) as process:
        process.record()
        yield process


def test_a_recorder_that_stops_lets_running_streams_end_and_says_goodbye(
    new_h2_recorder: RecorderProcess, origin_ca: OriginCA
) -> None:
    with (
        H2Origin(origin_ca.issue().server_context(alpn=("h2",))) as origin,
        connect(new_h2_recorder, origin.port) as client,
    ):
        assert client.get("/bytes/10").status == 200
        assert new_h2_recorder.stop() == 0
        _read_the_rest(client)
        assert client.goaway == 0
    assert the_one(new_h2_recorder).state == "complete"
