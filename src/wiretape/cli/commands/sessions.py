"""``wiretape sessions``."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wiretape.cli.options import json_option, open_catalogue, root_option
from wiretape.cli.output import note, print_json, print_table, size_text, terminal_width, time_text, write_lines
from wiretape.cli.session_lines import errors_text, session_lines

if TYPE_CHECKING:
    from wiretape.model import SessionSummary

EXAMPLES = """\b
Examples:
  wiretape sessions
  wiretape sessions --json | jq -r '.sessions[] | select(.interrupted > 0) | .sessionId'
"""

COLUMNS = [
    ("session", "left"),
    ("name", "left"),
    ("status", "left"),
    ("recovery", "left"),
    ("exchanges", "right"),
    ("errors", "right"),
    ("interrupted", "right"),
    ("size", "right"),
    ("started", "left"),
    ("ended", "left"),
]


def _row(session: SessionSummary) -> list[str]:
    return [
        session.session_id,
        session.name,
        session.status,
        session.recovery_state + (", pinned" if session.pinned else ""),
        str(session.exchanges),
        errors_text(session),
        str(session.interrupted),
        size_text(session.bytes),
        time_text(session.started_at),
        time_text(session.ended_at),
    ]


@click.command("sessions", epilog=EXAMPLES)
@root_option
@json_option
@click.option("--limit", type=click.IntRange(1), metavar="N", help="At most so many; all without it.")
@click.option("--cursor", metavar="C", help="nextCursor of the answer before: go on after it.")
@click.option("--full", is_flag=True, help="Do not shorten names to the terminal's width.")
def command(*, root: Path, as_json: bool, limit: int | None, cursor: str | None, full: bool) -> None:
    """List the sessions, newest first."""
    catalogue = open_catalogue(root)
    sessions = catalogue.list(cursor, limit + 1 if limit is not None else None)
    more = None
    if limit is not None and len(sessions) > limit:
        sessions = sessions[:limit]
        more = catalogue.mark(sessions[-1].session_id)
    if as_json:
        from wiretape.model import to_json  # noqa: PLC0415

        print_json({"sessions": to_json(sessions), **({"nextCursor": more} if more is not None else {})})
        return
    if more is not None:
        note(f"More follow: --cursor {more}")
    if sys.stdout.isatty() and sessions:
        write_lines(session_lines(sessions, width=None if full else terminal_width(), now=datetime.now().astimezone()))
    else:
        print_table(COLUMNS, map(_row, sessions), empty="No sessions yet: `wiretape serve` records one.")
    for session in sessions:
        if session.note is not None:
            note(f"{session.session_id}: {session.note}")
