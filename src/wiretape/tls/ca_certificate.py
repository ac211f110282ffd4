"""What is public of a root's CA, for who signs nothing: read without the library that signs, which takes 9 MiB."""

from __future__ import annotations

import hashlib
import ssl
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

_MAKE = """\
import sys
from pathlib import Path
from wiretape.tls.authority import CertificateAuthority
CertificateAuthority.load_or_create(Path(sys.argv[1]))
"""


@dataclass(frozen=True, slots=True)
class CaCertificate:
    """The certificate to trust.

    Attributes:
        cert_path: its file.
        cert_pem: its content.
        fingerprint_sha256: its SHA-256 as browsers show it: upper-case hex pairs with colons.
    """

    cert_path: Path
    cert_pem: bytes
    fingerprint_sha256: str


def load_or_create(root: Path) -> CaCertificate:
    """Read the certificate of ``root``; make the authority where there is none.

    Raises:
        StorageError, BusyError: as ``CertificateAuthority.load_or_create``, which has the last word on what is odd.
    """
    found = _sound(root / "ca")
    if found is None:
        # In a process of its own, which takes the library with it; if that fails, its error is raised here.
        made = subprocess.run([sys.executable, "-P", "-c", _MAKE, str(root)], capture_output=True, check=False)
        found = _sound(root / "ca") if made.returncode == 0 else None
    if found is not None:
        return found
    from wiretape.tls.authority import CertificateAuthority  # noqa: PLC0415

    authority = CertificateAuthority.load_or_create(root)
    return CaCertificate(authority.cert_path, authority.cert_pem, authority.fingerprint_sha256)


def _sound(folder: Path) -> CaCertificate | None:
    """Return the certificate if everything about it is as we make it: private, fitting its key, valid; None if not."""
    path, key = folder / "ca.pem", folder / "ca.key"
    try:
        if folder.stat().st_mode & 0o077 or key.lstat().st_mode & 0o077:
            return None
        pem = path.read_bytes()
        # PROTOCOL_TLS_SERVER trusts nothing of itself, so what it lists afterwards is what was read.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path, key, password=_no_password)
        context.load_verify_locations(cadata=pem.decode("ascii"))
        (listed,) = context.get_ca_certs()
        (der,) = context.get_ca_certs(binary_form=True)
        if not _seconds(listed["notBefore"]) <= time.time() < _seconds(listed["notAfter"]):
            return None
    except (OSError, ValueError, KeyError, TypeError):  # ssl.SSLError is an OSError
        return None
    return CaCertificate(path, pem, _pairs(der))


def _seconds(text: object) -> int:
    return ssl.cert_time_to_seconds(str(text))


def _pairs(der: bytes) -> str:
    return hashlib.sha256(der).digest().hex(":").upper()


def _no_password() -> NoReturn:
    raise ValueError("the key is encrypted")
