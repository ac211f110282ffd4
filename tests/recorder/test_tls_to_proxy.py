"""A client that speaks TLS to the proxy itself; and the file by which Wireshark reads TLS."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.bodies import body_for
from harness.clients import RawClient, request_bytes
from harness.origin import Origin
from harness.recorder import RecorderProcess, done_count, only
from tests.recorder.conftest import LOOPS
from wiretape.cli.demo.certificates import OriginCA
from wiretape.recorder.tls_to_proxy import means_proxy
from wiretape.settings import ArrivalSettings


@pytest.mark.parametrize(
    ("data", "proxy"),
    [
        (b"CONNECT a:443 HTTP/1.1\r\n", True),
        (b"GET http://a/ HTTP/1.1\r\n", True),
        (b"\r\nGET http://a/ HTTP/1.1\r\n", True),
        (b"GET / HTTP/1.1\r\n", False),
        (b"OPTIONS * HTTP/1.1\r\n", False),
        (b"x" * 64, False),
    ],
)
def test_the_first_bytes_say_whether_a_proxy_is_meant_at_every_split(data: bytes, proxy: bool) -> None:
    assert means_proxy(data) is proxy
    assert {means_proxy(data[:size]) for size in range(len(data))} <= {None, proxy}


@pytest.fixture(scope="module", params=LOOPS)
def lasting(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, origin_ca: OriginCA
) -> Iterator[RecorderProcess]:
    root = tmp_path_factory.mktemp("https-proxy")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSLKEYLOGFILE", str(root / "keys"))
        process = RecorderProcess(root, upstream_ca=origin_ca.pem, loop=request.param)
    with process:
        yield process


@pytest.fixture
def recorder(lasting: RecorderProcess) -> Iterator[RecorderProcess]:
    lasting.record()
    yield lasting
    lasting.clear()


def curl(recorder: RecorderProcess, proxy: str, *words: str) -> subprocess.CompletedProcess[bytes]:
    ca = str(recorder.root / "ca" / "ca.pem")
    command = ["curl", "-sS", "--noproxy", "", "--cacert", ca, "--proxy-cacert", ca, "--proxy", proxy]
    return subprocess.run([*command, *words], capture_output=True, check=False, timeout=30)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_curl_by_an_https_proxy_gets_http_and_https(
    recorder: RecorderProcess, http_origin: Origin, https_origin: Origin, host: str
) -> None:
    proxy = f"https://{host}:{recorder.address[1]}"
    for origin in (http_origin, https_origin):
        done = curl(recorder, proxy, "--fail", origin.url("/bytes/300000"))
        assert done.returncode == 0, done.stderr
        assert done.stdout == body_for("/bytes/300000", 300_000)
    first, second = done_count(recorder, 2)
    assert first.opened is not None
    assert second.opened is not None
    assert (first.opened.scheme, first.opened.source) == ("http", "explicit")
    assert (second.opened.scheme, second.opened.source) == ("https", "connect")
    assert second.opened.accepted_at == f"127.0.0.1:{recorder.address[1]}"


def test_an_upload_through_two_layers_of_tls_arrives_whole(
    recorder: RecorderProcess, https_origin: Origin, tmp_path: Path
) -> None:
    upload = tmp_path / "upload"
    upload.write_bytes(body_for("/upload", 2_000_000))
    proxy = f"https://localhost:{recorder.address[1]}"
    done = curl(recorder, proxy, "--fail", "--data-binary", f"@{upload}", https_origin.url("/echo"))
    assert done.returncode == 0, done.stderr
    assert done.stdout == upload.read_bytes()
    assert recorder.body(only(recorder), "request") == upload.read_bytes()


def test_a_request_of_a_server_under_tls_to_the_proxy_is_told_what_this_is(recorder: RecorderProcess) -> None:
    done = curl(recorder, "", "-k", f"https://127.0.0.1:{recorder.address[1]}/path")
    assert b"this is a proxy" in done.stdout


def test_the_secrets_of_both_sides_go_to_the_file_that_the_variable_names(
    recorder: RecorderProcess, https_origin: Origin
) -> None:
    keys = recorder.root / "keys"
    before = len(keys.read_text().splitlines())
    proxy = f"http://127.0.0.1:{recorder.address[1]}"
    assert curl(recorder, proxy, "--fail", https_origin.url("/bytes/7")).returncode == 0
    lines = [line for line in keys.read_text().splitlines()[before:] if not line.startswith("#")]
    randoms = {line.split()[1] for line in lines if re.match("(CLIENT|SERVER)_TRAFFIC_SECRET_0 ", line)}
    assert len(randoms) == 2  # the client's connection with us, and ours with the server
    assert keys.stat().st_mode & 0o777 == 0o600


def test_who_has_to_say_who_he_is_can_do_so_under_tls(root: Path, http_origin: Origin) -> None:
    root.mkdir()
    with RecorderProcess(root, arrivals=ArrivalSettings(credentials="ada:secret")) as recorder:
        proxy = f"https://localhost:{recorder.address[1]}"
        url = http_origin.url("/bytes/7")
        assert curl(recorder, proxy, "--fail", "--proxy-user", "ada:secret", url).returncode == 0
        assert b"407" in curl(recorder, proxy, "-w", "%{http_code}", url).stdout
    assert len(http_origin.requests) == 1


def test_the_proxy_listens_on_ipv6_too(root: Path, http_origin: Origin) -> None:
    root.mkdir()
    with RecorderProcess(root, host="::1") as recorder:
        recorder.record()
        with RawClient.plain(recorder.address) as client:
            assert client.get(http_origin.url("/bytes/7"), host=http_origin.authority).status == 200
        opened = only(recorder).opened
        assert opened is not None
        assert opened.client.startswith("[::1]:")
        with RawClient.plain(recorder.address) as client:
            client.send(request_bytes("GET", f"http://[::1]:{recorder.address[1]}/", host="x"))
            assert client.read_response().header("Wiretape-Error") == "loop"
