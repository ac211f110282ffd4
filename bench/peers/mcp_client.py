"""An agent that connects, asks for the tools and leaves: ``wiretape mcp``, as an agent's configuration starts it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.errors import BenchError

_SECONDS = 60
_INITIALIZE = {
    "protocolVersion": "2025-06-18",
    "capabilities": {},
    "clientInfo": {"name": "bench", "version": "1"},
}
_MESSAGES: tuple[dict[str, Any], ...] = (
    {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": _INITIALIZE},
    {"jsonrpc": "2.0", "method": "notifications/initialized"},
    {"jsonrpc": "2.0", "id": 2, "method": "tools/list"},
)


def visit(program: Sequence[str | Path], root: Path) -> int:
    """Connect to the daemon of ``root`` once; return how many tools it offers.

    Raises:
        BenchError: it did not answer both requests.
    """
    text = "".join(json.dumps(message) + "\n" for message in _MESSAGES)
    command = [*program, "mcp", "--root", root]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=_SECONDS)
    answers = {answer.get("id"): answer for answer in map(json.loads, done.stdout.splitlines())}
    try:
        return len(answers[2]["result"]["tools"])
    except KeyError as error:
        raise BenchError(f"wiretape mcp did not list its tools: {(done.stderr or done.stdout)[-300:]}") from error
