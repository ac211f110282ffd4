"""The daemon that a bridge starts in the background, ``python -m wiretape.mcpserver ROOT``; it has no proxy yet."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from wiretape.errors import WiretapeError
from wiretape.mcpserver.main import run_serve
from wiretape.settings import Address, ServeOptions, loop_from, maintenance_from

IDLE_EXIT = 600.0
"""Seconds without a bridge and without a proxy after which it ends by itself."""


def main(argv: list[str]) -> int:
    """Serve the root ``argv[1]``; ``argv[2]``, if given, is the idle time in seconds."""
    idle_exit = float(argv[2]) if len(argv) > 2 else IDLE_EXIT
    api = Address(host="127.0.0.1", port=0)
    try:
        return run_serve(
            ServeOptions(
                root=Path(argv[1]),
                proxy=None,
                api=api,
                session=None,
                maintenance=maintenance_from(os.environ),
                json=True,
                idle_exit=idle_exit,
                loop=loop_from(os.environ),
            ),
            client_comes=True,
        )
    except WiretapeError as error:
        print(f"wiretape: {error}", file=sys.stderr)  # noqa: T201  it is the daemon's log
        return error.exit_status


if __name__ == "__main__":
    sys.exit(main(sys.argv))
