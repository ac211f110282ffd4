"""The roots that this machine trusts, and the bundles that are made of them."""

from __future__ import annotations

import contextlib
import hashlib
import re
import ssl
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from wiretape.private_files import exclusive, replace_file

_PEM_CERTIFICATE: Final = re.compile(
    rb"-----BEGIN CERTIFICATE-----[ \t]*\r?\n[A-Za-z0-9+/=\s]++-----END CERTIFICATE-----"
)
# Where the platforms keep all roots in one file; OpenSSL's own default, tried first, is empty on many of them.
_ROOT_FILES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Arch
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/ssl/cert.pem",  # macOS, Alpine
)


def pem_certificates(data: bytes) -> list[bytes]:
    """Return the certificates in ``data``, each one PEM block with a line end; comments and keys are left out."""
    return [block + b"\n" for block in _PEM_CERTIFICATE.findall(data)]


def system_roots() -> list[bytes]:
    """Return the roots this machine trusts, as PEM blocks; SSL_CERT_FILE and SSL_CERT_DIR are honoured.

    Returns:
        The certificates of the first place that has any; certifi's where the system has none.
    """
    defaults = ssl.get_default_verify_paths()
    return _first_with_roots(defaults.cafile, defaults.capath)


def machine_roots() -> list[bytes]:
    """Return the roots that this machine trusts whatever the environment says, as ``system_roots`` does."""
    defaults = ssl.get_default_verify_paths()
    return _first_with_roots(defaults.openssl_cafile, defaults.openssl_capath)


def _first_with_roots(file: str | None, folder: str | None) -> list[bytes]:
    for name in (file, *_ROOT_FILES):
        if name and (found := certificates_in([Path(name)])):
            return found
    if folder and Path(folder).is_dir() and (found := certificates_in(sorted(Path(folder).glob("*")))):
        return found
    import certifi  # noqa: PLC0415 - nearly every system has roots of its own

    return certificates_in([Path(certifi.where())])


def certificates_in(files: Iterable[Path]) -> list[bytes]:
    """Return the certificates in PEM files, in their order and without doubles; what cannot be read has none."""
    found: dict[bytes, None] = {}  # keeps the order, drops the doubles that hash links make
    for file in files:
        with contextlib.suppress(OSError):
            found.update(dict.fromkeys(pem_certificates(file.read_bytes())))
    return list(found)


def write_bundle(folder: Path, own: bytes, trusted: Iterable[bytes] = ()) -> Path:
    """Write the machine's roots, ``trusted`` and ``own`` (PEM) to one file in ``folder``, unless it already says that.

    Raises:
        StorageError: it cannot be written.
        BusyError: the folder's lock was held too long.
    """
    roots = dict.fromkeys(machine_roots())
    further = [block for block in dict.fromkeys(trusted) if block not in roots and block != own]
    if further:
        return write_roots(folder, "bundle", [*roots, *further, own])
    return _write_roots(folder / "bundle.pem", [*roots, own])


def write_roots(folder: Path, name: str, blocks: Iterable[bytes]) -> Path:
    """Write certificates to a file in ``folder`` that ``name`` and their digest name; raises as write_bundle."""
    blocks = list(dict.fromkeys(blocks))
    digest = hashlib.sha256(b"".join(blocks)).hexdigest()[:16]
    return _write_roots(folder / f"{name}-{digest}.pem", blocks)


def _write_roots(path: Path, blocks: Iterable[bytes]) -> Path:
    content = b"".join(blocks)
    if not _holds(path, content):
        with exclusive(path.parent):
            replace_file(path, content, mode=0o644)
    return path


def _holds(path: Path, content: bytes) -> bool:
    try:
        return path.read_bytes() == content
    except OSError:
        return False
