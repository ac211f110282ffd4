"""A program at a terminal of its own, of a given size, which a test looks at and types at."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios
from pathlib import Path
from typing import Self

from tests.cli.support import COMMAND
from tests.support.terminal import read_all
from wiretape.cli.demo.waiting import wait_until

_STYLES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
CTRL_C = b"\x03"


def _at_a_terminal() -> None:
    """Take descriptor 0 as the controlling terminal, and let Ctrl-C be heard.

    A shell without job control has what it starts in the background ignore SIGINT, tests included; a program at a
    terminal does not.
    """
    os.login_tty(0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Terminal:
    """``wiretape`` with a terminal as stdin, stdout, stderr and the one that signals come from."""

    def __init__(
        self, *arguments: str | Path, columns: int = 80, lines: int = 24, env: dict[str, str] | None = None
    ) -> None:
        self._main, side = pty.openpty()
        fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        kept = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES", "PAGER", "LESS"}}
        self.process = subprocess.Popen(
            [*COMMAND, *map(str, arguments)],
            stdin=side,
            stdout=side,
            stderr=side,
            env=kept | {"TERM": "xterm"} | (env or {}),
            preexec_fn=_at_a_terminal,  # noqa: PLW1509 - nothing else gives it a controlling terminal
        )
        os.close(side)
        self._shown = bytearray()
        self._reader = read_all(self._main, self._shown)

    @property
    def text(self) -> str:
        """What was shown, with its colours."""
        return self._shown.decode(errors="surrogateescape")

    @property
    def lines(self) -> list[str]:
        """What was shown, without colours."""
        return _STYLES.sub("", self.text).replace("\r\n", "\n").splitlines()

    def wait_for(self, text: str) -> None:
        """Wait until something is shown."""
        wait_until(lambda: text in self.text, what=f"{text!r} on the terminal")

    def type(self, keys: bytes) -> None:
        """Type something."""
        os.write(self._main, keys)

    def end(self) -> int:
        """Wait for the program's end; return its status."""
        status = self.process.wait(60)
        self._reader.join(60)
        return status

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._reader.join(60)
        os.close(self._main)


def shown(*arguments: str | Path, columns: int = 80, lines: int = 24, env: dict[str, str] | None = None) -> list[str]:
    """Run a command to its end at a terminal; return what it showed, without colours."""
    with Terminal(*arguments, columns=columns, lines=lines, env=env) as terminal:
        status = terminal.end()
        assert status in {0, 1}, terminal.text
        return terminal.lines
