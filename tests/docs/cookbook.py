"""The cookbook's outputs: every command after a ``$`` is run, and what it shows is what the page shows."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.jobs.live import Shop
from tests.jobs.recordings import HOST, record_all
from tests.support.terminal import on_terminal
from wiretape.cli.demo.certificates import OriginCA

_CODE: Final = "    "
_PROMPT: Final = "    $ "
_SESSION: Final = re.compile(r"\b\d{8}T\d{6}-[0-9a-f]{6}\b")
_CONTROL: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_VOLATILE: Final = (
    (_CONTROL, ""),
    (_SESSION, "20261127T104436-f4ed15"),
    (re.compile(r"\b(recorder|pid) \d+"), r"\1 7619"),
    (re.compile(r"\{\{([a-z-]+):[0-9a-f]+\}\}"), r"{{\1:2fb067}}"),
    (re.compile(r"Authorization expire(?:s in|d) [0-9]+ (?:min|h|days).*"), "Authorization expires in 58 min"),
    (re.compile(r"\b0\.0\.0\.0\b|\b127\.0\.0\.1:\d{4,5}\b"), "127.0.0.1:8080"),
)
"""What differs from run to run, and what stands for it on the page."""


class Kitchen:
    """A folder to run commands in: recordings in its root, the shop's CA, a client that walks through the shop.

    Args:
        folder: an empty folder.
        shop: the running shop.
        ca: whom the shop's certificate is from.
    """

    def __init__(self, folder: Path, shop: Shop, ca: OriginCA) -> None:
        self._folder = folder
        self.root = folder / "root"
        self._shop = shop
        record_all(self.root, host=shop.host)
        work = folder / "work"
        work.mkdir()
        (work / "shop-ca.pem").write_bytes(ca.pem.read_bytes())
        program = f"import sys\nfrom tests.jobs.client import main\nsys.exit(main({shop.host!r}))\n"
        (work / "client.py").write_text(program)
        self._work = work

    def run(self, command: str) -> list[str]:
        """Run a command as somebody types it on a terminal of 80 columns; return the lines that are shown."""
        words = shlex.split(command)
        assert words[0] == "wiretape", command
        self._shop.reset()
        variables = {
            "COLUMNS": "80",
            "TERM": "dumb",
            "NO_COLOR": "1",
            "PAGER": "cat",
            "TZ": "UTC",
            "WIRETAPE_ROOT": str(self.root),
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }
        with contextlib.chdir(self._work):
            _, shown = on_terminal(*words[1:], env=variables)
        text = (
            shown.replace("\r\n", "\n")
            .replace(str(self.root), "~/.local/share/wiretape")
            .replace(self._shop.host, HOST)
        )
        text = text.replace(str(self._work), "~/work")
        for pattern, stands in _VOLATILE:
            text = pattern.sub(stands, text)
        return [line.rstrip() for line in text.rstrip("\n").split("\n")]


def filled(page: str, kitchen: Kitchen) -> str:
    """Return a page with the output of every command in it, as it is now."""
    return "\n".join(_filled(page.split("\n"), kitchen))


def _filled(lines: list[str], kitchen: Kitchen) -> Iterator[str]:
    shown = False
    for number, line in enumerate(lines):
        if line.startswith(_PROMPT):
            yield line
            yield from (f"{_CODE}{one}".rstrip() for one in kitchen.run(line.removeprefix(_PROMPT)))
            shown = True
        elif not shown or not _is_code(lines, number):
            shown = False
            yield line


def _is_code(lines: list[str], number: int) -> bool:
    """Return whether a line is one of a block of code: indented, or empty with indented ones behind it."""
    for line in lines[number:]:
        if line:
            return line.startswith(_CODE) and not line.startswith(_PROMPT)
    return False
