"""Files of trust: the bundle, and the system's roots that go into it."""

from __future__ import annotations

from pathlib import Path

import certifi
import pytest

from wiretape.cli.demo.certificates import OriginCA
from wiretape.tls import roots as trust
from wiretape.tls.authority import CertificateAuthority


@pytest.fixture
def ca(root: Path) -> CertificateAuthority:
    return CertificateAuthority.load_or_create(root)


def test_the_bundle_holds_the_systems_roots_and_ours(
    ca: CertificateAuthority, origin_ca: OriginCA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    comment = "# kommentar: \u00fc\n".encode()
    other = origin_ca.pem.read_bytes()
    (tmp_path / "roots.pem").write_bytes(comment + other + origin_ca.issue().key.read_bytes())
    system = b"".join(trust.machine_roots())
    trusted = trust.certificates_in([tmp_path / "roots.pem"])
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "roots.pem"))
    assert trust.system_roots() == trusted == [other]
    plain, bundle = ca.bundle_path(), ca.bundle_path(trusted)
    assert plain.read_bytes() == system + ca.cert_pem
    assert bundle.read_bytes() == system + other + ca.cert_pem
    assert bundle != plain
    written = bundle.stat().st_mtime_ns
    assert ca.bundle_path(trusted).stat().st_mtime_ns == written
    # `wiretape run` inside `wiretape run`: what was trusted before is the bundle, and it must not grow from itself.
    assert ca.bundle_path(trust.certificates_in([bundle])) == bundle
    assert ca.bundle_path([ca.cert_pem]) == plain


def test_a_system_without_roots_gets_those_of_certifi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "missing"))
    monkeypatch.setattr(trust, "_ROOT_FILES", ())
    found = trust.system_roots()
    assert len(found) > 50
    assert found == trust.certificates_in([Path(certifi.where())])


def test_the_bundle_follows_the_systems_roots(ca: CertificateAuthority) -> None:
    count = ca.bundle_path().read_bytes().count(b"-----BEGIN CERTIFICATE-----")
    assert count == len(trust.machine_roots()) + 1
    ca.bundle_path().write_bytes(b"out of date")
    assert ca.bundle_path().read_bytes().count(b"-----BEGIN CERTIFICATE-----") == count


def test_roots_in_a_folder_of_hashed_files_are_found_once(
    ca: CertificateAuthority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "certs"
    folder.mkdir()
    (folder / "one.pem").write_bytes(ca.cert_pem)
    (folder / "0a1b2c3d.0").symlink_to("one.pem")
    (folder / "README").write_bytes(b"no certificate")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(folder))
    monkeypatch.setattr(trust, "_ROOT_FILES", ())
    assert trust.system_roots() == [ca.cert_pem]


def test_only_whole_certificate_blocks_are_taken_from_a_file(origin_ca: OriginCA) -> None:
    pem = origin_ca.pem.read_bytes()
    noise = b"# text\n-----BEGIN CERTIFICATE-----\nnot base64!\n-----END CERTIFICATE-----\n"
    crlf = pem.replace(b"\n", b"\r\n")
    assert trust.pem_certificates(noise + pem + b"-----BEGIN CERTIFICATE-----\nMII") == [pem]
    assert len(trust.pem_certificates(crlf + noise)) == 1
