"""``wiretape cat``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from wiretape.cli.options import filter_options, json_option, make_filter, open_catalogue, root_option, session_argument
from wiretape.cli.output import print_value, writing_output
from wiretape.cli.progress import bring_up
from wiretape.json_lines import one_line

EXAMPLES = """\b
Examples:
  wiretape cat last | jq -r 'select(.response.statusCode >= 500) | .request.url'
  wiretape cat last '~m POST & ~host api.example.com' --since click-checkout
  wiretape cat checkout | gzip > checkout.ndjson.gz
"""


@click.command("cat", epilog=EXAMPLES)
@session_argument
@filter_options
@root_option
@json_option
def command(*, session: str, root: Path, as_json: bool, **filters: Any) -> None:  # noqa: ARG001 - JSON lines are all there is
    """Write every exchange of SESSION that FILTER takes, oldest first, as one line of JSON each.

    A body is a string where its bytes, content encoding removed, are text; otherwise there is bodyBase64.
    """
    import msgspec  # noqa: PLC0415

    on_terminal = sys.stdout.isatty()
    encode = msgspec.json.Encoder().encode
    out = sys.stdout.buffer
    with open_catalogue(root).open(session) as opened:
        bring_up(opened)
        for exchange in opened.iterate(make_filter(filters), sort="asc"):
            if on_terminal:
                print_value(exchange)
            else:
                line = encode(exchange)
                with writing_output():
                    out.write(line if line.isascii() else one_line(line.decode()).encode())
                    out.write(b"\n")
    with writing_output():
        out.flush()
