"""Puts the peers into ``bench/.peers``: exact versions with hashes, in places of their own, once."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.errors import UnavailableError

_HERE = Path(__file__).parent
_LOCKS = _HERE / "peers"
_PEERS = _HERE / ".peers"


def mitmdump() -> Path:
    """The mitmdump program, installed if need be.

    Raises:
        UnavailableError: it cannot be installed.
    """
    folder = _PEERS / "mitmproxy"
    program = folder / "bin" / "mitmdump"
    _install_python(folder, _LOCKS / "mitmproxy.lock", "mitmproxy")
    return program


def duckdb() -> Path:
    """A Python that has DuckDB, installed if need be.

    Raises:
        UnavailableError: it cannot be installed.
    """
    folder = _PEERS / "duckdb"
    _install_python(folder, _LOCKS / "duckdb.lock", "DuckDB")
    return folder / "bin" / "python"


def node() -> str:
    """The program Node.

    Raises:
        UnavailableError: it is not installed.
    """
    found = shutil.which("node")
    if found is None:
        raise UnavailableError("node is not installed")
    return found


def _install_python(folder: Path, lock: Path, name: str) -> None:
    if _is_current(folder, lock):
        return
    _announce(name)
    _run([sys.executable, "-m", "venv", "--clear", folder])
    pip: list[str | Path] = [folder / "bin" / "python", "-m", "pip", "install", "--disable-pip-version-check", "-qq"]
    _run([*pip, "--require-hashes", "-r", lock])
    _stamp(folder, lock)


def mockttp() -> Path:
    """The script that runs mockttp, next to an installed mockttp.

    Raises:
        UnavailableError: there is no Node, or it cannot be installed.
    """
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        raise UnavailableError("node and npm are not installed")
    folder = _PEERS / "mockttp"
    lock = _LOCKS / "package-lock.json"
    folder.mkdir(parents=True, exist_ok=True)
    if not _is_current(folder, lock):
        _announce("mockttp")
        for name in ("package.json", "package-lock.json"):
            shutil.copyfile(_LOCKS / name, folder / name)
        # Not `npm ci`: it insists on an optional native part that some registries lack and a pass-through never uses.
        _run([npm, "install", "--omit=optional", "--no-audit", "--no-fund", "--loglevel=error"], folder)
        _stamp(folder, lock)
    script = folder / "mockttp.mjs"
    shutil.copyfile(_LOCKS / script.name, script)
    return script


def _is_current(folder: Path, lock: Path) -> bool:
    stamp = folder / ".lock"
    return stamp.is_file() and stamp.read_bytes() == lock.read_bytes()


def _stamp(folder: Path, lock: Path) -> None:
    shutil.copyfile(lock, folder / ".lock")


def _announce(name: str) -> None:
    print(f"installing {name} into bench/.peers, once", file=sys.stderr)


def _run(command: Sequence[str | Path], folder: Path | None = None) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=600)
    if done.returncode:
        raise UnavailableError(f"{Path(command[0]).name} failed: {(done.stderr or done.stdout).strip()[-300:]}")
