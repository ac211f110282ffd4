"""``wiretape pin``."""

from __future__ import annotations

from pathlib import Path

import click

from wiretape.cli.options import json_option, open_catalogue, root_option, session_argument
from wiretape.cli.output import note, print_json

EXAMPLES = """\b
Examples:
  wiretape pin checkout
  wiretape pin checkout --off
"""


@click.command("pin", epilog=EXAMPLES)
@session_argument
@click.option("--off", is_flag=True, help="Take the pin away.")
@root_option
@json_option
def command(*, session: str, off: bool, root: Path, as_json: bool) -> None:
    """Keep SESSION: neither delete nor prune nor automatic retention remove it until the pin is taken away."""
    from wiretape.session.pin import set_pin  # noqa: PLC0415

    catalogue = open_catalogue(root)
    session_id = catalogue.resolve(session)
    changed = set_pin(catalogue.folder / session_id, pinned=not off)
    if as_json:
        print_json({"status": "success", "sessionId": session_id, "pinned": not off, "changed": changed})
    else:
        note(f"{session_id} is {'no longer pinned' if off else 'pinned'}")
