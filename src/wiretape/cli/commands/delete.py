"""``wiretape delete``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from wiretape.cli.options import json_option, open_catalogue, root_option, session_argument
from wiretape.cli.output import note, print_json, visible
from wiretape.errors import UsageError

EXAMPLES = """\b
Examples:
  wiretape delete checkout
  wiretape delete 20260102T030405-a1b2c3 --yes
"""


@click.command("delete", epilog=EXAMPLES)
@session_argument
@click.option("--yes", is_flag=True, help="Do not ask.")
@root_option
@json_option
def command(*, session: str, yes: bool, root: Path, as_json: bool) -> None:
    """Delete SESSION with its log, for ever. A session that is being written is refused."""
    catalogue = open_catalogue(root)
    session_id = catalogue.resolve(session)
    if not yes:
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise UsageError(f"delete would remove {session_id} for ever and cannot ask here", hint="add --yes")
        click.confirm(f"Delete {visible(session_id)} and everything recorded in it?", abort=True, err=True)
    catalogue.delete(session_id)
    if as_json:
        print_json({"status": "success", "deleted": session_id})
    else:
        note(f"deleted {session_id}")
