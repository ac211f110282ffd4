"""``wiretape mcp``: starts fast, so it imports nothing but click and the bridge."""

from __future__ import annotations

from pathlib import Path

import click

from wiretape.cli.options import root_option
from wiretape.daemon.bridge import run_bridge

EXAMPLES = """\b
Examples:
  wiretape mcp
  wiretape mcp --read-only
  claude mcp add wiretape -- wiretape mcp
"""


@click.command("mcp", epilog=EXAMPLES)
@click.option("--toolsets", metavar="LIST", help="Only these groups of tools, with commas between. [default: all]")
@click.option("--read-only", is_flag=True, help="Only tools that change nothing.")
@root_option
def command(*, toolsets: str | None, read_only: bool, root: Path) -> int:
    """Serve MCP over stdio, through the daemon of the root; one is started if there is none.

    The agent's end or restart does not end a capture, and several agents share one.
    """
    chosen = None if toolsets is None else [name.strip() for name in toolsets.split(",") if name.strip()]
    return run_bridge(root, toolsets=chosen, read_only=read_only)
