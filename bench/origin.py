"""The server behind every proxy: nginx, one process, with answers of 100 bytes, 100 KB and 1 GB."""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from bench.errors import BenchError
from bench.procs import Child, free_port

# An address, not a name: mockttp looks for a server on ::1 before each request to "localhost", and that would be
# charged to it. No proxy has to resolve anything.
NAME = "127.0.0.1"
SMALL = '{"ok":true,"items":[1,2,3,4,5,6,7,8,9,10],"note":"a small answer, about one hundred bytes of JSON"}'

_HTTP = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr error;
worker_rlimit_nofile 8192;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    server_tokens off;
    # Every request on a connection that is kept alive, however many: reconnecting is measured on its own.
    keepalive_requests 1000000000;
    keepalive_timeout 600s;
    sendfile on;
    tcp_nopush on;
    open_file_cache max=16;
    client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
    uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
    ssl_certificate {folder}/server.pem;
    ssl_certificate_key {folder}/server.key;
{servers}
}}
"""

_ORIGIN = """
    server {{
        {listen}
        root {folder}/www;
        location = /small {{ default_type application/json; return 200 '{small}'; }}
    }}
"""


@dataclass(frozen=True, slots=True)
class Certificates:
    """Where the origin's certificates are: the CA that a proxy has to trust, the server's own chain and key."""

    ca: Path
    server: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Origin:
    """A running origin: two ports on loopback."""

    child: Child
    http_port: int
    https_port: int
    ca: Path

    def host(self, *, tls: bool) -> str:
        """``name:port`` as a client writes it."""
        return f"{NAME}:{self.https_port if tls else self.http_port}"


def nginx_program() -> str:
    """Where nginx is; Debian keeps it in a folder that is not on everyone's PATH."""
    found = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if found is None:
        raise BenchError("nginx is not installed; on Debian: apt-get install nginx-light")
    return found


def nginx_config(folder: Path, servers: str) -> Path:
    """Write a configuration with ``servers`` into ``folder``, which holds the certificates too."""
    path = folder / "nginx.conf"
    path.write_text(_HTTP.format(folder=folder, servers=servers))
    return path


def start_nginx(config: Path, *, cpu: int, name: str, port: int) -> Child:
    """Start nginx with ``config`` and wait until ``port`` accepts connections."""
    command: list[str | Path] = [nginx_program(), "-p", config.parent, "-e", "stderr", "-c", config]
    child = Child(command, cpu=cpu, folder=config.parent, name=name)
    try:
        child.wait_for_port(port)
    except BenchError:
        child.stop()
        raise
    return child


def start_origin(folder: Path, *, cpu: int, big: int) -> Origin:
    """Start the origin.

    Args:
        folder: an empty folder of its own.
        cpu: its core.
        big: size of ``/big`` in bytes.
    """
    certificates = make_certificates(folder)
    www = folder / "www"
    www.mkdir()
    (www / "100k").write_bytes(os.urandom(100 * 1024))
    with (www / "big").open("wb") as file:
        file.truncate(big)  # sparse: it costs no disk, and reads as zeros at the speed of memory
    http, https = free_port(), free_port()
    listen = f"listen {NAME}:{http}; listen {NAME}:{https} ssl;"
    config = nginx_config(folder, _ORIGIN.format(listen=listen, folder=folder, small=SMALL))
    child = start_nginx(config, cpu=cpu, name="origin", port=https)
    return Origin(child, http, https, certificates.ca)


def make_certificates(folder: Path) -> Certificates:
    """A throw-away CA and a certificate for 127.0.0.1, both ECDSA P-256, in ``folder``."""
    now = dt.datetime.now(dt.UTC)
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "wiretape bench: origin's CA")])
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    ca_id = x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key())
    usage = x509.KeyUsage(
        digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    authority = (
        _certificate(issuer, issuer, ca_key.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(ca_id, critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    names = [x509.IPAddress(ipaddress.ip_address(NAME))]
    server = (
        _certificate(subject, issuer, key.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ca_id), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    paths = Certificates(folder / "ca.pem", folder / "server.pem", folder / "server.key")
    paths.ca.write_bytes(authority.public_bytes(serialization.Encoding.PEM))
    paths.server.write_bytes(server.public_bytes(serialization.Encoding.PEM))
    paths.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: dt.datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=30))
    )
