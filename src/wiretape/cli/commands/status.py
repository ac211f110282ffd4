"""``wiretape status``."""

from __future__ import annotations

from pathlib import Path

import click

from wiretape.cli.options import json_option, root_option
from wiretape.cli.output import print_json, visible, write_line
from wiretape.cli.situation import daemon_status, sentences

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
    status = daemon_status(root)
    if as_json:
        print_json({"status": "running", **status} if status is not None else {"status": "stopped", "root": str(root)})
        return
    for sentence in sentences(root, status):
        write_line(visible(sentence))
