"""wiretape as its users run it: `wiretape serve`, recording in full, certificates of servers verified."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.errors import BenchError
from bench.peers.base import HOST, Peer, Place, Recorded, Running
from bench.procs import Child

_PROGRAM = (sys.executable, "-m", "wiretape")
# Counting lets the index follow the log to its end first: half a million exchanges take a while on a busy machine.
_ASK_SECONDS = 300


def _version() -> str:
    done = subprocess.run([*_PROGRAM, "--version"], capture_output=True, text=True, check=False, timeout=60)
    return done.stdout.strip().rpartition(" ")[2]


def _start(place: Place, extra: Sequence[str]) -> Running:
    root = place.folder / "root"
    command: list[str | Path] = [
        *_PROGRAM, "serve", "--json", "--root", root, "--proxy", f"{HOST}:0", "--api", f"{HOST}:0",
        "--upstream-ca", place.origin.ca, *extra,
    ]  # fmt: skip
    child = Child(command, cpu=place.cpu, folder=place.folder, name="wiretape")
    try:
        line = child.wait_until(lambda: _first_document(child.log), "its line of JSON")
    except BenchError:
        child.stop()
        raise
    port = int(line["proxy"].rstrip("/").rpartition(":")[2])
    session = line.get("sessionId")
    count = (lambda: _recorded(root, session)) if session else None
    return Running(child, port, port, is_proxy=True, ca=Path(line["caCert"]), recorded=count)


def _first_document(log: Path) -> dict[str, Any] | None:
    # Standard error shares the file: warnings may stand before the document.
    for line in log.read_text(errors="replace").splitlines(keepends=True):
        if line.startswith("{") and line.endswith("\n"):
            document: dict[str, Any] = json.loads(line)
            return document
    return None


def _recorded(root: Path, session: str) -> Recorded:
    command: list[str | Path] = [
        *_PROGRAM,
        "query",
        session,
        "--root",
        root,
        "--state",
        "complete",
        "--limit",
        "1",
        "--json",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_ASK_SECONDS)
    if done.returncode:
        raise BenchError(f"wiretape query: {done.stderr.strip()[-300:]}")
    answer = json.loads(done.stdout)
    return Recorded(complete=answer["matched"], dropped=answer["coverage"]["dropped"])


RECORDING = Peer(
    key="wiretape",
    title="wiretape",
    start=lambda place: _start(place, ("--durability", "group")),
    version=_version,
    note="recording in full, durability group, upstream certificates verified",
)
NOT_RECORDING = Peer(
    key="wiretape-no-record",
    title="wiretape, not recording",
    start=lambda place: _start(place, ("--no-record",)),
    version=_version,
    note="the same with --no-record",
)
