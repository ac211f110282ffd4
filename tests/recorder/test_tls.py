"""TLS contexts on both sides, and the sentences for handshakes that fail."""

from __future__ import annotations

import os
import socket
import ssl
from pathlib import Path
from typing import get_args

import pytest

from harness.clients import RawClient
from harness.origin import Origin
from wiretape.cli.demo.certificates import OriginCA
from wiretape.errors import NetworkError, ProtocolError, StorageError, UsageError
from wiretape.tls.authority import CertificateAuthority
from wiretape.tls.contexts import (
    ServerContexts,
    Side,
    UpstreamContexts,
    tls_error,
    unused_connection_error,
)

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


# ------------------------------------------------------------------------------------------ contexts towards clients


def test_one_context_serves_all_spellings_of_a_host(contexts: ServerContexts) -> None:
    assert contexts.for_host("Example.COM.") is contexts.for_host("example.com")
    assert contexts.for_host("example.com") is not contexts.for_host("example.org")
    assert contexts.for_host("example.com") is not contexts.for_host("example.com", ())


def test_the_contexts_kept_are_those_used_last_and_never_more_than_the_limit(ca: CertificateAuthority) -> None:
    contexts = ServerContexts(ca, limit=2)
    first, second = contexts.for_host("a.test"), contexts.for_host("b.test")
    assert contexts.for_host("a.test") is first
    contexts.for_host("c.test")
    assert len(contexts) == 2
    assert contexts.for_host("a.test") is first
    assert contexts.for_host("b.test") is not second


def test_a_context_is_made_anew_long_before_its_certificate_expires(
    contexts: ServerContexts, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = contexts.for_host("a.test")
    monkeypatch.setattr("wiretape.tls.contexts.RENEW_AFTER", -1.0)
    assert contexts.for_host("a.test") is not first


def test_a_wildcard_and_other_hostile_names_get_no_context(contexts: ServerContexts) -> None:
    for host in ("*.example.com", "a b", "", "a\x00b.test"):
        with pytest.raises(ProtocolError):
            contexts.for_host(host)
    assert len(contexts) == 0


def test_a_context_that_openssl_cannot_be_given_is_a_storage_error(
    contexts: ServerContexts, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = OSError(24, "Too many open files")
    monkeypatch.setattr("os.pipe", lambda: (_ for _ in ()).throw(limit))
    with pytest.raises(StorageError, match="Too many open files"):
        contexts.for_host("a.test")


def test_making_contexts_leaks_no_descriptor(contexts: ServerContexts) -> None:
    contexts.for_host("first.test")
    before = len(os.listdir("/dev/fd"))
    for number in range(20):
        contexts.for_host(f"h{number}.test")
    # What other tests have left to the collector may go meanwhile, so that there may be fewer.
    assert len(os.listdir("/dev/fd")) - before < 10


@pytest.mark.parametrize("version", VERSIONS)
def test_a_client_resumes_its_session_with_the_context_that_was_kept(
    contexts: ServerContexts, trusting: ssl.SSLContext, version: ssl.TLSVersion
) -> None:
    trusting.maximum_version = version
    session = None
    for resumed in (False, True):
        with Origin(tls=contexts.for_host("localhost")) as origin:
            sock = socket.create_connection((origin.host, origin.port))
            secured = trusting.wrap_socket(sock, server_hostname="localhost", session=session)
            with RawClient(secured) as client:
                assert client.get("/bytes/3").status == 200  # the ticket comes before the answer
                assert secured.session_reused is resumed
                session = secured.session


def test_http11_is_the_protocol_that_alpn_selects(contexts: ServerContexts, trusting: ssl.SSLContext) -> None:
    trusting.set_alpn_protocols(["h2", "http/1.1"])
    with Origin(tls=contexts.for_host("localhost")) as origin:
        sock = socket.create_connection((origin.host, origin.port))
        with trusting.wrap_socket(sock, server_hostname="localhost") as secured:
            assert secured.selected_alpn_protocol() == "http/1.1"


# ----------------------------------------------------------------------------------------- contexts towards servers


def visit(origin: Origin, context: ssl.SSLContext, name: str = "localhost") -> int:
    with RawClient.tls((origin.host, origin.port), context, name=name) as client:
        return client.get("/bytes/3").status


def test_p14_a_server_that_the_system_does_not_know_is_refused(https_origin: Origin) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        visit(https_origin, UpstreamContexts().context())


def test_a_server_is_trusted_through_a_file_or_a_folder(https_origin: Origin, origin_ca: OriginCA) -> None:
    for place in (origin_ca.pem, origin_ca.folder):
        context = UpstreamContexts(extra_ca=place).context()
        assert visit(https_origin, context) == 200
        assert context.cert_store_stats()["x509"] > UpstreamContexts().context().cert_store_stats()["x509"]


def test_ssl_cert_file_is_honoured(https_origin: Origin, origin_ca: OriginCA, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(origin_ca.pem))
    assert visit(https_origin, UpstreamContexts().context()) == 200


def test_the_roots_are_found_where_openssl_does_not_look(
    https_origin: Origin, origin_ca: OriginCA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "missing"))
    monkeypatch.setattr("wiretape.tls.roots._ROOT_FILES", (str(origin_ca.pem),))
    assert visit(https_origin, UpstreamContexts().context()) == 200


def test_insecure_accepts_any_certificate(origin_ca: OriginCA) -> None:
    context = UpstreamContexts(insecure=True).context()
    for issued in (origin_ca.issue(expired=True), origin_ca.issue(("other.test",)), origin_ca.self_signed()):
        with Origin(tls=issued.server_context()) as origin:
            assert visit(origin, context) == 200


def test_the_context_is_made_once(origin_ca: OriginCA) -> None:
    contexts = UpstreamContexts(extra_ca=origin_ca.pem)
    assert contexts.context() is contexts.context()


def test_an_unusable_extra_ca_is_told_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "key.pem").write_bytes(b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    (tmp_path / "damaged.pem").write_bytes(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    wrong = {
        "missing.pem": "cannot read",
        "empty": "no PEM certificate",
        "key.pem": "no PEM",
        "damaged.pem": "is damaged",
    }
    for name, words in wrong.items():
        with pytest.raises(UsageError, match=words) as raised:
            UpstreamContexts(extra_ca=tmp_path / name)
        assert name in raised.value.message
        assert (raised.value.code, raised.value.exit_status) == ("upstream-ca", 2)
        assert "--upstream-ca" in raised.value.hint


# ------------------------------------------------------------------------------------------------- the sentences


def ssl_error(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, f"[SSL: {reason}] words")
    error.reason, error.library = reason, "SSL"
    return error


@pytest.mark.parametrize(
    "reason",
    [
        *("TLSV1_ALERT_UNKNOWN_CA", "SSLV3_ALERT_BAD_CERTIFICATE", "SSLV3_ALERT_CERTIFICATE_UNKNOWN"),
        *("SSLV3_ALERT_CERTIFICATE_EXPIRED", "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE", "SSLV3_ALERT_CERTIFICATE_REVOKED"),
    ],
)
def test_every_alert_about_a_certificate_is_a_refusal_before_and_after_the_handshake(reason: str) -> None:
    assert tls_error(ssl_error(reason), side="client", host="a.test").code == "client-refused-certificate"
    assert unused_connection_error(ssl_error(reason), host="a.test").code == "client-refused-certificate"


def test_every_failure_has_a_stable_code_of_its_side_and_one_line() -> None:
    reasons = ["ALERT_UNKNOWN_CA", "UNRECOGNIZED_NAME", "UNSUPPORTED_PROTOCOL", "NO_SHARED_CIPHER", "NEVER_HEARD_OF_IT"]
    reasons += ["ALERT_NO_APPLICATION_PROTOCOL", "ALERT_CERTIFICATE_REQUIRED", "HTTP_REQUEST"]
    errors: list[BaseException | None] = [None, TimeoutError(), ConnectionResetError(), EOFError(), OSError(5, "I/O")]
    for exc in [*errors, ssl.SSLEOFError(8, "EOF"), *map(ssl_error, reasons)]:
        for side in get_args(Side):
            prefix = {"client": "client-", "server": "upstream-"}[side]
            error = tls_error(exc, side=side, host="evil\r\n\x1b[2J.test")
            assert isinstance(error, NetworkError)
            assert error.code.startswith(prefix)
            assert str(error).isprintable()
