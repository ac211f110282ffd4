"""``wiretape mcp``: starts fast, so it imports nothing but click and the bridge."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from wiretape.cli.mcp_options import mcp_options, wishes
from wiretape.cli.options import root_option
from wiretape.daemon.bridge import run_bridge

EXAMPLES = """\b
Examples:
  wiretape mcp
  wiretape mcp --read-only
  wiretape mcp --toolsets all              # also what only users of proxy-mcp expect
  claude mcp add wiretape -- wiretape mcp
"""


@click.command("mcp", epilog=EXAMPLES)
@mcp_options
@root_option
def command(*, root: Path, **offered: Any) -> int:
    """Serve MCP over stdio, through the daemon of the root; one is started if there is none.

    The agent's end or restart does not end a capture, and several agents share one. Files are written only below
    ROOT/exports, the folder it is started in (unless that is your home) and --files.
    """
    return run_bridge(root, wishes(offered, folder=Path.cwd()))
