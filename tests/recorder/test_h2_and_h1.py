"""HTTP/2 on one side of the recorder and HTTP/1.1 on the other, and what is said to clients of HTTP/2 without TLS."""

from __future__ import annotations

import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.bodies import body_for
from harness.clients import RawClient, needs
from harness.h2_peers import H2Client, H2Origin
from harness.origin import Origin
from harness.recorder import RecorderProcess, trusting
from tests.recorder.test_h2 import connect, recorded, the_one
from wiretape.cli.demo.certificates import OriginCA
from wiretape.cli.demo.waiting import wait_until


@pytest.fixture
def client(recorder: RecorderProcess, origin_ca: OriginCA) -> Iterator[tuple[H2Client, Origin]]:
    """A client of HTTP/2 whose server has become one of HTTP/1.1 since it shook hands."""
    issued = origin_ca.issue()
    with H2Origin(issued.server_context(alpn=("h2",))) as before:
        port = before.port
        client = connect(recorder, port)
    with Origin(tls=issued.server_context(), port=port) as origin, client:
        yield client, origin


def test_requests_of_http2_reach_a_server_of_http1(recorder: RecorderProcess, client: tuple[H2Client, Origin]) -> None:
    h2, origin = client
    answer = h2.answer(h2.send("POST", "/echo", [(b"x-a", b"1"), (b"cookie", b"a"), (b"cookie", b"b")], body=b"abc"))
    assert (answer.status, bytes(answer.body)) == (200, b"abc")
    request = origin.requests_for("/echo")[0]
    assert request.head.startswith(b"POST /echo HTTP/1.1\r\nHost: localhost:%d\r\n" % origin.port)
    assert b"cookie: a; b\r\n" in request.head
    chunked = h2.get("/chunked/70000")
    assert bytes(chunked.body) == body_for("/chunked/70000", 70_000)
    assert "transfer-encoding" not in chunked.headers
    exchange = recorded(recorder, 2)[0]
    assert exchange.opened is not None
    assert exchange.opened.protocol == "h2"
    assert exchange.request.version == "HTTP/2"
    assert exchange.response is not None
    assert exchange.response.version == "HTTP/1.1"  # each side as it is


@pytest.mark.parametrize("size", [0, 100, 3_000_000])
def test_bodies_of_unknown_length_are_chunked_for_a_server_of_http1(
    recorder: RecorderProcess, client: tuple[H2Client, Origin], size: int
) -> None:
    h2, _ = client
    body = body_for("up", size)
    answer = h2.answer(h2.send("PUT", "/echo", body=body))
    assert bytes(answer.body) == body
    assert the_one(recorder).request.body.read() == body


def test_trailers_and_head_and_empty_answers_of_a_server_of_http1(
    recorder: RecorderProcess, client: tuple[H2Client, Origin]
) -> None:
    h2, origin = client
    end = b"3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n"
    origin.script("/t", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n" + end, then="keep")
    answer = h2.get("/t")
    assert (bytes(answer.body), answer.trailers) == (b"abc", [(b"x-sum", b"1")])
    head = h2.answer(h2.send("HEAD", "/bytes/10"))
    assert (head.status, head.headers["content-length"], bytes(head.body)) == (200, "10", b"")
    origin.script("/304", b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n", then="keep")
    assert h2.get("/304").status == 304
    origin.script("/cut", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort", then="close")
    cut = h2.get("/cut")
    assert cut.reset == 2  # INTERNAL_ERROR: it cannot be taken for whole
    assert h2.get("/bytes/5").status == 200  # and no other stream is harmed


def test_a_server_of_http2_alone_is_reached_by_a_client_of_http1(
    recorder: RecorderProcess, tmp_path: Path, origin_ca: OriginCA
) -> None:
    issued = origin_ca.issue()
    script = tmp_path / "server.js"
    script.write_text(
        """
        const http2 = require("http2"), fs = require("fs");
        const tls = { key: fs.readFileSync(process.argv[2]), cert: fs.readFileSync(process.argv[3]) };
        const server = http2.createSecureServer(tls, (request, answer) => {
          const parts = [];
          request.on("data", part => parts.push(part));
          request.on("end", () => {
            answer.setHeader("x-version", request.httpVersion);
            answer.end(Buffer.concat(parts));
          });
        });
        server.listen(0, "127.0.0.1", () => console.log(server.address().port));
        """
    )
    node = [needs("node"), str(script), str(issued.key), str(issued.cert)]
    with subprocess.Popen(node, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            port = int(server.stdout.readline())
            for body in (b"", b"abc", b"x" * 300_000):
                with RawClient.tunnel(recorder.address, "localhost", port, tls=trusting(recorder)) as client:
                    answer = client.request("POST", "/", body=body)
                    assert (answer.status, answer.body) == (200, body), answer.body
                    assert (b"x-version", b"2.0") in answer.headers
        finally:
            server.terminate()
    exchanges = recorded(recorder, 3)
    versions = [(e.request.version, e.response.version) for e in exchanges if e.response is not None]
    assert versions == [("HTTP/1.1", "HTTP/2")] * 3
    assert len({e.done.sent_from for e in exchanges if e.done}) == 1  # all on one connection


def test_a_client_that_begins_with_http2_is_told_in_http2(recorder: RecorderProcess) -> None:
    before = recorder.stats()["refused"]
    with socket.create_connection(recorder.address, timeout=10) as sock:
        sock.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
        said = b""
        while data := sock.recv(4096):
            said += data
    assert said[:9] == bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
    assert said[9 + 3] == 7
    assert said[9 + 9 + 7] == 0xD  # HTTP_1_1_REQUIRED
    assert said.endswith(b"HTTP/2 inside https")
    assert recorder.stats()["refused"] == before + 1


def test_an_upgrade_to_h2c_is_not_passed_on(recorder: RecorderProcess, http_origin: Origin) -> None:
    with RawClient.plain(recorder.address) as client:
        fields = [("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c"), ("HTTP2-Settings", "AAMAAABkAAQAAP__")]
        answer = client.get(http_origin.url("/bytes/3"), host=http_origin.authority, headers=fields)
    assert answer.status == 200
    assert b"h2c" not in http_origin.requests[0].head
    assert b"HTTP2-Settings" not in http_origin.requests[0].head


def test_a_server_that_chooses_http2_and_speaks_http1_is_a_failed_exchange_that_says_so(
    recorder: RecorderProcess, origin_ca: OriginCA
) -> None:
    with Origin(tls=origin_ca.issue().server_context(alpn=("h2",))) as liar, connect(recorder, liar.port) as client:
        answer = client.get("/")
        assert answer.status == 502
    exchange = the_one(recorder)
    assert exchange.done is not None
    assert exchange.done.error_code == "bad-http2"
    assert "HTTP/2" in exchange.done.error


def test_a_server_that_cannot_be_reached_is_said_in_what_the_client_speaks(recorder: RecorderProcess) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    with connect(recorder, port) as client:
        answer = client.get("/")
        assert (answer.status, answer.headers["wiretape-error"]) == (502, "connect-refused")


def test_a_server_that_wants_http1_is_given_it(recorder: RecorderProcess, origin_ca: OriginCA) -> None:
    with (
        H2Origin(origin_ca.issue().server_context(alpn=("h2", "http/1.1"))) as origin,
        connect(recorder, origin.port) as client,
    ):
        answer = client.get("/reset/13")
        # This origin speaks no HTTP/1.1, so what it hears then is nonsense to it; but it was asked in HTTP/1.1.
        assert answer.status == 502
        context = trusting(recorder)
        context.set_alpn_protocols(["h2", "http/1.1"])
        with RawClient.tunnel(recorder.address, "localhost", origin.port, tls=context) as later:
            assert isinstance(later.sock, ssl.SSLSocket)
            assert later.sock.selected_alpn_protocol() == "http/1.1"


def test_p8_a_client_that_does_not_read_stops_its_server_and_no_other_stream(
    recorder: RecorderProcess, origin_ca: OriginCA
) -> None:
    with (
        H2Origin(origin_ca.issue().server_context(alpn=("h2",))) as origin,
        connect(recorder, origin.port, window=100_000) as client,
    ):
        client.reading = False
        slow = client.send("GET", "/bytes/20000000")
        wait_until(lambda: origin.requests, what="the request")
        while client.read(timeout=3) if client.held < 100_000 else False:
            pass
        wire = origin.wires[0]

        def stopped() -> bool:
            before = wire.sent
            time.sleep(0.3)
            return wire.sent == before

        wait_until(stopped, what="the server to stop")
        assert 100_000 <= wire.sent < 4_000_000  # the windows and what waits between them, not the body
        client.reading = True
        client.connection.acknowledge_received_data(client.held, slow)
        client.flush()
        assert client.get("/bytes/10").status == 200
        assert bytes(client.answer(slow).body) == body_for("/bytes/20000000", 20_000_000)


def test_without_the_library_clients_are_offered_http1_and_status_knows(
    root: Path, tmp_path: Path, origin_ca: OriginCA, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "ngh2.py").write_text("raise ImportError('libnghttp2.so: cannot open shared object file')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "broken"))
    root.mkdir()
    with (
        RecorderProcess(root, upstream_ca=origin_ca.pem) as recorder,
        Origin(tls=origin_ca.issue().server_context(alpn=("h2", "http/1.1"))) as origin,
    ):
        recorder.record()
        assert recorder.stats()["withoutHttp2"] == 0  # nobody has asked for it
        context = trusting(recorder)
        context.set_alpn_protocols(["h2", "http/1.1"])
        with RawClient.tunnel(recorder.address, "localhost", origin.port, tls=context) as client:
            assert isinstance(client.sock, ssl.SSLSocket)
            assert client.sock.selected_alpn_protocol() == "http/1.1"
            assert client.get("/bytes/5").status == 200
        assert recorder.stats()["withoutHttp2"] == 1
