"""Write the schemas of all tools anew: ``python -m tests.mcpserver.schemas``. Read the difference afterwards."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from tests.mcpserver.conftest import InProcess
from tests.mcpserver.test_tools import SNAPSHOTS, listed


def main() -> None:
    """Write one file a tool, and remove those of tools that are gone."""
    with tempfile.TemporaryDirectory() as root:
        tools = {tool["name"]: tool for tool in listed(InProcess(Path(root)), schemas=True)}
    for old in SNAPSHOTS.glob("*.json"):
        old.unlink()
    for name, schema in tools.items():
        (SNAPSHOTS / f"{name}.json").write_text(json.dumps(schema, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
