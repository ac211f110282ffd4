"""What an MCP client is offered: the options that ``mcp`` and ``serve`` share. Imports nothing that starts slowly."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def _names(_ctx: click.Context, _param: click.Parameter, value: str) -> list[str]:
    return [name.strip() for name in value.split(",") if name.strip()]


def mcp_options(function: F) -> F:
    """Add the options; the command gets them as ``**offered`` for ``wishes``."""
    for option in reversed(
        [
            click.option(
                "--toolsets",
                metavar="LIST",
                callback=_names,
                default="core",
                show_default=True,
                help="Groups of tools to offer, with commas between: core, legacy, all, ...",
            ),
            click.option("--schemas", is_flag=True, help="List the schemas of results too, for clients that check."),
            click.option("--read-only", is_flag=True, help="Only tools that change nothing."),
            click.option("--reveal", is_flag=True, help="Show recorded secrets to the model instead of handles."),
            click.option(
                "--files",
                multiple=True,
                type=click.Path(file_okay=False, path_type=Path),
                metavar="DIR",
                help="Tools may write files below DIR too; may be given several times.",
            ),
            click.option(
                "--allow-target",
                "allow_targets",
                multiple=True,
                metavar="HOST",
                help="Recorded secrets may be sent to HOST too; may be given several times.",
            ),
        ]
    ):
        function = option(function)
    return function


def wishes(offered: dict[str, Any], *, folder: Path | None = None) -> dict[str, Any]:
    """Return ``settings.McpSettings`` as JSON has it.

    Args:
        offered: what ``mcp_options`` gave.
        folder: where the client has started us; its tools may write there. Not where that is a home or the root of the
            file system: what lies there is started and read by other programs.
    """
    folders = [path.absolute() for path in offered["files"]]
    if folder is not None and folder not in {Path(folder.anchor), Path.home()}:
        folders.insert(0, folder)
    return {
        "toolsets": offered["toolsets"],
        "schemas": offered["schemas"],
        "readOnly": offered["read_only"],
        "reveal": offered["reveal"],
        "folder": None if folder is None else str(folder),
        "files": [str(path) for path in folders],
        "allowTargets": list(offered["allow_targets"]),
    }
