"""Files of trust: writing them so that a crash leaves the old or the new, and the roots that this machine trusts."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import ssl
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from wiretape.errors import BusyError, StorageError

_PEM_CERTIFICATE: Final = re.compile(
    rb"-----BEGIN CERTIFICATE-----[ \t]*\r?\n[A-Za-z0-9+/=\s]+?-----END CERTIFICATE-----"
)
# Where the platforms keep all roots in one file; OpenSSL's own default, tried first, is empty on many of them.
_ROOT_FILES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Arch
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/ssl/cert.pem",  # macOS, Alpine
)
_LOCK_PATIENCE: Final = 10.0
"""Seconds; the lock is held for a few fsyncs."""


def read_file(path: Path) -> bytes:
    """Read ``path`` whole; raises StorageError."""
    try:
        return path.read_bytes()
    except OSError as exc:
        raise storage_error("read", path, exc) from exc


def write_file(path: Path, data: bytes, *, mode: int) -> None:
    """Publish ``data`` as ``path``: a crash, also of the machine, leaves the old file or the new one, never a part.

    The caller holds the folder's lock: the name of the temporary file is fixed, so that a crash leaves one at most.

    Raises:
        StorageError: the file system refused.
    """
    unfinished = path.with_name(path.name + ".new")
    try:
        with contextlib.suppress(FileNotFoundError):
            unfinished.unlink()  # its mode and owner would stay
        fd = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with open(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(fd)
        unfinished.replace(path)
        _sync_folder(path.parent)
    except OSError as exc:
        raise storage_error("write", path, exc) from exc


def make_private_folder(folder: Path) -> None:
    """Make ``folder``, and its parents, for the owner alone; raises StorageError."""
    try:
        if not folder.is_dir():
            folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.mkdir(mode=0o700, exist_ok=True)
            _sync_folder(folder.parent)
        if folder.stat().st_mode & 0o077:
            folder.chmod(0o700)
    except OSError as exc:
        raise storage_error("make", folder, exc) from exc


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold the lock of ``folder`` against other processes and threads.

    Raises:
        BusyError: it was held by somebody else for ten seconds.
        StorageError: the lock file cannot be opened.
    """
    path = folder / "lock"
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as exc:
        raise storage_error("open", path, exc) from exc
    try:
        _lock(fd, path)
        yield
    finally:
        os.close(fd)


def _lock(fd: int, path: Path) -> None:
    deadline = time.monotonic() + _LOCK_PATIENCE
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise BusyError(
                    f"{path} is held by another process", hint="end the wiretape process that hangs, then try again"
                ) from None
            time.sleep(0.005)
        except OSError as exc:
            raise storage_error("lock", path, exc) from exc
        else:
            return


def storage_error(verb: str, path: Path, exc: OSError) -> StorageError:
    """Map an OSError to ours: cannot ``verb`` ``path``, and why."""
    return StorageError(
        f"cannot {verb} {path}: {exc.strerror or exc}",
        hint="check the owner and the free space, or choose another folder with --root",
    )


def pem_certificates(data: bytes) -> list[bytes]:
    """Give the certificates in ``data``, each one PEM block with a line end; comments and keys are left out."""
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
            write_file(path, content, mode=0o644)
    return path


def _holds(path: Path, content: bytes) -> bool:
    try:
        return path.read_bytes() == content
    except OSError:
        return False


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
