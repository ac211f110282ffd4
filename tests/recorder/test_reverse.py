"""Requests that come to the port as to a server, and are for one that stands behind it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.bodies import body_for
from harness.clients import RawClient
from harness.h2_peers import H2Origin
from harness.origin import Origin
from harness.recorder import RecorderProcess, done_count, only, trusting
from tests.recorder.conftest import LOOPS
from wiretape.cli.demo.certificates import OriginCA
from wiretape.recorder.reverse import Servers
from wiretape.settings import ArrivalSettings, Server

API = Server(scheme="https", host="api.example.com", port=443)
STAGING = Server(scheme="http", host="api.example.com", port=8000)
OTHER = Server(scheme="http", host="::1", port=3000)


@pytest.mark.parametrize(
    ("asked", "server"),
    [
        (b"api.example.com", API),
        (b"API.example.com:8080", API),  # most clients name our port
        (b"api.example.com:8000", STAGING),
        (b"[::1]:3000", OTHER),
        (b"[::1]:8080", OTHER),
        (b"[::1]", OTHER),
        (b"localhost:8080", API),
        (b"\xff:\xb2", API),
        (b"", API),
        (None, API),
    ],
)
def test_the_host_that_is_asked_for_picks_the_server_and_the_first_takes_the_rest(
    asked: bytes | None, server: Server
) -> None:
    picked = Servers([API, STAGING, OTHER]).pick(asked)
    assert picked.route[:3] == (server.scheme, server.host, server.port)
    host = picked.authority if picked.authority is not None else asked
    assert host is not None
    assert host.decode() == server.authority


@pytest.fixture(scope="module", params=LOOPS)
def behind(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, origin_ca: OriginCA
) -> Iterator[tuple[RecorderProcess, Origin, Origin]]:
    """A recorder with a TLS and a plain server behind it; the first is called localhost, the second 127.0.0.1."""
    with Origin(tls=origin_ca.issue().server_context()) as secure, Origin() as plain:
        servers = (
            Server(scheme="https", host="localhost", port=secure.port),
            Server(scheme="http", host="127.0.0.1", port=plain.port),
        )
        root = tmp_path_factory.mktemp("reverse")
        arrivals = ArrivalSettings(reverse=servers)
        with RecorderProcess(root, upstream_ca=origin_ca.pem, loop=request.param, arrivals=arrivals) as process:
            yield process, secure, plain


@pytest.fixture
def recorder(behind: tuple[RecorderProcess, Origin, Origin]) -> Iterator[RecorderProcess]:
    process, *origins = behind
    for origin in origins:
        origin.requests.clear()
    process.record()
    yield process
    process.clear()


@pytest.fixture
def secure(behind: tuple[RecorderProcess, Origin, Origin]) -> Origin:
    return behind[1]


@pytest.fixture
def plain(behind: tuple[RecorderProcess, Origin, Origin]) -> Origin:
    return behind[2]


def test_a_direct_request_goes_to_the_first_server_and_is_recorded_with_its_url(
    recorder: RecorderProcess, secure: Origin
) -> None:
    with RawClient.plain(recorder.address) as client:
        assert client.get("/bytes/10", host="wiretape.test:8080").body == body_for("/bytes/10", 10)
    exchange = only(recorder)
    opened = exchange.opened
    assert opened is not None
    assert (opened.scheme, opened.host, opened.port) == ("https", "localhost", secure.port)
    assert opened.source == "reverse"
    # The server is asked for by its own name; the recording has what the client said (P12).
    assert f"Host: {secure.authority}\r\n".encode() in secure.requests[0].head
    assert b"wiretape.test" not in secure.requests[0].head
    assert b"Host: wiretape.test:8080\r\n" in exchange.request.head


def test_requests_of_one_connection_go_each_to_the_server_that_it_asks_for(
    recorder: RecorderProcess, secure: Origin, plain: Origin
) -> None:
    with RawClient.plain(recorder.address) as client:
        assert client.get("/bytes/1", host=plain.authority).status == 200
        assert client.get("/bytes/2", host="localhost").status == 200
    assert [request.target for request in plain.requests] == ["/bytes/1"]
    assert [request.target for request in secure.requests] == ["/bytes/2"]
    assert len(done_count(recorder, 2)) == 2


@pytest.mark.parametrize("name", ["localhost", "never-heard-of.example", "127.0.0.1"])
def test_direct_tls_is_answered_with_a_certificate_for_whatever_name_was_asked(
    recorder: RecorderProcess, secure: Origin, name: str
) -> None:
    with RawClient.tls(recorder.address, trusting(recorder), name=name) as client:
        assert client.get("/bytes/10", host=name if name != "127.0.0.1" else "elsewhere").status == 200
    exchange = only(recorder)
    assert exchange.opened is not None
    assert exchange.opened.source == "reverse"
    if name != "127.0.0.1":
        assert len(secure.requests) == 1


def test_the_proxy_still_is_one(recorder: RecorderProcess, http_origin: Origin) -> None:
    with RawClient.plain(recorder.address) as client:
        assert client.get(http_origin.url("/bytes/3"), host=http_origin.authority).status == 200
    opened = only(recorder).opened
    assert opened is not None
    assert (opened.port, opened.source) == (http_origin.port, "explicit")


def test_curl_uploads_over_tls_to_the_port_as_to_the_server(
    recorder: RecorderProcess, secure: Origin, tmp_path: Path
) -> None:
    upload = tmp_path / "upload"
    upload.write_bytes(body_for("/upload", 100_000))
    url = f"https://localhost:{recorder.address[1]}/echo"
    command = ["curl", "-sS", "--fail", "--noproxy", "*", "--cacert", str(recorder.root / "ca" / "ca.pem")]
    resolve = ["--connect-to", f"localhost:{recorder.address[1]}:127.0.0.1:{recorder.address[1]}"]
    answer = subprocess.run(
        [*command, *resolve, "--data-binary", f"@{upload}", url], capture_output=True, check=True, timeout=30
    )
    assert answer.stdout == upload.read_bytes()
    assert recorder.body(only(recorder), "request") == upload.read_bytes()
    assert len(secure.requests) == 1


def test_a_server_behind_that_is_the_proxy_itself_is_refused_as_a_loop(root: Path) -> None:
    root.mkdir()
    with RecorderProcess(root) as looping:
        own = ArrivalSettings(reverse=(Server(scheme="http", host="localhost", port=looping.address[1]),))
        looping.kill()
        looping.respawn(own)
        looping.record()
        with RawClient.plain(looping.address) as client:
            answer = client.get("/")
        assert (answer.status, answer.header("Wiretape-Error")) == (502, "loop")
        done = only(looping).done
        assert done is not None
        assert done.error_code == "loop"


def test_http2_straight_to_the_port_reaches_a_server_that_speaks_it(root: Path, origin_ca: OriginCA) -> None:
    root.mkdir()
    with H2Origin(origin_ca.issue().server_context(alpn=("h2", "http/1.1"))) as origin:
        arrivals = ArrivalSettings(reverse=(Server(scheme="https", host="localhost", port=origin.port),))
        with RecorderProcess(root, upstream_ca=origin_ca.pem, arrivals=arrivals) as recorder:
            recorder.record()
            url = f"https://127.0.0.1:{recorder.address[1]}/bytes/1000"
            command = ["curl", "-sS", "--fail", "--noproxy", "*", "--cacert", str(root / "ca" / "ca.pem"), "--http2"]
            answer = subprocess.run(
                [*command, "-w", "%{http_version}", url], capture_output=True, timeout=30, check=True
            )
            assert answer.stdout == body_for("/bytes/1000", 1000) + b"2"
            opened = only(recorder).opened
    assert opened is not None
    assert (opened.protocol, opened.source, opened.host, opened.port) == ("h2", "reverse", "localhost", origin.port)
    assert dict(origin.requests[0].message.fields)[b":authority"] == f"localhost:{origin.port}".encode()
