"""``wiretape completion``."""

from __future__ import annotations

import click

from wiretape.cli.options import json_option
from wiretape.cli.output import print_json, write_line

EXAMPLES = """\b
Examples:
  eval "$(wiretape completion bash)"                                  # in ~/.bashrc
  eval "$(wiretape completion zsh)"                                   # in ~/.zshrc
  wiretape completion fish > ~/.config/fish/completions/wiretape.fish
"""


@click.command("completion", epilog=EXAMPLES)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@json_option
@click.pass_context
def command(ctx: click.Context, *, shell: str, as_json: bool) -> None:
    """Print the script that lets SHELL complete commands and options."""
    from click.shell_completion import get_completion_class  # noqa: PLC0415

    complete = get_completion_class(shell)
    assert complete is not None
    script = complete(ctx.find_root().command, {}, "wiretape", "_WIRETAPE_COMPLETE").source()
    if as_json:
        print_json({"shell": shell, "script": script})
    else:
        write_line(script)
