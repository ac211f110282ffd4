"""The certificate authority of one root, and the server certificates it signs for every host that is intercepted.

It is made once and then only read: users, browsers and containers have been told to trust this very certificate, so
nothing here ever replaces key material that is present, however broken it looks.

    <root>/ca/            0700
        ca.key            0600, PKCS #8 PEM, ECDSA P-256
        ca.pem            the certificate to trust
        bundle.pem        the system's roots and ours, for programs that take one file only (see roots.py);
                          bundle-*, extra-* and upstream-*.pem the same with what a command trusted before
        lock              held while one of these is written

The key is published before the certificate, each by rename: whoever sees ``ca.pem`` sees the key it belongs to. A
crash between the two leaves a key that nobody trusts yet, and the next start signs its certificate.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Final, NoReturn

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from wiretape import private_files
from wiretape.errors import ProtocolError, StorageError
from wiretape.tls import roots as trust

DAY: Final = dt.timedelta(days=1)
CA_LIFETIME: Final = 3650 * DAY
# Browsers refuse server certificates of more than 398 days (CA/Browser Forum ballot SC31); with the two days that
# a leaf starts in the past, for clients whose clock or time zone is wrong, ours has 397.
LEAF_BACKDATED: Final = 2 * DAY
LEAF_LIFETIME: Final = 395 * DAY
ORGANIZATION: Final = "wiretape local recorder"
UB_COMMON_NAME: Final = 64  # RFC 5280 appendix A.1, ub-common-name; a longer one makes the certificate malformed
_LABEL_CHARACTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_")

_SigningKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True, slots=True)
class Leaf:
    """A server certificate: ``chain_pem`` (the leaf, then our CA) and ``key_pem`` (PKCS #8)."""

    chain_pem: bytes
    key_pem: bytes = field(repr=False)


class CertificateAuthority:
    """Signs server certificates; made by :meth:`load_or_create`."""

    def __init__(self, folder: Path, key: _SigningKey, cert: x509.Certificate) -> None:
        self.folder = folder
        self._key = key
        self._cert = cert

    def __repr__(self) -> str:
        return f"CertificateAuthority({str(self.folder)!r}, {self.fingerprint_sha256})"

    @classmethod
    def load_or_create(cls, root: Path) -> CertificateAuthority:
        """Read the authority of ``root``, or make it; any number of processes may do so at once.

        Raises:
            StorageError: the files cannot be read or written, do not fit together, or have expired. They are left
                as they are.
            BusyError: another process held the folder's lock for too long.
        """
        folder = root / "ca"
        private_files.private_folder(folder)
        # Without the lock first: a start must not wait for anybody once the authority exists.
        if not ((folder / "ca.key").exists() and (folder / "ca.pem").exists()):
            with private_files.exclusive(folder):
                _complete(folder)
        authority = cls.load(root)
        private_files.close_to_others(folder / "ca.key")
        return authority

    @classmethod
    def load(cls, root: Path) -> CertificateAuthority:
        """Read the authority of ``root`` as it is; nothing is made, and no rights are changed.

        Raises:
            StorageError: the files cannot be read, do not fit together, or have expired.
        """
        folder = root / "ca"
        key, cert = _read_key(folder / "ca.key"), _read_cert(folder / "ca.pem")
        _check(folder, key, cert)
        return cls(folder, key, cert)

    @property
    def cert_path(self) -> Path:
        """The file to trust."""
        return self.folder / "ca.pem"

    @cached_property
    def cert_pem(self) -> bytes:
        """The certificate to trust, PEM."""
        return self._cert.public_bytes(serialization.Encoding.PEM)

    @cached_property
    def fingerprint_sha256(self) -> str:
        """The certificate's SHA-256 as browsers show it: upper-case hex pairs with colons."""
        return self._cert.fingerprint(hashes.SHA256()).hex(":").upper()

    @cached_property
    def spki_sha256(self) -> str:
        """Base64 of the public key's SHA-256, the form of Chromium's ``--ignore-certificate-errors-spki-list``."""
        spki = self._cert.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return base64.b64encode(hashlib.sha256(spki).digest()).decode("ascii")

    def bundle_path(self, trusted: Sequence[bytes] = ()) -> Path:
        """Write the system's roots, ``trusted`` and this authority to one file, if need be, and return its path.

        That is ``bundle.pem``; with ``trusted`` (PEM blocks) it is a file of their own, so that what one command trusts
        is never trusted by another.

        Raises:
            StorageError: the file cannot be written.
            BusyError: another process held the folder's lock for too long.
        """
        return trust.write_bundle(self.folder, self.cert_pem, trusted)

    def leaf(self, host: str) -> Leaf:
        """Sign a server certificate for ``host``: a DNS name, or an IPv4 or IPv6 address.

        Args:
            host: as it came from a CONNECT target or SNI, hence hostile; one trailing dot, brackets round an IPv6
                address and non-ASCII labels are understood.

        Raises:
            ProtocolError: ``host`` is none of these (code ``bad-host``).
        """
        name = host_name(host)
        now = dt.datetime.now(dt.UTC)
        cert = (
            x509.CertificateBuilder()
            .subject_name(_leaf_subject(name))
            .issuer_name(self._cert.subject)
            .public_key(self._leaf_key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(max(now - LEAF_BACKDATED, self._cert.not_valid_before_utc))
            .not_valid_after(min(now + LEAF_LIFETIME, self._cert.not_valid_after_utc))
            .add_extension(x509.SubjectAlternativeName([_general_name(name)]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(digital_signature=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(self._leaf_ski, critical=False)
            .add_extension(self._aki, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        # The CA goes along although a client that trusts it has it: Chromium's spki-list looks at what was sent only.
        return Leaf(cert.public_bytes(serialization.Encoding.PEM) + self.cert_pem, self._leaf_key_pem)

    # One key for all leaves of a process. They live on one machine, in one process and under one CA whose key is in
    # the same process, so a key of its own for each would protect nothing; it would cost one more generation per
    # host and a second file for OpenSSL to parse.
    @cached_property
    def _leaf_key(self) -> ec.EllipticCurvePrivateKey:
        return ec.generate_private_key(ec.SECP256R1())

    @cached_property
    def _leaf_key_pem(self) -> bytes:
        return _key_pem(self._leaf_key)

    @cached_property
    def _leaf_ski(self) -> x509.SubjectKeyIdentifier:
        return x509.SubjectKeyIdentifier.from_public_key(self._leaf_key.public_key())

    @cached_property
    def _aki(self) -> x509.AuthorityKeyIdentifier:
        # From the certificate's own identifier where it has one: it need not be the hash of the key (RFC 5280 4.2.1.1).
        try:
            ski = self._cert.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        except x509.ExtensionNotFound:
            return x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ski)


def host_name(host: str) -> str:
    """Return ``host`` in the one form in which certificates and caches know it: lower-case ASCII, no dot at the end.

    Raises:
        ProtocolError: it is neither an IP address nor a DNS name (code ``bad-host``). A wildcard is not a name: a
            client must not be able to have a certificate made for more than it asked for.
    """
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        # A zone ("%eth0") is this machine's own affair and has no place in a certificate (RFC 6874 section 1).
        address = ipaddress.ip_address(bare.partition("%")[0])
        if address.version == 6 or host == str(address):
            return str(address)
    except ValueError:
        pass
    name = _ascii_name(host).lower().removesuffix(".")
    labels = name.split(".")
    fits = len(name) <= 253 and all(0 < len(label) <= 63 for label in labels)
    if not fits or not all(_LABEL_CHARACTERS.issuperset(label) for label in labels):
        _refuse_host(host)
    return name


def _ascii_name(host: str) -> str:
    if host.isascii():
        return host
    try:
        return host.encode("idna").decode("ascii")
    except UnicodeError:
        _refuse_host(host)


def _refuse_host(host: str) -> NoReturn:
    shown = host if len(host) <= 80 else f"{host[:80]}..."
    raise ProtocolError(
        f"{shown!a} is not a host name or an IP address",
        hint="ask for a DNS name, an IPv4 address or an IPv6 address in brackets",
        code="bad-host",
    )


def _leaf_subject(name: str) -> x509.Name:
    # Never empty: an empty subject needs a critical SAN (RFC 5280 section 4.2.1.6), which old clients choke on.
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANIZATION)]
    if len(name) <= UB_COMMON_NAME:
        attributes.append(x509.NameAttribute(NameOID.COMMON_NAME, name))
    return x509.Name(attributes)


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _key_usage(*, digital_signature: bool = False, signs_certificates: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _key_pem(key: _SigningKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _complete(folder: Path) -> None:
    """Make what is missing; the caller holds the lock, so what was missing before may be there now."""
    key_path, cert_path = folder / "ca.key", folder / "ca.pem"
    if not key_path.exists():
        if cert_path.exists():
            raise StorageError(
                f"{cert_path} is there but its key {key_path} is missing",
                hint=f"put the key back, or delete {cert_path} to have a new authority made, to be trusted anew",
                code="ca-incomplete",
            )
        private_files.replace_file(key_path, _key_pem(ec.generate_private_key(ec.SECP256R1())), mode=0o600)
    if not cert_path.exists():
        cert = _self_sign(_read_key(key_path))
        private_files.replace_file(cert_path, cert.public_bytes(serialization.Encoding.PEM), mode=0o644)


def _self_sign(key: _SigningKey) -> x509.Certificate:
    ski = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    # The name is the key's: two authorities trusted on one machine must not share a name, and the same key gets
    # the same one, so that whoever trusted an earlier certificate of this key is served by this one too.
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANIZATION),
            x509.NameAttribute(NameOID.COMMON_NAME, f"wiretape CA {ski.digest[:4].hex()}"),
        ]
    )
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - LEAF_BACKDATED)
        .not_valid_after(now + CA_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(ski, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ski), critical=False)
        .sign(key, hashes.SHA256())
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise private_files.refused("read", path, exc) from exc


def _read_key(path: Path) -> _SigningKey:
    data = _read(path)
    try:
        key = serialization.load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as exc:
        # The parser's message is not passed on: it may quote what it read.
        raise _unusable(path, "is not an unencrypted private key in PEM form") from exc
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise _unusable(path, "is neither an ECDSA nor an RSA key")
    return key


def _read_cert(path: Path) -> x509.Certificate:
    data = _read(path)
    try:
        return x509.load_pem_x509_certificate(data)
    except ValueError as exc:
        raise _unusable(path, "is not a certificate in PEM form") from exc


def _check(folder: Path, key: _SigningKey, cert: x509.Certificate) -> None:
    path = folder / "ca.pem"
    try:
        constraints = cert.extensions.get_extension_for_class(x509.BasicConstraints).value
    except (x509.ExtensionNotFound, ValueError) as exc:
        raise _unusable(path, "is not the certificate of an authority") from exc
    if not constraints.ca:
        raise _unusable(path, "is not the certificate of an authority")
    if cert.public_key() != key.public_key():
        raise _unusable(path, f"does not belong to the key {folder / 'ca.key'}")
    now = dt.datetime.now(dt.UTC)
    if now > cert.not_valid_after_utc:
        raise _unusable(path, f"expired on {cert.not_valid_after_utc:%Y-%m-%d}")
    if now < cert.not_valid_before_utc:
        raise _unusable(path, f"is valid only from {cert.not_valid_before_utc:%Y-%m-%d}; is the clock right?")


def _unusable(path: Path, problem: str) -> StorageError:
    return StorageError(
        f"{path} {problem}",
        hint=f"restore it, or move the folder {path.parent} away to have a new authority made, to be trusted anew",
        code="ca-unusable",
    )
