"""``wiretape mark``."""

from __future__ import annotations

from pathlib import Path

import click

from wiretape.cli.options import complete_session, json_option, root_option
from wiretape.cli.output import note, print_json, visible, write_line
from wiretape.daemon.client import request

EXAMPLES = """\b
Examples:
  wiretape mark click-checkout
  wiretape query last --since click-checkout
  wiretape query last '~err' --since before-login --until click-checkout
"""


@click.command("mark", epilog=EXAMPLES)
@click.argument("label", metavar="LABEL")
@click.option("--session", metavar="S", shell_complete=complete_session, help="It has to be the one being recorded.")
@root_option
@json_option
def command(*, label: str, session: str | None, root: Path, as_json: bool) -> None:
    """Set a mark: a label for this moment in the session being recorded.

    --since and --until of other commands take it. A label that reads as a number or a time is refused; of equal labels
    the newest counts.
    """
    answer = request(root, {"cmd": "mark", "label": label, "session": session})
    found = {key: answer[key] for key in ("mark", "session", "afterSeq", "at")}
    if as_json:
        print_json(found)
        return
    write_line(visible(f"{found['mark']}: after exchange {found['afterSeq']} of {found['session']}"))
    note(f"wiretape query last --since '{found['mark']}' lists what follows")
