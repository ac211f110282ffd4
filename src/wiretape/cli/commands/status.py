"""``wiretape status``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from wiretape.cli.options import json_option, root_option
from wiretape.cli.output import print_json, visible, write_line
from wiretape.daemon.client import request
from wiretape.errors import NotFoundError

EXAMPLES = """\b
Examples:
  wiretape status
  wiretape status --json | jq -r .proxy
"""


@click.command("status", epilog=EXAMPLES)
@root_option
@json_option
def command(*, root: Path, as_json: bool) -> None:
    """Say whether a daemon runs for the root, where it listens, and what it records."""
    status: dict[str, Any]
    try:
        status = {"status": "running", **request(root, {"cmd": "status"})}
    except NotFoundError as error:
        if error.code != "no-daemon":
            raise
        status = {"status": "stopped", "root": str(root)}
    if as_json:
        print_json(status)
        return
    for key, value in _flat(status):
        write_line(visible(f"{key:<24} {value}"))


def _flat(document: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Spread nested objects into ``outer.inner`` lines; what is empty is left out."""
    lines: list[tuple[str, str]] = []
    for key, value in document.items():
        if isinstance(value, dict):
            lines += _flat(value, f"{prefix}{key}.")
        elif isinstance(value, list):
            lines.append((prefix + key, ", ".join(map(str, value)) or "-"))
        elif value is not None:
            lines.append((prefix + key, str(value)))
    return lines
