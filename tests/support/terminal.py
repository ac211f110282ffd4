"""Running a command on a real terminal, and what was shown there."""

from __future__ import annotations

import contextlib
import os
import pty
import threading
from pathlib import Path

from tests.cli.support import PREFORK


def on_terminal(*arguments: str | Path, stdout: bool = True, env: dict[str, str] | None = None) -> tuple[int, str]:
    """Run a command with a terminal as stderr and, if asked for, stdout; gives the status and what was shown.

    Args:
        arguments: those of ``wiretape``.
        stdout: whether stdout is the terminal too.
        env: further variables; ``COLUMNS`` is the terminal's width, 200 without.
    """
    main, side = pty.openpty()
    shown = bytearray()
    reader = read_all(main, shown)
    try:
        whole = os.environ | {"TERM": "xterm", "COLUMNS": "200"} | (env or {})
        done = PREFORK.run([*map(str, arguments)], env=whole, timeout=60, terminal=side, stdout=stdout)
    finally:
        os.close(side)
        reader.join(60)
        os.close(main)
    return done.returncode, shown.decode(errors="surrogateescape")


def read_all(main: int, shown: bytearray) -> threading.Thread:
    """Keep what is shown on a terminal until its other side is closed; return the thread that does it.

    Args:
        main: the terminal's own side.
        shown: gets the bytes.
    """

    def read() -> None:
        # EIO is how a terminal says that its other side is closed.
        with contextlib.suppress(OSError):
            while piece := os.read(main, 65536):
                shown.extend(piece)

    reader = threading.Thread(target=read)
    reader.start()
    return reader
