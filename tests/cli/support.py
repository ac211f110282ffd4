"""Running the command line as a process, as users do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from harness.prefork import Prefork

COMMAND = [sys.executable, "-m", "wiretape"]
PREFORK = Prefork()


def wiretape(
    *arguments: str | Path, stdin: bytes = b"", env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run one command to its end, its output in files; what Python reads at its start is what the tests' own read."""
    return PREFORK.run([*map(str, arguments)], stdin=stdin, env=os.environ | (env or {}), timeout=90)


def wiretape_json(*arguments: str | Path, status: int = 0) -> Any:
    """Run one command with ``--json`` and give its document, which must be all that is on stdout."""
    done = wiretape(*arguments, "--json")
    assert done.returncode == status, done.stderr.decode()
    assert done.stdout.count(b"\n") == 1
    return json.loads(done.stdout)
