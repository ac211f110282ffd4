"""``wiretape demo``."""

from __future__ import annotations

import signal

import click

from wiretape.cli.options import json_option
from wiretape.cli.output import print_json
from wiretape.config import resolve_root

EXAMPLES = """\b
Examples:
  wiretape demo
  wiretape demo --root ./evidence     # keeps the session, to look at
  wiretape demo --json | jq .lost
"""


@click.command("demo", epilog=EXAMPLES)
@click.option("--root", metavar="DIR", help="Record there and keep it. [default: a folder that is removed again]")
@json_option
def command(*, root: str | None, as_json: bool) -> int:
    """Kill a recording proxy in the middle of real traffic, recover, and print the account. Needs no network.

    HTTP and HTTPS servers, a client in another process, SIGKILL of the recorder and then of recorder and daemon while
    answers are arriving. Every answered exchange must be found again with the same bytes: exit status 1 if one is not.
    """
    from wiretape.cli.demo.show import show  # noqa: PLC0415

    # However it is ended, what it started ends with it.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    result = show(None if root is None else resolve_root(root), quiet=as_json)
    if as_json:
        print_json(result)
    return 0 if result["holds"] else 1
