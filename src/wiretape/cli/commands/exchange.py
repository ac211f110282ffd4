"""``wiretape exchange``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from wiretape.cli.addresses import address_argument, take_address
from wiretape.cli.commands.body import write_file, write_out
from wiretape.cli.exchange_text import print_exchange
from wiretape.cli.options import json_option, open_catalogue, root_option
from wiretape.cli.output import print_value
from wiretape.cli.progress import bring_up
from wiretape.errors import UsageError

EXAMPLES = """\b
Examples:
  wiretape exchange last:42
  wiretape exchange last:42 --headers all
  wiretape exchange last:42 --json | jq .response.headers
  wiretape exchange last:42 --body response -o page.html
  wiretape exchange last:42 --body request --raw | xxd | head
"""


@click.command("exchange", epilog=EXAMPLES)
@address_argument
@click.option("--body", "side", type=click.Choice(["request", "response"]), help="Write this body instead.")
@click.option("--raw", is_flag=True, help="With --body: as it was on the wire, content encoding left on.")
@click.option("-o", "output", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write to FILE.")
@click.option(
    "--headers",
    type=click.Choice(["lean", "all"]),
    default="lean",
    show_default=True,
    help="all: every header whole, and TLS and addresses.",
)
@root_option
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    *,
    words: tuple[str, ...],
    side: Literal["request", "response"] | None,
    raw: bool,
    output: Path | None,
    headers: Literal["lean", "all"],
    root: Path,
    as_json: bool,
) -> None:
    """Show one exchange, SESSION:SEQ or SESSION SEQ, or write one of its bodies.

    With --json all of it is printed, every header and both bodies whole.
    """
    session, seq, rest = take_address(words)
    if rest:
        raise UsageError(f"{' '.join(rest)[:80]!r} is one word too many", hint="name an exchange as last:42")
    if seq < 1:
        raise UsageError("the first exchange of a session has the seq 1", hint="`wiretape query` lists them")
    if side is None and (raw or output is not None):
        raise UsageError("--raw and -o belong to --body", hint="add --body request or --body response")
    if side is not None and as_json:
        raise UsageError("--json and --body exclude each other", hint="leave one of them out")
    with open_catalogue(root).open(session) as opened:
        bring_up(opened)
        if side is not None:
            if output is not None:
                ctx.exit(write_file(opened, seq, side, output, raw=raw))
            write_out(opened.raw_body(seq, side, decoded=not raw))
        elif as_json:
            print_value(opened.exchange(seq))
        else:
            print_exchange(opened, seq, f"{session}:{seq}", headers)
