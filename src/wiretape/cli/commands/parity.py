"""``wiretape parity``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from wiretape.cli.options import complete_session, json_option, open_catalogue, root_option
from wiretape.cli.output import note, print_json, print_table, size_text
from wiretape.cli.progress import progress
from wiretape.errors import UsageError

if TYPE_CHECKING:
    from wiretape.session.recovery.heal import ParityReport

EXAMPLES = """\b
Examples:
  wiretape parity last
  wiretape parity --all
"""

COLUMNS = [("session", "left"), ("made", "right"), ("had it", "right"), ("size", "right"), ("damaged", "left")]


@click.command("parity", epilog=EXAMPLES)
@click.argument("session", metavar="[SESSION]", required=False, shell_complete=complete_session)
@click.option("--all", "every", is_flag=True, help="All sessions.")
@root_option
@json_option
def command(*, session: str | None, every: bool, root: Path, as_json: bool) -> int:
    """Add parity to SESSION: 7.4 % of its log, with which `recover` heals up to 64 KiB of each segment byte for byte.

    Segments that are being written get theirs when they are finished, from the daemon; a session that has parity once
    is kept so. Exit status 1 when a segment was damaged before: then there is nothing to make parity of.
    """
    from wiretape.model import to_json  # noqa: PLC0415
    from wiretape.session.recovery.heal import protect_session  # noqa: PLC0415

    if (session is None) != every:
        raise UsageError("which session?", hint="name one, or `last`, or give --all")
    catalogue = open_catalogue(root)
    reports: list[ParityReport] = []
    for session_id in [catalogue.resolve(session)] if session is not None else catalogue.ids():
        with progress(f"parity {session_id}", quiet=as_json) as report_progress:
            reports.append(protect_session(catalogue.folder / session_id, session_id, progress=report_progress))
    if as_json:
        print_json({"status": "success", "sessions": [to_json(report) for report in reports]})
    else:
        print_table(COLUMNS, map(_row, reports), empty="There are no sessions.")
        for report in reports:
            if report.damaged:
                note(f"{report.session_id}: `wiretape recover` says what is damaged")
    return 1 if any(report.damaged for report in reports) else 0


def _row(report: ParityReport) -> list[str]:
    return [
        report.session_id,
        str(report.made),
        str(report.kept),
        size_text(report.bytes),
        ", ".join(report.damaged) or "-",
    ]
