"""wiretape as its users run it: `wiretape serve`, recording in full, certificates of servers verified.

It is started, and asked what it recorded, through its command line alone, so that any other checkout of it, older or
newer, can stand beside this one in the same run.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import BenchError
from bench.peers import mcp_client
from bench.peers.base import BEFORE, HOST, QUIET, THIS, Peer, Place, Recorded, Running
from bench.procs import Child

_PROJECT = Path(__file__).parents[2]
# Counting lets the index follow the log to its end first: half a million exchanges take a while on a busy machine.
_ASK_SECONDS = 300
_USAGE = 2


@dataclass(frozen=True, slots=True)
class Checkout:
    """One checkout of wiretape, installed.

    Attributes:
        key, title: what its peers are called, in the results and in the table.
        folder: the checkout itself.
        python: the interpreter that it is installed for.
    """

    key: str
    title: str
    folder: Path
    python: Path

    @property
    def program(self) -> tuple[str | Path, ...]:
        """How its command line is started."""
        return (self.python, "-m", "wiretape")

    def version(self) -> str:
        """Its version and, where git knows it, its commit."""
        version = _output([*self.program, "--version"]).rpartition(" ")[2]
        commit = _output(["git", "-C", self.folder, "describe", "--always", "--dirty", "--exclude=*"])
        return f"{version} ({commit})" if commit else version

    def recording(self) -> Peer:
        """It, recording everything."""
        return Peer(
            key=self.key,
            title=self.title,
            start=lambda place: _start(self, place, ("--durability", "group")),
            version=self.version,
            note="recording in full, durability group, upstream certificates verified",
        )

    def not_recording(self) -> Peer:
        """It, only passing on."""
        return Peer(
            key=self.key + QUIET,
            title=f"{self.title}, not recording",
            start=lambda place: _start(self, place, ("--no-record",)),
            version=self.version,
            note="the same with --no-record",
        )


CURRENT = Checkout(THIS, "wiretape", _PROJECT, Path(sys.executable))


def before(folder: Path) -> Checkout:
    """Return the checkout in ``folder`` as the one that this is compared with.

    Raises:
        BenchError: it has no ``.venv`` with wiretape in it.
    """
    folder = folder.resolve()
    checkout = Checkout(BEFORE, "before", folder, folder / ".venv" / "bin" / "python")
    found = _output([checkout.python, "-c", "import wiretape; print(wiretape.__file__)"])
    if not Path(found).is_relative_to(folder):
        raise BenchError(f"{folder} has no .venv with its own wiretape in it; `make install` there makes one")
    return checkout


def _output(command: Sequence[str | Path]) -> str:
    """What a command prints; nothing where it cannot be run or fails."""
    try:
        done = subprocess.run(command, cwd="/", capture_output=True, text=True, check=False, timeout=60)
    except FileNotFoundError:
        return ""
    return "" if done.returncode else done.stdout.strip()


def _start(checkout: Checkout, place: Place, extra: Sequence[str]) -> Running:
    root = place.folder / "root"
    command: list[str | Path] = [
        *checkout.program, "serve", "--json", "--root", root, "--proxy", f"{HOST}:0", "--api", f"{HOST}:0",
        "--upstream-ca", place.origin.ca, *extra,
    ]  # fmt: skip
    child = Child(command, cpu=place.cpu, folder=place.folder, name=checkout.key)
    try:
        line = child.wait_until(lambda: _first_document(child.log), "its line of JSON")
    except BenchError:
        child.stop()
        raise
    port = int(line["proxy"].rstrip("/").rpartition(":")[2])
    session = line.get("sessionId")
    return Running(
        child,
        port,
        port,
        is_proxy=True,
        ca=Path(line["caCert"]),
        recorded=(lambda: _recorded(checkout, root, session)) if session else None,
        visit=lambda: mcp_client.visit(checkout.program, root),
    )


def _first_document(log: Path) -> dict[str, Any] | None:
    # Standard error shares the file: warnings may stand before the document.
    for line in log.read_text(errors="replace").splitlines(keepends=True):
        if line.startswith("{") and line.endswith("\n"):
            document: dict[str, Any] = json.loads(line)
            return document
    return None


def _recorded(checkout: Checkout, root: Path, session: str) -> Recorded:
    command: list[str | Path] = [
        *checkout.program, "query", session, "--root", root, "--state", "complete", "--limit", "1", "--json",
    ]  # fmt: skip
    done = _ask([*command, "--count"])
    if done.returncode == _USAGE:
        # 0.1.0 has no --count: it always counts.
        done = _ask(command)
    if done.returncode:
        raise BenchError(f"wiretape query: {done.stderr.strip()[-300:]}")
    answer = json.loads(done.stdout)
    return Recorded(complete=answer["matched"], dropped=answer["coverage"]["dropped"])


def _ask(command: Sequence[str | Path]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=_ASK_SECONDS)
