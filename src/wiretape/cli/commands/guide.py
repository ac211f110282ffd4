"""``wiretape guide``."""

from __future__ import annotations

import click

from wiretape.cli.options import json_option, root_option
from wiretape.cli.output import print_json, write_lines
from wiretape.guide import guide, topic, topics

EXAMPLES = """\b
Examples:
  wiretape guide
  wiretape guide compare
"""


@click.command("guide", epilog=EXAMPLES)
@click.argument("name", metavar="[TOPIC]", required=False, shell_complete=lambda _ctx, _param, word: complete(word))
@root_option
@json_option
def command(*, name: str | None, as_json: bool, **_: object) -> None:
    """Print the cookbook: questions about traffic, and the commands that answer them."""
    text = guide() if name is None else topic(name)
    if as_json:
        print_json({"topics": list(topics()), "text": text})
    else:
        write_lines(text.rstrip("\n").split("\n"))


def complete(word: str) -> list[str]:
    """Offer the topics to a shell."""
    return [name for name in topics() if name.startswith(word)]
