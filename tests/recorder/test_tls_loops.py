"""What asyncio and uvloop report of TLS handshakes that fail, and that the recorder understands it (see tls.py)."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop

from harness.bodies import body_for
from harness.clients import run_curl
from harness.origin import Origin
from wiretape.cli.demo.certificates import OriginCA
from wiretape.tls.authority import CertificateAuthority
from wiretape.tls.contexts import (
    ServerContexts,
    UpstreamContexts,
    explain_tls_error,
    tls_error,
    unused_connection_error,
)

Client = Callable[[int], None]
VERSIONS = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)


@pytest.fixture
def ca(root: Path) -> CertificateAuthority:
    return CertificateAuthority.load_or_create(root)


@pytest.fixture
def contexts(ca: CertificateAuthority) -> ServerContexts:
    return ServerContexts(ca)


@pytest.fixture
def trusting(ca: CertificateAuthority) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=ca.cert_path)


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Coroutine[Any, Any, Any]], Any]:
    def run_on_loop(work: Coroutine[Any, Any, Any]) -> Any:
        with asyncio.Runner(loop_factory=request.param) as runner:
            return runner.run(asyncio.wait_for(work, 30))

    return run_on_loop


# --------------------------------------------------------------------------- what the loops report, towards clients


class Seen(asyncio.Protocol):
    """What the recorder's protocol is told."""

    def __init__(self) -> None:
        self.made = False
        self.data = b""
        self.eof = False
        self.lost: BaseException | None = None
        self.ended = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.made = True

    def data_received(self, data: bytes) -> None:
        self.data += data

    def eof_received(self) -> None:
        self.eof = True

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = exc
        self.ended.set()


async def accept(context: ssl.SSLContext, client: Client, patience: float = 20.0) -> tuple[Seen, BaseException | None]:
    """Accept one connection as the recorder does; gives what the protocol saw, and what the handshake raised."""
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        visiting = asyncio.create_task(asyncio.to_thread(client, listener.getsockname()[1]))
        sock, _ = await loop.sock_accept(listener)
        seen = Seen()
        raised = None
        try:
            await loop.connect_accepted_socket(lambda: seen, sock, ssl=context, ssl_handshake_timeout=patience)
            await seen.ended.wait()
        except OSError as exc:
            raised = exc
        await visiting
        return seen, raised


def raw(send: bytes, *, reset: bool = False, wait: bool = False) -> Client:
    """Give a client that sends bytes that are no handshake and leaves."""

    def visit_raw(port: int) -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
            sock.sendall(send)
            if wait:
                sock.recv(1)
            if reset:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    return visit_raw


def secure(context: ssl.SSLContext, send: bytes = b"") -> Client:
    """Give a client that does the handshake, sends ``send`` and leaves without looking back."""

    def visit_securely(port: int) -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
            try:
                with context.wrap_socket(sock, server_hostname="localhost") as secured:
                    secured.sendall(send)
            except OSError:
                return  # what the client makes of it is its own affair

    return visit_securely


@pytest.mark.parametrize("version", VERSIONS)
def test_a_client_that_refuses_inside_the_handshake_is_an_exception_and_no_callback(
    contexts: ServerContexts, run: Callable[..., Any], version: ssl.TLSVersion
) -> None:
    distrusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    distrusting.maximum_version = version
    seen, raised = run(accept(contexts.for_host("localhost"), secure(distrusting)))
    assert (seen.made, seen.ended.is_set()) == (False, False)
    code, sentence = explain_tls_error(raised, side="client", host="localhost")
    assert code == "client-refused-certificate"
    assert "localhost" in sentence
    assert "wiretape ca path" in sentence


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_curl_without_the_authority_is_such_a_client(
    contexts: ServerContexts, run: Callable[..., Any], version: str
) -> None:
    def curl(port: int) -> None:
        assert run_curl("--tls-max", version, f"https://localhost:{port}/").returncode == 60

    _, raised = run(accept(contexts.for_host("localhost"), curl))
    assert tls_error(raised, side="client", host="localhost").code == "client-refused-certificate"


@pytest.mark.parametrize("version", VERSIONS)
def test_a_client_that_leaves_after_the_handshake_is_a_connection_without_data(
    contexts: ServerContexts, run: Callable[..., Any], version: ssl.TLSVersion
) -> None:
    late = ssl._create_unverified_context()
    late.maximum_version = version
    seen, raised = run(accept(contexts.for_host("localhost"), secure(late)))
    # TLS 1.3: whether our last flight still found the client there is a matter of microseconds.
    if raised is None:
        assert (seen.made, seen.data) == (True, b"")
        error = unused_connection_error(seen.lost, host="localhost")
        assert error.code == "client-left-unused"
    else:
        error = tls_error(raised, side="client", host="localhost")
        assert error.code == "client-left-handshake"
    assert "localhost" in error.message
    assert "does not trust the CA" in error.hint


def test_a_request_before_the_leaving_is_seen_whole(
    contexts: ServerContexts, trusting: ssl.SSLContext, run: Callable[..., Any]
) -> None:
    trusting.maximum_version = ssl.TLSVersion.TLSv1_2
    seen, raised = run(accept(contexts.for_host("localhost"), secure(trusting, b"GET / HTTP/1.1\r\n\r\n")))
    assert (raised, seen.data) == (None, b"GET / HTTP/1.1\r\n\r\n")


def limited(**settings: Any) -> ssl.SSLContext:
    context = ssl._create_unverified_context()
    for name, value in settings.items():
        if name == "ciphers":
            context.set_ciphers(value)
        else:
            setattr(context, name, value)
    return context


CLIENTS: list[tuple[str, Callable[[], Client], str]] = [
    ("leaves", lambda: raw(b"\x16\x03\x01"), "client-left-handshake"),
    ("resets", lambda: raw(b"\x16\x03\x01", reset=True), "client-left-handshake"),
    ("http", lambda: raw(b"GET / HTTP/1.1\r\n\r\n", wait=True), "client-not-tls"),
    ("garbage", lambda: raw(b"\x00\x01\x02\x03\x04\x05\x06\x07\x08", wait=True), "client-not-tls"),
    ("malformed", lambda: raw(b"\x16\x03\x01\x00\x05hello", wait=True), "client-tls-failed"),
    (
        "rsa-only",
        lambda: secure(limited(maximum_version=ssl.TLSVersion.TLSv1_2, ciphers="AES128-GCM-SHA256")),
        "client-no-common-cipher",
    ),
]


@pytest.mark.parametrize(("client", "code"), [pytest.param(c, code, id=name) for name, c, code in CLIENTS])
def test_other_failures_of_clients_have_codes_of_their_own(
    contexts: ServerContexts, run: Callable[..., Any], client: Callable[[], Client], code: str
) -> None:
    seen, raised = run(accept(contexts.for_host("localhost"), client()))
    assert tls_error(raised, side="client", host="localhost").code == code
    assert not seen.made


def test_a_client_that_is_too_old_and_a_client_too_slow(contexts: ServerContexts, run: Callable[..., Any]) -> None:
    old = contexts.for_host("localhost")
    old.minimum_version = ssl.TLSVersion.TLSv1_3
    _, raised = run(accept(old, secure(limited(maximum_version=ssl.TLSVersion.TLSv1_2))))
    assert tls_error(raised, side="client", host="localhost").code == "client-no-common-version"
    _, raised = run(accept(contexts.for_host("localhost"), raw(b"\x16", wait=True), patience=0.05))
    assert tls_error(raised, side="client", host="localhost").code == "client-tls-timeout"


# --------------------------------------------------------------------------- what the loops report, towards servers


async def connect(context: ssl.SSLContext, address: tuple[str, int], name: str, patience: float = 20.0) -> Seen:
    """Connect as the recorder does and wait for the end; raises what the handshake raises."""
    loop = asyncio.get_running_loop()
    _, seen = await loop.create_connection(
        Seen, *address, ssl=context, server_hostname=name, ssl_handshake_timeout=patience
    )
    await seen.ended.wait()
    return seen


CERTIFICATES: list[tuple[str, Callable[[OriginCA], ssl.SSLContext], str, str]] = [
    ("localhost", lambda ca: ca.issue(expired=True).server_context(), "upstream-certificate-expired", "expired"),
    (
        "localhost",
        lambda ca: ca.issue(("b.test",)).server_context(),
        "upstream-certificate-mismatch",
        "not for localhost",
    ),
    ("127.0.0.1", lambda ca: ca.issue(("b.test",)).server_context(), "upstream-certificate-mismatch", "127.0.0.1"),
    ("localhost", lambda ca: ca.self_signed().server_context(), "upstream-certificate-self-signed", "self-signed"),
]


@pytest.mark.parametrize(("name", "server", "code", "words"), CERTIFICATES)
def test_a_servers_certificate_that_does_not_verify_is_explained(
    run: Callable[..., Any],
    origin_ca: OriginCA,
    name: str,
    server: Callable[[OriginCA], ssl.SSLContext],
    code: str,
    words: str,
) -> None:
    context = UpstreamContexts(extra_ca=origin_ca.pem).context()
    with Origin(tls=server(origin_ca)) as origin, pytest.raises(ssl.SSLError) as raised:
        run(connect(context, (origin.host, origin.port), name))
    error = tls_error(raised.value, side="server", host=name)
    assert error.code == code
    assert words in error.message
    assert "--insecure-upstream" in error.hint


def test_an_unknown_issuer_comes_with_the_way_out(run: Callable[..., Any], https_origin: Origin) -> None:
    with pytest.raises(ssl.SSLError) as raised:
        run(connect(UpstreamContexts().context(), (https_origin.host, https_origin.port), "localhost"))
    error = tls_error(raised.value, side="server", host="localhost")
    assert error.code == "upstream-certificate-unknown-issuer"
    assert "--upstream-ca FILE" in error.hint


@contextlib.contextmanager
def bare_server(answer: bytes | None) -> Iterator[tuple[str, int]]:
    """Serve one connection: read something, send ``answer`` and close; None waits for the peer to leave."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            sock, _ = listener.accept()
            with sock:
                sock.recv(65536)
                if answer is None:
                    with contextlib.suppress(OSError):
                        sock.recv(1)
                else:
                    sock.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()
        thread.join(20)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "upstream-not-tls"),
        (b"", "upstream-closed-handshake"),
        (b"\x15\x03\x03\x00\x02\x02\x70", "upstream-unknown-name"),
        (b"\x15\x03\x03\x00\x02\x02\x46", "upstream-no-common-version"),
        (b"\x15\x03\x03\x00\x02\x02\x50", "upstream-tls-failed"),
    ],
    ids=["http", "leaves", "alert-unrecognized-name", "alert-version", "alert-internal-error"],
)
def test_a_server_that_does_not_shake_hands_is_explained(run: Callable[..., Any], answer: bytes, code: str) -> None:
    context = UpstreamContexts(insecure=True).context()
    with bare_server(answer) as address, pytest.raises((OSError, ssl.SSLError)) as raised:
        run(connect(context, address, "localhost"))
    assert tls_error(raised.value, side="server", host="localhost").code == code


def test_a_server_that_says_nothing_is_a_timeout(run: Callable[..., Any]) -> None:
    context = UpstreamContexts(insecure=True).context()
    with bare_server(None) as address, pytest.raises(ConnectionAbortedError) as raised:
        run(connect(context, address, "localhost", patience=0.05))
    assert tls_error(raised.value, side="server", host="localhost").code == "upstream-tls-timeout"


def test_a_server_that_demands_a_client_certificate_is_explained(run: Callable[..., Any], origin_ca: OriginCA) -> None:
    for version, code in zip(VERSIONS, ("upstream-no-common-cipher", "upstream-wants-certificate"), strict=True):
        context = origin_ca.issue().server_context()
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cafile=origin_ca.pem)
        context.maximum_version = version
        with Origin(tls=context) as origin:
            try:
                # In TLS 1.3 the server's alert comes after our handshake: connection_lost brings it. (Nothing is
                # sent here: a request that the server does not read makes its close a reset, which can overtake it.)
                trusting = UpstreamContexts(extra_ca=origin_ca.pem).context()
                exc = run(connect(trusting, (origin.host, origin.port), "localhost")).lost
            except OSError as raised:
                exc = raised
        error = tls_error(exc, side="server", host="localhost")
        assert error.code == code
        assert "client certificate" in error.message


@pytest.mark.parametrize("rude", [False, True])
def test_an_end_without_close_notify_is_no_eof_to_uvloop(
    run: Callable[..., Any], https_origin: Origin, origin_ca: OriginCA, rude: bool
) -> None:
    async def fetch() -> tuple[Seen, str]:
        loop = asyncio.get_running_loop()
        address = (https_origin.host, https_origin.port)
        context = UpstreamContexts(extra_ca=origin_ca.pem).context()
        transport, seen = await loop.create_connection(Seen, *address, ssl=context, server_hostname="localhost")
        transport.write(b"GET /until-close/10?rude=%d HTTP/1.1\r\nHost: x\r\n\r\n" % rude)
        await seen.ended.wait()
        return seen, type(loop).__module__

    seen, module = run(fetch())
    assert seen.lost is None
    assert seen.data.partition(b"\r\n\r\n")[2] == body_for(f"/until-close/10?rude={int(rude)}", 10)
    assert seen.eof is (not rude or module.startswith("asyncio"))
