"""A certificate authority for HTTPS origins on loopback; wiretape's own CA is never used to make its peers."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

ORIGIN_HOSTS = ("localhost", "127.0.0.1", "::1")
DAY = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class IssuedCert:
    """Files of one certificate: ``cert`` (leaf first, then its issuer, PEM) and ``key`` (PEM)."""

    cert: Path
    key: Path

    def server_context(self, *, alpn: tuple[str, ...] = ("http/1.1",)) -> ssl.SSLContext:
        """Return a server context with this certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.cert, self.key)
        if alpn:
            context.set_alpn_protocols(list(alpn))
        return context

    def arguments(self) -> tuple[str, ...]:
        """Return the arguments of a server's command line that name it."""
        return ("--cert", str(self.cert), "--key", str(self.key))


class OriginCA:
    """Issues certificates for origins into ``folder``; ``pem`` is the file that clients and proxies are to trust."""

    def __init__(self, folder: Path, name: str = "wiretape: origins on loopback") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._issued = 0
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = dt.datetime.now(dt.UTC)
        ski = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        self._cert = (
            self._builder(self._name, self._key, now - 2 * DAY, now + 30 * DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(ca=True), critical=True)
            .add_extension(ski, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        self.pem = folder / "origin-ca.pem"
        self.pem.write_bytes(self._cert.public_bytes(serialization.Encoding.PEM))

    def issue(self, hosts: tuple[str, ...] = ORIGIN_HOSTS, *, expired: bool = False) -> IssuedCert:
        """Issue a server certificate for ``hosts`` (names and addresses)."""
        key = ec.generate_private_key(ec.SECP256R1())
        now = dt.datetime.now(dt.UTC)
        until = now - DAY if expired else now + 20 * DAY
        # nginx, as a client, finds an address in the common name alone.
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0])])
        aki = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        cert = (
            self._builder(subject, key, now - 2 * DAY, until)
            .add_extension(x509.SubjectAlternativeName([_general_name(host) for host in hosts]), critical=True)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(ca=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(aki, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return self._write(cert, key, chain=(self._cert,))

    def self_signed(self, hosts: tuple[str, ...] = ORIGIN_HOSTS) -> IssuedCert:
        """Make a certificate for ``hosts`` that no authority vouches for."""
        key = ec.generate_private_key(ec.SECP256R1())
        now = dt.datetime.now(dt.UTC)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "self-signed")])
        san = x509.SubjectAlternativeName([_general_name(host) for host in hosts])
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        builder = builder.serial_number(x509.random_serial_number()).add_extension(san, critical=False)
        cert = builder.not_valid_before(now - DAY).not_valid_after(now + DAY).sign(key, hashes.SHA256())
        return self._write(cert, key, chain=())

    def client_context(self) -> ssl.SSLContext:
        """Return a client context that trusts this authority and nothing else."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cafile=self.pem)
        return context

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, start: dt.datetime, end: dt.datetime
    ) -> x509.CertificateBuilder:
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(self._name).public_key(key.public_key())
        builder = builder.serial_number(x509.random_serial_number())
        return builder.not_valid_before(start).not_valid_after(end)

    def _write(
        self, cert: x509.Certificate, key: ec.EllipticCurvePrivateKey, chain: tuple[x509.Certificate, ...]
    ) -> IssuedCert:
        self._issued += 1
        files = IssuedCert(self.folder / f"{self._issued}.pem", self.folder / f"{self._issued}.key")
        files.cert.write_bytes(b"".join(c.public_bytes(serialization.Encoding.PEM) for c in (cert, *chain)))
        files.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return files


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _key_usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        key_cert_sign=ca,
        crl_sign=ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
