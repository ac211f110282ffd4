"""What ``wiretape doctor`` looks at; every check reads only."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import socket
import stat
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from wiretape import __version__
from wiretape.daemon.client import request
from wiretape.daemon.token import token_path
from wiretape.errors import NotFoundError, WiretapeError

LITTLE_SPACE = 1_000_000_000
"""Bytes free on the root's file system below which a long recording may meet the end of the disk."""

FEW_FILES = 1024
"""A recorder holds two descriptors per connection; below this limit, 500 clients are too many."""

DEFAULT_PORTS = (8080, 8081)


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at: ``ok``, ``warn`` (works, but) or ``fail`` (wiretape will not work like this)."""

    name: str
    result: Literal["ok", "warn", "fail"]
    detail: str
    hint: str = ""


def run_checks(root: Path) -> list[Check]:
    """Look at everything that a recording needs."""
    status = _daemon_status(root)
    found = [_python(), _loop(), _http2(), _files()]
    found += _folder(root)
    found += _authority(root)
    found += _token(root)
    found.append(_daemon(root, status))
    if not isinstance(status, dict):
        found += _ports()
    return found


def _python() -> Check:
    version = platform.python_version()
    text = f"wiretape {__version__}, {platform.python_implementation()} {version}, {platform.system()}"
    if sys.platform == "win32":
        return Check("python", "fail", text, "on Windows, wiretape runs in WSL")
    return Check("python", "ok", text)


def _loop() -> Check:
    if importlib.util.find_spec("uvloop") is None:
        return Check("event loop", "warn", "asyncio; uvloop is not installed", "pip install uvloop: it is faster")
    return Check("event loop", "ok", f"uvloop {importlib.metadata.version('uvloop')}")


def _http2() -> Check:
    try:
        version = importlib.metadata.version("ngh2")
        importlib.import_module("ngh2")
    except ImportError as error:
        return Check("HTTP/2", "warn", f"not offered to clients: {error}", "pip install ngh2; it is HTTP/1.1 till then")
    return Check("HTTP/2", "ok", f"ngh2 {version}")


def _files() -> Check:
    import resource  # noqa: PLC0415 - not on every platform

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < FEW_FILES:
        return Check("open files", "warn", f"at most {soft} per process", f"ulimit -n {min(hard, 65536)}")
    return Check("open files", "ok", "no limit" if soft == resource.RLIM_INFINITY else f"at most {soft} per process")


def _folder(root: Path) -> Iterator[Check]:
    existing = root
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    hint = "give another folder with --root DIR or WIRETAPE_ROOT"
    if not existing.is_dir():
        yield Check("root", "fail", f"{existing} is not a folder", hint)
        return
    try:
        # Not os.access, which says yes to the superuser whatever the file system says. The file is gone at once.
        tempfile.TemporaryFile(dir=existing).close()
    except OSError as error:
        yield Check("root", "fail", f"{existing} cannot be written: {error.strerror}", hint)
        return
    mode = stat.S_IMODE(root.stat().st_mode) if root.exists() else 0o700
    if mode & 0o022:
        # What others may replace is not ours: sessions and CA would be theirs to forge.
        yield Check("root", "warn", f"{root} can be written by others (mode {mode:o})", f"chmod 700 {root}")
    elif readable := [str(path) for path in (root / "sessions", root / "ca") if _open_to_others(path)]:
        yield Check("root", "warn", f"others can look into {' and '.join(readable)}", f"chmod 700 {' '.join(readable)}")
    else:
        yield Check("root", "ok", str(root) if root.exists() else f"{root}, made at the first recording")
    free = shutil.disk_usage(existing).free
    text = f"{free / 1e9:.1f} GB free"
    if free < LITTLE_SPACE:
        yield Check("space", "warn", text, "delete sessions with `wiretape delete`, or cap them with --max-disk")
    else:
        yield Check("space", "ok", text)


def _open_to_others(folder: Path) -> bool:
    return folder.is_dir() and bool(folder.stat().st_mode & 0o077)


def _authority(root: Path) -> Iterator[Check]:
    folder = root / "ca"
    if not ((folder / "ca.key").exists() and (folder / "ca.pem").exists()):
        yield Check("CA", "ok", "none yet, made at the first recording")
        return
    # Looked at first: whoever uses the authority makes its key private again.
    mode = stat.S_IMODE((folder / "ca.key").stat().st_mode)
    if mode & 0o077:
        yield Check(
            "CA", "fail", f"{folder / 'ca.key'} is not private (mode {mode:o})", f"chmod 600 {folder / 'ca.key'}"
        )
        return
    from wiretape.tls.authority import CertificateAuthority  # noqa: PLC0415

    try:
        authority = CertificateAuthority.load(root)
    except WiretapeError as error:
        yield Check("CA", "fail", error.message, error.hint)
        return
    yield Check("CA", "ok", f"{authority.cert_path}, SHA-256 {authority.fingerprint_sha256[:23]}...")


def _token(root: Path) -> Iterator[Check]:
    path = token_path(root)
    try:
        found = path.lstat()
    except OSError:
        return  # it is made when an API is first served
    if not stat.S_ISREG(found.st_mode):
        yield Check("API token", "fail", f"{path} is not a file", "move it away")
    elif found.st_mode & 0o077 or found.st_uid != os.getuid():
        detail = f"{path} is not private (mode {stat.S_IMODE(found.st_mode):o}, user {found.st_uid})"
        yield Check("API token", "fail", detail, "start the daemon again: it makes a new token")
    else:
        yield Check("API token", "ok", f"{path}, for the owner alone")


def _daemon_status(root: Path) -> dict[str, Any] | WiretapeError:
    try:
        return request(root, {"cmd": "status"}, timeout=10)
    except WiretapeError as error:
        return error


def _daemon(root: Path, status: dict[str, Any] | WiretapeError) -> Check:
    if isinstance(status, dict):
        return Check("daemon", "ok", f"runs, process {status.get('pid', 'unknown')}")
    if isinstance(status, NotFoundError):
        return Check("daemon", "ok", f"none runs for {root}")
    return Check("daemon", "fail", status.message, status.hint)


def _ports() -> Iterator[Check]:
    for port in DEFAULT_PORTS:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            # As the listener does: connections of an earlier run that linger do not count.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                option = "--proxy" if port == DEFAULT_PORTS[0] else "--api"
                detail = f"127.0.0.1:{port} cannot be used: {error.strerror}"
                yield Check(f"port {port}", "warn", detail, f"`wiretape serve {option} 127.0.0.1:0` picks a free one")
            else:
                yield Check(f"port {port}", "ok", "free")
