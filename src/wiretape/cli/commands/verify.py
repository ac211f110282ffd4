"""``wiretape verify``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from wiretape.cli.options import complete_session, json_option, open_catalogue, root_option
from wiretape.cli.output import many, print_table, print_value, size_text, visible, write_line
from wiretape.cli.progress import progress

if TYPE_CHECKING:
    from wiretape.model import Gap, VerifyReport

EXAMPLES = """\b
Examples:
  wiretape verify
  wiretape verify --deep
  wiretape verify checkout --json | jq .gaps
"""

GAP_COLUMNS = [
    ("segment", "left"),
    ("offset", "right"),
    ("length", "right"),
    ("reason", "left"),
    ("exchanges", "left"),
    ("lost", "left"),
]


def gap_row(gap: Gap) -> list[str]:
    """Write one damaged range as cells of a table."""
    return [
        gap.segment,
        str(gap.offset),
        str(gap.length),
        gap.reason,
        " ".join(map(str, gap.exchanges)) or "-",
        " ".join(map(str, gap.lost)) or "-",
    ]


def _print_report(report: VerifyReport) -> None:
    lost = f", {report.lost_exchanges} lost" if report.lost_exchanges else ""
    flight = f", {report.in_flight} in flight" if report.in_flight else ""
    dropped = f", {report.dropped} dropped" if report.dropped else ""
    write_line(
        f"{report.session_id}: {report.state}. {report.exchanges} exchanges, {report.interrupted} interrupted"
        f"{flight}{lost}{dropped}; {size_text(report.bytes)} in {many(report.segments, 'segment')}"
        + (f"; torn tail of {report.torn_tail_bytes} bytes" if report.torn_tail_bytes else "")
    )
    if report.deep:
        write_line(f"  bodies of {report.bodies} exchanges compared with their digests")
    if report.disagreeing:
        write_line(f"  bodies that are not what was recorded, in exchanges {_some(report.disagreeing)}")
    for sentence in report.notes:
        write_line(visible(f"  {sentence}"))
    if report.gaps:
        print_table(GAP_COLUMNS, map(gap_row, report.gaps), empty="")


def _some(seqs: list[int], most: int = 20) -> str:
    return " ".join(map(str, seqs[:most])) + (f" and {len(seqs) - most} more" if len(seqs) > most else "")


@click.command("verify", epilog=EXAMPLES)
@click.argument("session", metavar="[SESSION]", default="last", shell_complete=complete_session)
@click.option("--deep", is_flag=True, help="Also put every body together and compare it with its digest.")
@root_option
@json_option
def command(*, session: str, deep: bool, root: Path, as_json: bool) -> int:
    """Check every byte of SESSION's log (the newest without one), reading only.

    Exit status 0 when the log is whole and was closed cleanly, or is being written and whole so far; 1 for damage, a
    torn tail or an unclean end, before and after recovery alike, and with --deep for a body that is not what was
    recorded.
    """
    with open_catalogue(root).open(session) as opened, progress("verify", quiet=as_json) as report_progress:
        report = opened.verify(report_progress, deep=deep)
    if as_json:
        print_value(report)
    else:
        _print_report(report)
    return 0 if report.state in ("clean", "live") else 1
