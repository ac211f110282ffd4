"""The results of a benchmark of answers: JSON for programs and a page for people."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any


def write_page(folder: Path, name: str, module: str, result: dict[str, Any], page: str) -> None:
    """Write ``name.json``, with the command that made it, and ``name.md``; print the page."""
    result["command"] = shlex.join(["python", "-m", module, *sys.argv[1:]])
    (folder / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
    (folder / f"{name}.md").write_text(page)
    print(page)
