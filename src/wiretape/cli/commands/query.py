"""``wiretape query``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from wiretape.cli.exchange_lines import print_exchanges
from wiretape.cli.options import filter_options, json_option, make_filter, open_catalogue, root_option, session_argument
from wiretape.cli.output import note, print_value
from wiretape.cli.progress import bring_up

if TYPE_CHECKING:
    from wiretape.model import Coverage, QueryPage

EXAMPLES = """\b
Examples:
  wiretape query last --status 5xx
  wiretape query checkout --host api.example.com --method POST --sort asc
  wiretape query last --text 'card declined' --json | jq '.items[].url'
"""


def describe_coverage(coverage: Coverage) -> str:
    """Say in words what an answer was made from, and what it cannot contain (P11)."""
    missing = [
        f"{count} {word}"
        for count, word in (
            (coverage.dropped, "passed unrecorded"),
            (coverage.damaged, "damaged"),
            (coverage.in_flight, "still running"),
        )
        if count
    ]
    said = f"searched up to exchange {coverage.through_seq}, {', '.join(missing)}" if missing else _WHOLE
    return "; ".join([said, *coverage.notes])


_WHOLE = "everything recorded so far was searched"


def _print_page(page: QueryPage, *, full: bool) -> None:
    if page.coverage.through_seq or page.items:
        empty = "No exchange matches."
    else:
        empty = "The session is empty: no client has sent anything through its proxy."
    print_exchanges(page.items, empty=empty, full=full)
    note(f"{page.returned} of {page.matched} shown; {describe_coverage(page.coverage)}.".replace("..", "."))
    if page.next_cursor is not None:
        note(f"More: --cursor {page.next_cursor}")


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
@click.option("--full", is_flag=True, help="Do not shorten URLs to the terminal's width.")
@root_option
@json_option
def command(
    *,
    session: str,
    sort: Literal["asc", "desc"],
    limit: int,
    cursor: str | None,
    full: bool,
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
        _print_page(page, full=full)
