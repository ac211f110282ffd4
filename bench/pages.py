"""The results of a benchmark of answers: JSON for programs and a page for people."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any


def command_of(module: str) -> str:
    """Return the command that this program was started with."""
    return shlex.join(["python", "-m", module, *sys.argv[1:]])


def write_page(folder: Path, name: str, result: dict[str, Any], page: str) -> None:
    """Write ``name.json`` and ``name.md``, and print the page."""
    (folder / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
    (folder / f"{name}.md").write_text(page)
    print(page)
