"""``wiretape stop``."""

from __future__ import annotations

import time
from pathlib import Path

import click

from wiretape.cli.options import json_option, root_option
from wiretape.cli.output import note, print_json
from wiretape.daemon.client import connect, request
from wiretape.errors import DaemonError, NotFoundError

EXAMPLES = """\b
Examples:
  wiretape stop
  wiretape stop --root ./captures
"""

DEADLINE = 30.0
"""Seconds that a daemon may take to finish what runs and to seal its logs; its own limits add up to half of it."""


@click.command("stop", epilog=EXAMPLES)
@root_option
@json_option
def command(*, root: Path, as_json: bool) -> None:
    """End the daemon of the root: what runs is finished, the session is closed cleanly.

    Nothing to stop is no error.
    """
    try:
        request(root, {"cmd": "stop"})
    except NotFoundError as error:
        if error.code != "no-daemon":
            raise
        _report(as_json, stopped=False, text=f"no daemon runs for {root}")
        return
    _wait_until_gone(root)
    _report(as_json, stopped=True, text="stopped")


def _wait_until_gone(root: Path) -> None:
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        try:
            connect(root).close()
        except NotFoundError:
            return
        time.sleep(0.02)
    raise DaemonError(f"the daemon of {root} still runs after {DEADLINE:g} s", hint="`wiretape status` gives its pid")


def _report(as_json: bool, *, stopped: bool, text: str) -> None:
    if as_json:
        print_json({"status": "success", "stopped": stopped})
    else:
        note(text)
