"""``wiretape doctor``."""

from __future__ import annotations

from pathlib import Path

import click

from wiretape.cli.options import json_option, root_option
from wiretape.cli.output import print_json, styled, visible, write_line

EXAMPLES = """\b
Examples:
  wiretape doctor
  wiretape doctor --json | jq '.checks[] | select(.result != "ok")'
"""

COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


@click.command("doctor", epilog=EXAMPLES)
@root_option
@json_option
def command(*, root: Path, as_json: bool) -> int:
    """Check Python, event loop, root folder, space, CA, daemon and ports; say what to do about what is wrong.

    Exit status 1 when a check fails; warnings do not count. Nothing is changed.
    """
    from wiretape.cli.checks import run_checks  # noqa: PLC0415

    checks = run_checks(root)
    failed = any(check.result == "fail" for check in checks)
    if as_json:
        documents = [
            {"check": check.name, "result": check.result, "detail": check.detail, "hint": check.hint}
            for check in checks
        ]
        print_json({"status": "failed" if failed else "success", "checks": documents})
        return int(failed)
    for check in checks:
        mark = styled(f"{check.result:<5}", COLOURS[check.result])
        write_line(f"{mark} {check.name:<12} {visible(check.detail)}")
        if check.hint:
            write_line(f"{'':18} hint: {visible(check.hint)}")
    return int(failed)
