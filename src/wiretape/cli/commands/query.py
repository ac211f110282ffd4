"""``wiretape query``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from wiretape.cli.options import filter_options, json_option, make_filter, open_catalogue, root_option, session_argument
from wiretape.cli.output import note, print_table, print_value, size_text, time_text
from wiretape.cli.progress import bring_up

if TYPE_CHECKING:
    from wiretape.model import Coverage, ExchangeSummary, QueryPage

EXAMPLES = """\b
Examples:
  wiretape query last --status 5xx
  wiretape query checkout --host api.example.com --method POST --sort asc
  wiretape query last --text 'card declined' --json | jq '.items[].url'
"""

COLUMNS = [
    ("seq", "right"),
    ("time", "left"),
    ("method", "left"),
    ("status", "right"),
    ("state", "left"),
    ("ms", "right"),
    ("up", "right"),
    ("down", "right"),
    ("url", "left"),
]


def _row(item: ExchangeSummary) -> list[str]:
    return [
        str(item.seq),
        time_text(item.timestamp),
        item.method,
        "-" if item.status_code is None else str(item.status_code),
        item.state,
        "-" if item.duration is None else f"{item.duration:.1f}",
        size_text(item.request_body_size),
        size_text(item.response_body_size),
        item.url,
    ]


def describe_coverage(coverage: Coverage) -> str:
    """Say in words what an answer was made from, and what it cannot contain (P11)."""
    parts = [f"through seq {coverage.through_seq}"]
    for count, word in (
        (coverage.in_flight, "in flight"),
        (coverage.dropped, "dropped, not recorded"),
        (coverage.damaged, "damaged"),
    ):
        if count:
            parts.append(f"{count} {word}")
    return "; ".join([", ".join(parts), *coverage.notes])


def _print_page(page: QueryPage) -> None:
    print_table(COLUMNS, map(_row, page.items), empty="No exchange matches.")
    note(f"{page.returned} of {page.matched} matching; {describe_coverage(page.coverage)}")
    if page.next_cursor is not None:
        note(f"more: --cursor {page.next_cursor}")


WAIT = 5.0
"""Seconds that an answer without a bar may wait for an index that is far behind."""


@click.command("query", epilog=EXAMPLES)
@session_argument
@filter_options
@click.option(
    "--sort", type=click.Choice(["asc", "desc"]), default="desc", show_default=True, help="Oldest or newest first."
)
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="Most exchanges to give.")
@click.option("--cursor", metavar="C", help="Go on where an earlier page ended.")
@root_option
@json_option
def command(
    *,
    session: str,
    sort: Literal["asc", "desc"],
    limit: int,
    cursor: str | None,
    root: Path,
    as_json: bool,
    **filters: Any,
) -> None:
    """List exchanges of SESSION, newest first, with what the answer covers.

    SESSION is an id, a name, the beginning of an id, or `last`.
    """
    with open_catalogue(root).open(session) as opened:
        bring_up(opened)
        # Under a bar a person decides how long to wait; a program gets what there is, and what its coverage says.
        opened.patience = WAIT
        page = opened.query(make_filter(filters), sort=sort, limit=limit, cursor=cursor)
    if as_json:
        print_value(page)
    else:
        _print_page(page)
