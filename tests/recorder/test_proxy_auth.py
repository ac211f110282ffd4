"""A proxy that asks who its user is: 407 for strangers, and no password in any log or on the way to a server."""

from __future__ import annotations

import base64
import socket
import subprocess
from collections.abc import Iterator

import pytest

from harness.clients import TIMEOUT, RawClient, request_bytes
from harness.origin import Origin
from harness.recorder import RecorderProcess, done_count
from wiretape.cli.demo.certificates import OriginCA
from wiretape.recorder.credentials import Credentials
from wiretape.settings import ArrivalSettings
from wiretape.wire.http1 import parse_request_head

SECRET = "pass:word-123"
RIGHT = base64.b64encode(f"ada:{SECRET}".encode()).decode()
WRONG = base64.b64encode(b"ada:guess-4711").decode()


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory, origin_ca: OriginCA) -> Iterator[RecorderProcess]:
    arrivals = ArrivalSettings(credentials=f"ada:{SECRET}")
    with RecorderProcess(tmp_path_factory.mktemp("auth"), upstream_ca=origin_ca.pem, arrivals=arrivals) as process:
        yield process


@pytest.fixture
def recorder(lasting: RecorderProcess) -> Iterator[RecorderProcess]:
    """It has no secret in its recording when the test is over."""
    lasting.record()
    yield lasting
    lasting.close()
    for path in (lasting.folder("one") / "log").iterdir():
        data = path.read_bytes()
        for secret in (SECRET, "guess-4711", RIGHT, WRONG):
            assert secret.encode() not in data
    lasting.clear()


@pytest.mark.parametrize(
    ("value", "right"),
    [
        (f"Basic {RIGHT}", True),
        (f"basic   {RIGHT}", True),
        (f"Basic {WRONG}", False),
        ("Basic", False),
        ("Basic !!!", False),
        (f"Bearer {RIGHT}", False),
        ("Basic " + base64.b64encode(b"ada").decode(), False),
    ],
)
def test_only_the_right_user_with_the_right_password_is_admitted_and_says_no_more_of_it(
    value: str, right: bool
) -> None:
    lines = ["GET http://a.test/ HTTP/1.1", "Host: a.test", f"proxy-AUTHORIZATION: {value}", "X-One: 1", "", ""]
    head = parse_request_head("\r\n".join(lines).encode())
    assert head is not None
    credentials = Credentials(f"ada:{SECRET}")
    if right:
        assert credentials.admit(head).raw == b"GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\nX-One: 1\r\n\r\n"
        return
    with pytest.raises(Exception, match="asks who its user is") as refused:
        credentials.admit(head)
    assert getattr(refused.value, "status", 0) == 407


@pytest.mark.parametrize("way", ["http", "https", "socks5h"])
def test_curl_gets_through_with_the_password_only(
    recorder: RecorderProcess, http_origin: Origin, https_origin: Origin, way: str
) -> None:
    host, port = recorder.address
    scheme = "socks5h" if way == "socks5h" else "http"
    url = (https_origin if way != "http" else http_origin).url("/bytes/10")
    command = ["curl", "-sS", "--noproxy", "", "--cacert", str(recorder.root / "ca" / "ca.pem"), "-o", "/dev/null"]
    for user, status in ((f"ada:{SECRET}", "200"), ("ada:guess-4711", "refused"), (None, "refused")):
        words = [*command, "-w", "%{http_code} %{http_connect}", "--proxy", f"{scheme}://{host}:{port}", url]
        if user is not None:
            words += ["--proxy-user", user]
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=30)
        if status == "200":
            assert done.returncode == 0, done.stderr
            assert done.stdout.startswith("200")
        else:
            assert "407" in done.stdout if way != "socks5h" else done.returncode == 97
    received = (https_origin if way != "http" else http_origin).requests
    assert len(received) == 1
    assert b"proxy-auth" not in received[0].head.lower()
    (exchange,) = done_count(recorder, 1)
    assert b"proxy-auth" not in exchange.request.head.lower()


def test_the_answer_to_a_stranger_says_how_to_ask(recorder: RecorderProcess, http_origin: Origin) -> None:
    with RawClient.plain(recorder.address) as client:
        answer = client.get(http_origin.url("/"), host="x", headers=[("Proxy-Authorization", f"Basic {WRONG}")])
    assert (answer.status, answer.header("Proxy-Authenticate")) == (407, 'Basic realm="wiretape"')
    with RawClient.plain(recorder.address) as client:
        client.send(request_bytes("CONNECT", "localhost:1", host="localhost:1"))
        assert client.read_response("CONNECT").status == 407
    assert recorder.stats()["refused"] >= 2
    assert not http_origin.requests


def test_ways_in_that_have_no_password_are_closed(recorder: RecorderProcess, http_origin: Origin) -> None:
    with socket.create_connection(recorder.address, TIMEOUT) as sock:
        sock.sendall(b"\x04\x01" + http_origin.port.to_bytes(2, "big") + b"\x7f\x00\x00\x01\x00")
        assert sock.recv(8)[:2] == b"\x00\x5b"
    with socket.create_connection(recorder.address, TIMEOUT) as sock:
        sock.sendall(b"\x05\x01\x00")
        assert sock.recv(2) == b"\x05\xff"
    words = ["curl", "-sk", "--noproxy", "*", "--connect-to", f"a.test:443:{recorder.address[0]}:{recorder.address[1]}"]
    # TLS straight to the port is TLS to the proxy: who does not ask it as a proxy gets a page, and nothing is sent on.
    words += ["-o", "/dev/null", "-w", "%{http_code}"]
    done = subprocess.run([*words, "https://a.test/"], capture_output=True, check=False, timeout=30)
    assert done.stdout in {b"400", b"407", b"421"}
    assert not http_origin.requests
