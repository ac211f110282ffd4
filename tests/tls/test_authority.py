"""The certificate authority: made once, kept closed, never replaced, and accepted by strict clients."""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import hashlib
import ipaddress
import ssl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from cryptography.x509.verification import PolicyBuilder, Store

from harness.clients import run_curl
from harness.origin import Origin
from wiretape.errors import BusyError, ProtocolError, StorageError
from wiretape.private_files import exclusive, private_folder, take_lock
from wiretape.tls.authority import CertificateAuthority, host_name

HOSTS = (
    "localhost",
    "a.example.com",
    "127.0.0.1",
    "::1",
    "x" * 60 + "." + "y" * 60 + ".example",
)


@pytest.fixture
def ca(root: Path) -> CertificateAuthority:
    return CertificateAuthority.load_or_create(root)


def certificate(pem: bytes) -> x509.Certificate:
    return x509.load_pem_x509_certificates(pem)[0]


def server_context(ca: CertificateAuthority, host: str, folder: Path) -> ssl.SSLContext:
    leaf = ca.leaf(host)
    (folder / "leaf.pem").write_bytes(leaf.chain_pem + leaf.key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "leaf.pem")
    return context


def test_p14_the_key_and_its_folder_are_readable_by_the_owner_alone(ca: CertificateAuthority, root: Path) -> None:
    assert (root / "ca").stat().st_mode & 0o777 == 0o700
    assert (root / "ca" / "ca.key").stat().st_mode & 0o777 == 0o600


def test_p14_a_key_that_became_readable_by_others_is_closed_again(ca: CertificateAuthority, root: Path) -> None:
    (root / "ca").chmod(0o755)
    (root / "ca" / "ca.key").chmod(0o644)
    CertificateAuthority.load_or_create(root)
    test_p14_the_key_and_its_folder_are_readable_by_the_owner_alone(ca, root)


def test_the_second_start_reads_what_the_first_one_made(ca: CertificateAuthority, root: Path) -> None:
    before = {path.name: path.read_bytes() for path in (root / "ca").iterdir()}
    again = CertificateAuthority.load_or_create(root)
    assert again.cert_pem == ca.cert_pem == ca.cert_path.read_bytes()
    assert {path.name: path.read_bytes() for path in (root / "ca").iterdir()} == before
    assert not list((root / "ca").glob("*.new"))


def test_the_fingerprint_is_the_hash_of_the_der_in_colon_hex(ca: CertificateAuthority) -> None:
    digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(ca.cert_pem.decode())).hexdigest().upper()
    assert ca.fingerprint_sha256 == ":".join(digest[at : at + 2] for at in range(0, 64, 2))


def test_the_spki_hash_is_that_of_the_key_as_it_stands_in_the_certificate(ca: CertificateAuthority) -> None:
    der = ssl.PEM_cert_to_DER_cert(ca.cert_pem.decode())
    at = der.index(bytes.fromhex("3059301306072a8648ce3d0201"))  # SEQUENCE of 89 bytes, id-ecPublicKey
    assert base64.b64decode(ca.spki_sha256) == hashlib.sha256(der[at : at + 91]).digest()


def test_neither_key_shows_in_a_representation(ca: CertificateAuthority) -> None:
    assert "PRIVATE" not in repr(ca)
    assert "PRIVATE" not in repr(ca.leaf("a.example"))


def test_many_processes_that_start_at_once_share_one_authority(root: Path) -> None:
    code = (
        "import sys, pathlib; from wiretape.tls.authority import CertificateAuthority as C; sys.stdin.read(1);"
        "print(C.load_or_create(pathlib.Path(sys.argv[1])).fingerprint_sha256)"
    )
    command = [sys.executable, "-c", code, str(root)]
    running = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(8)]
    outputs = []
    for process in running:  # all have imported by the time the last was started, or soon after
        assert process.stdin is not None
        process.stdin.write("g")
        process.stdin.flush()
    for process in running:
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        outputs.append(out.strip())
    assert len(set(outputs)) == 1
    assert outputs[0] == CertificateAuthority.load_or_create(root).fingerprint_sha256


def test_a_crash_between_key_and_certificate_is_completed_with_the_same_key(root: Path) -> None:
    first = CertificateAuthority.load_or_create(root)
    key = (root / "ca" / "ca.key").read_bytes()
    (root / "ca" / "ca.pem").unlink()
    second = CertificateAuthority.load_or_create(root)
    assert (root / "ca" / "ca.key").read_bytes() == key
    assert certificate(second.cert_pem).subject == certificate(first.cert_pem).subject
    # Whoever trusted the lost certificate is served by the new one.
    assert verify(first.cert_pem, second.leaf("a.example").chain_pem, "a.example")


def test_a_crash_in_the_middle_of_writing_leaves_no_trace(root: Path) -> None:
    private_folder(root / "ca")
    (root / "ca" / ".ca.key.new").write_bytes(b"-----BEGIN PRIV")
    CertificateAuthority.load_or_create(root)
    assert sorted(path.name for path in (root / "ca").iterdir()) == ["ca.key", "ca.pem", "lock"]


def _garbage_key(folder: Path) -> None:
    (folder / "ca.key").write_bytes(b"secret-looking garbage")


def _empty_certificate(folder: Path) -> None:
    (folder / "ca.pem").write_bytes(b"")


def _foreign_key(folder: Path) -> None:
    (folder / "ca.key").write_bytes(private_pem(ec.generate_private_key(ec.SECP256R1())))


def _useless_key(folder: Path) -> None:
    (folder / "ca.key").write_bytes(private_pem(ed25519.Ed25519PrivateKey.generate()))


def _encrypted_key(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    (folder / "ca.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"passphrase"),
        )
    )


def _expired(folder: Path) -> None:
    rewrite_certificate(folder, days=(-20, -10))


def _of_the_future(folder: Path) -> None:
    rewrite_certificate(folder, days=(10, 20))


def _no_authority(folder: Path) -> None:
    rewrite_certificate(folder, days=(-1, 1), ca=False)


def _lost_key(folder: Path) -> None:
    (folder / "ca.key").unlink()


def _key_is_a_folder(folder: Path) -> None:
    (folder / "ca.key").unlink()
    (folder / "ca.key").mkdir()


DAMAGE: list[tuple[Callable[[Path], None], str, str]] = [
    (_garbage_key, "ca-unusable", "ca.key is not an unencrypted private key"),
    (_encrypted_key, "ca-unusable", "ca.key is not an unencrypted private key"),
    (_useless_key, "ca-unusable", "ca.key is neither"),
    (_empty_certificate, "ca-unusable", "ca.pem is not a certificate"),
    (_foreign_key, "ca-unusable", "ca.pem does not belong to the key"),
    (_expired, "ca-unusable", "ca.pem expired on"),
    (_of_the_future, "ca-unusable", "is the clock right"),
    (_no_authority, "ca-unusable", "ca.pem is not the certificate of an authority"),
    (_lost_key, "ca-incomplete", "ca.key is missing"),
    (_key_is_a_folder, "storage", "cannot read .*ca.key"),
]


@pytest.mark.parametrize(("damage", "code", "words"), DAMAGE)
def test_unusable_material_is_named_and_left_as_it_is(
    ca: CertificateAuthority, root: Path, damage: Callable[[Path], None], code: str, words: str
) -> None:
    folder = root / "ca"
    damage(folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    with pytest.raises(StorageError, match=words) as raised:
        CertificateAuthority.load_or_create(root)
    assert raised.value.code == code
    assert raised.value.hint
    assert "garbage" not in str(raised.value)
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


def test_a_root_that_cannot_be_made_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match=r"cannot make .*file"):
        CertificateAuthority.load_or_create(tmp_path / "file" / "root")


def test_a_lock_that_nobody_gives_back_is_a_busy_error(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wiretape.private_files.take_lock", lambda fd, *, patience: take_lock(fd, patience=0))
    private_folder(root / "ca")
    with exclusive(root / "ca"), pytest.raises(BusyError, match="lock is held"):
        CertificateAuthority.load_or_create(root)
    CertificateAuthority.load_or_create(root)


def test_an_rsa_authority_of_ones_own_is_used(root: Path) -> None:
    folder = root / "ca"
    private_folder(folder)
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    (folder / "ca.key").write_bytes(private_pem(key))
    rewrite_certificate(folder, days=(-1, 10))
    ca = CertificateAuthority.load_or_create(root)
    chain = ca.leaf("a.example").chain_pem
    assert verify(ca.cert_pem, chain, "a.example")
    assert certificate(chain).not_valid_after_utc <= certificate(ca.cert_pem).not_valid_after_utc


@pytest.mark.parametrize("host", HOSTS)
def test_a_leaf_passes_a_strict_web_pki_verifier(ca: CertificateAuthority, host: str) -> None:
    assert verify(ca.cert_pem, ca.leaf(host).chain_pem, host)


@pytest.mark.parametrize("host", [*HOSTS, "under_score.example"])
def test_a_leaf_is_accepted_by_openssl_in_strict_mode(ca: CertificateAuthority, host: str, tmp_path: Path) -> None:
    strict = ssl.create_default_context(cafile=ca.cert_path)
    strict.verify_flags |= ssl.VERIFY_X509_STRICT
    assert shake_hands(server_context(ca, host, tmp_path), strict, host) == "TLSv1.3"


def test_the_authority_may_sign_leaves_and_nothing_else(ca: CertificateAuthority) -> None:
    extensions = certificate(ca.cert_pem).extensions
    constraints = extensions.get_extension_for_class(x509.BasicConstraints)
    usage = extensions.get_extension_for_class(x509.KeyUsage)
    assert constraints.critical
    assert (constraints.value.ca, constraints.value.path_length) == (True, 0)
    assert usage.critical
    assert (usage.value.key_cert_sign, usage.value.digital_signature) == (True, False)


def test_a_leaf_says_what_browsers_demand(ca: CertificateAuthority) -> None:
    leaf = certificate(ca.leaf("a.example").chain_pem)
    now = dt.datetime.now(dt.UTC)
    assert leaf.not_valid_before_utc <= now - dt.timedelta(days=1)
    assert leaf.not_valid_after_utc - leaf.not_valid_before_utc < dt.timedelta(days=398)
    assert leaf.not_valid_before_utc >= certificate(ca.cert_pem).not_valid_before_utc
    usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.SERVER_AUTH]
    key_id = certificate(ca.cert_pem).extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    assert leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier == key_id
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_every_leaf_has_a_serial_of_its_own(ca: CertificateAuthority) -> None:
    serials = {certificate(ca.leaf("a.example").chain_pem).serial_number for _ in range(50)}
    assert len(serials) == 50
    assert all(0 < serial < 1 << 159 for serial in serials)


def test_a_name_too_long_for_a_common_name_stands_in_the_san_alone(ca: CertificateAuthority) -> None:
    for host, named in (("a" * 56 + ".example", True), ("a" * 57 + ".example", False)):
        leaf = certificate(ca.leaf(host).chain_pem)
        assert bool(leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)) is named
        san = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert san.get_values_for_type(x509.DNSName) == [host]


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("Example.COM.", "example.com"),
        ("[::1]", "::1"),
        ("0:0:0:0:0:0:0:1", "::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("192.0.2.1", "192.0.2.1"),
        ("b\u00fccher.example", "xn--bcher-kva.example"),
        ("r3---sn-x.example", "r3---sn-x.example"),
        ("1", "1"),
    ],
)
def test_a_host_has_one_form(host: str, name: str) -> None:
    assert host_name(host) == name


@pytest.mark.parametrize(
    "host",
    [
        *("", ".", "..", "a..b", ".a", "*", "*.example.com", "a*.example", "a b", "a\x00.b", "a\n.b", "a/b", "a:443"),
        *("[]", "[a]", "[192.0.2.1]", "192.0.2.1%eth0", "x" * 64 + ".example", ".".join(["x" * 60] * 5)),
        *("\ud800", "\u00fc" * 80 + ".example", "a\u3002\u3002b", "<script>", "' OR 1=1", "a" * 100_000),
    ],
)
def test_what_is_no_host_gets_no_certificate(ca: CertificateAuthority, host: str) -> None:
    with pytest.raises(ProtocolError, match="is not a host name or an IP address") as raised:
        ca.leaf(host)
    assert raised.value.code == "bad-host"
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 700


def test_curl_accepts_a_leaf_once_it_trusts_the_authority(ca: CertificateAuthority, tmp_path: Path) -> None:
    with Origin(tls=server_context(ca, "localhost", tmp_path)) as origin:
        assert run_curl(origin.url("/bytes/3"), cacert=ca.cert_path).status == 200
        assert run_curl(origin.url("/bytes/3")).returncode == 60


def is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def shake_hands(server: ssl.SSLContext, client: ssl.SSLContext, host: str) -> str | None:
    """Do a TLS handshake in memory; gives the version, raises what the client raises."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(to_client, to_server, server_hostname=host)
    theirs = server.wrap_bio(to_server, to_client, server_side=True)
    for side in (ours, theirs, ours, theirs):
        with contextlib.suppress(ssl.SSLWantReadError):
            side.do_handshake()
    return ours.version() if ours.getpeercert() else None


def verify(root_pem: bytes, chain_pem: bytes, host: str) -> bool:
    """Verify with the Rust verifier of cryptography, which follows the rules browsers follow (CABF profile)."""
    subject = x509.IPAddress(ipaddress.ip_address(host)) if is_address(host) else x509.DNSName(host)
    leaf, *rest = x509.load_pem_x509_certificates(chain_pem)
    verifier = PolicyBuilder().store(Store([certificate(root_pem)])).build_server_verifier(subject)
    return len(verifier.verify(leaf, rest)) == 2


def private_pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def rewrite_certificate(folder: Path, *, days: tuple[int, int], ca: bool = True) -> None:
    """Sign another certificate with the folder's key, valid from and until so many days from now."""
    key = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey)
    now = dt.datetime.now(dt.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "own")])
    ski = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    usage = dict.fromkeys(
        (
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now + dt.timedelta(days=days[0]))
    builder = builder.not_valid_after(now + dt.timedelta(days=days[1])).add_extension(ski, critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    builder = builder.add_extension(
        x509.KeyUsage(digital_signature=False, key_cert_sign=ca, crl_sign=True, **usage), critical=True
    )
    cert = builder.sign(key, hashes.SHA256())
    (folder / "ca.pem").write_bytes(cert.public_bytes(serialization.Encoding.PEM))
