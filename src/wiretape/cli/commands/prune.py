"""``wiretape prune``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wiretape.cli.options import json_option, root_option
from wiretape.cli.output import note, print_json, print_table, size_text, time_text
from wiretape.config import parse_age, parse_size
from wiretape.errors import UsageError

if TYPE_CHECKING:
    from wiretape.session.prune import PruneReport

EXAMPLES = """\b
Examples:
  wiretape prune --older-than 30d --dry-run
  wiretape prune --keep-last 20 --max-total 10GB --yes
  wiretape prune --name 'ci-*' --older-than 1d --yes
"""

COLUMNS = [("session", "left"), ("name", "left"), ("size", "right"), ("ended", "left"), ("why", "left")]


@click.command("prune", epilog=EXAMPLES)
@click.option("--older-than", metavar="AGE", help="Sessions that ended longer ago than this: 12h, 7d, 4w.")
@click.option("--keep-last", type=click.IntRange(0), metavar="N", help="All but the newest N.")
@click.option("--max-total", metavar="SIZE", help="The oldest, until all others together take no more than this: 10GB.")
@click.option("--name", metavar="PATTERN", help="Only sessions whose name is like this: 'ci-*'. Alone: all of them.")
@click.option("--dry-run", is_flag=True, help="Show what would go, delete nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@root_option
@json_option
def command(
    *,
    older_than: str | None,
    keep_last: int | None,
    max_total: str | None,
    name: str | None,
    dry_run: bool,
    yes: bool,
    root: Path,
    as_json: bool,
) -> None:
    """Delete old sessions. One goes when any rule names it; pinned sessions and the one being recorded never do."""
    from wiretape.session.prune import PruneRules, prune  # noqa: PLC0415

    rules = PruneRules(
        older_than=parse_age(older_than) if older_than is not None else None,
        keep_last=keep_last,
        max_total=parse_size(max_total) if max_total is not None else None,
        name=name,
    )
    if not dry_run and not yes:
        proposal = prune(root, rules, dry_run=True)
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise UsageError(
                f"prune would delete {len(proposal.pruned)} sessions for ever and cannot ask here",
                hint="add --yes, or --dry-run to see which",
            )
        _show(proposal)
        if not proposal.pruned:
            return
        click.confirm("Delete them for ever?", abort=True, err=True)
    report = prune(root, rules, dry_run=dry_run)
    if as_json:
        from wiretape.model import to_json  # noqa: PLC0415

        print_json({"status": "success", **to_json(report)})
    else:
        _show(report)
    if report.skipped:
        raise SystemExit(1)


def _show(report: PruneReport) -> None:
    rows = [
        [session.session_id, session.name, size_text(session.bytes), time_text(session.ended_at), session.reason]
        for session in report.pruned
    ]
    print_table(COLUMNS, rows, empty="Nothing to delete.")
    verb = "would free" if report.dry_run else "freed"
    note(f"{len(report.pruned)} sessions, {verb} {size_text(report.freed_bytes)}; {report.kept} stay")
    for skipped in report.skipped:
        note(f"{skipped.session_id} stays: {skipped.reason}")
