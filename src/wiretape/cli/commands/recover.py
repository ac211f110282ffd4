"""``wiretape recover``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wiretape.cli.commands.verify import GAP_COLUMNS, gap_row
from wiretape.cli.options import complete_session, json_option, open_catalogue, root_option
from wiretape.cli.output import note, print_table, print_value, write_line
from wiretape.cli.progress import progress

if TYPE_CHECKING:
    from wiretape.model import RecoveredSession, RecoverReport

EXAMPLES = """\b
Examples:
  wiretape recover --dry-run
  wiretape recover
  wiretape recover checkout --json
"""

COLUMNS = [
    ("session", "left"),
    ("recovery", "left"),
    ("exchanges", "right"),
    ("interrupted", "right"),
    ("lost", "right"),
    ("tail bytes", "right"),
    ("quarantined", "right"),
    ("gaps", "right"),
]


def _row(one: RecoveredSession) -> list[str]:
    return [
        one.session_id,
        one.recovery_state,
        str(one.exchanges),
        str(one.interrupted),
        str(one.lost_exchanges),
        str(one.dropped_tail_bytes),
        str(one.quarantined_bytes),
        str(len(one.gaps)),
    ]


def _sentence(one: RecoveredSession) -> str:
    """Say of a session what counts, and of the rest what there is."""
    rest = [
        (one.dropped_tail_bytes, "bytes of torn tail left out"),
        (one.quarantined_bytes, "bytes put aside"),
        (len(one.gaps), "damaged ranges"),
    ]
    more = "".join(f", {count} {what}" for count, what in rest if count)
    counts = f"{one.exchanges} exchanges, {one.interrupted} interrupted, {one.lost_exchanges} lost"
    return f"{one.session_id}: {one.recovery_state}. {counts}{more}"


def _print_report(report: RecoverReport, *, dry_run: bool) -> None:
    if sys.stdout.isatty() and report.recovered:
        for one in report.recovered:
            write_line(_sentence(one))
    else:
        print_table(COLUMNS, map(_row, report.recovered), empty="Nothing to recover.")
    for one in report.recovered:
        _tell_ending(one)
        for segment in one.healed:
            told = f"cannot be healed: {segment.error}" if segment.error else f"healed, {segment.bytes} bytes"
            note(f"{one.session_id}: {segment.segment} {'would be ' if dry_run and not segment.error else ''}{told}")
        if one.gaps:
            note(f"damage in {one.session_id}:")
            print_table(GAP_COLUMNS, map(gap_row, one.gaps), empty="")
    for skipped in report.skipped:
        note(f"skipped {skipped.session_id}: {skipped.reason}")
    if dry_run:
        note("dry run: nothing was written")


@click.command("recover", epilog=EXAMPLES)
@click.argument("session", metavar="[SESSION]", required=False, shell_complete=complete_session)
@click.option("--dry-run", is_flag=True, help="Write nothing; print the report that a recovery would give.")
@root_option
@json_option
def command(*, session: str | None, dry_run: bool, root: Path, as_json: bool) -> int:
    """Rebuild manifest and index of SESSION, or of all sessions, from the log, and account for what is damaged.

    The log itself is never changed: run it as often as you like. A session that is being written is skipped.
    Exit status 0 when nothing was lost.
    """
    with progress("recover", quiet=as_json) as report_progress:
        report = open_catalogue(root).recover(session, dry_run=dry_run, progress=report_progress)
    report = _with_endings(root, report, aside=dry_run)
    if as_json:
        print_value(report)
    else:
        _print_report(report, dry_run=dry_run)
    return 1 if any(map(_lost, report.recovered)) or report.status != "success" else 0


def _with_endings(root: Path, report: RecoverReport, *, aside: bool) -> RecoverReport:
    """Add how each recording ended, where something happened; ``aside`` writes nothing for that (P7)."""
    import msgspec  # noqa: PLC0415

    from wiretape.secrets.veil import UNVEILED  # noqa: PLC0415
    from wiretape.session.answers.ending import ending, with_ending  # noqa: PLC0415

    told = []
    for one in report.recovered:
        if one.recovery_state != "clean" or one.interrupted:
            with open_catalogue(root).open(one.session_id, aside=aside) as session:
                told.append(with_ending(one, ending(session, veil=UNVEILED)))
        else:
            told.append(one)
    return msgspec.structs.replace(report, recovered=told)


def _tell_ending(one: RecoveredSession) -> None:
    """Tell how a recording ended, and how far each interrupted exchange had come."""
    if isinstance(one.by, str) and one.by:
        note(f"{one.session_id}: {one.by}; {one.after_end}.")
    if one.interrupted_exchanges:
        for seq, operation, reached in one.interrupted_exchanges.rows:
            note(f"  {seq}  {operation}: {reached}")


def _lost(one: RecoveredSession) -> bool:
    """Whether damage took anything: an exchange, or part of one. A damaged seal takes nothing."""
    return one.lost_exchanges > 0 or any(gap.exchanges for gap in one.gaps)
