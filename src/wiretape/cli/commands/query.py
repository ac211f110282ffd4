"""``wiretape query``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from wiretape.cli.exchange_lines import print_exchanges
from wiretape.cli.options import (
    complete_group,
    complete_sort,
    filter_options,
    json_option,
    make_filter,
    open_catalogue,
    root_option,
    session_argument,
)
from wiretape.cli.output import note, print_table, print_value, write_line
from wiretape.cli.progress import bring_up

if TYPE_CHECKING:
    from wiretape.model import Coverage, Filter, Groups, QueryPage
    from wiretape.session.session import Session

EXAMPLES = """\b
Examples:
  wiretape query last '~m POST & ~c 5xx'
  wiretape query last '~err | ~ms >1000' --since -5m
  wiretape query checkout --host api.example.com --method POST --sort asc
  wiretape query last --sort ms --limit 10
  wiretape query last '!~a' --group-by path
  wiretape query last --follow
  wiretape query last --text 'card declined' --json | jq '.items[].url'

\b
`wiretape query --filters` lists the operators of FILTER.
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
    total = str(page.matched) if isinstance(page.matched, int) else f"more than {page.total}"
    note(f"{page.returned} of {total} shown; {describe_coverage(page.coverage)}.".replace("..", "."))
    if page.next_cursor is not None:
        note(f"More: --cursor {page.next_cursor}")


def _print_groups(found: Groups) -> None:
    columns = [(name, "right" if at else "left") for at, name in enumerate(found.groups.columns)]
    rows = [[str(cell) for cell in row] for row in found.groups.rows]
    print_table(columns, rows, empty="No exchange matches.")
    if found.groups.left:
        note(f"and {found.groups.left['exchanges']} exchanges in {found.groups.left['groups']} further groups")


WAIT = 5.0
"""Seconds that an answer without a bar may wait for an index that is far behind."""
FOLLOW_EVERY: Final = 0.25
"""Seconds between two looks at a log that is followed."""


def _print_filters(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if not value:
        return
    from wiretape.filters.catalogue import GROUPS  # noqa: PLC0415
    from wiretape.filters.help import JOINED, written  # noqa: PLC0415

    formatter = ctx.make_formatter()
    for title, rows in (
        *((title, [(written(operator), operator.help) for operator in group]) for title, group in GROUPS),
        ("Joined", list(JOINED)),
    ):
        with formatter.section(title):
            formatter.write_dl(rows)
    write_line(formatter.getvalue().rstrip())
    ctx.exit()


@click.command("query", epilog=EXAMPLES)
@session_argument
@filter_options
@click.option(
    "--sort",
    metavar="ORDER",
    shell_complete=complete_sort,
    help="asc, desc, or a column: ms, down, status, host, ms:asc, ... [default: desc, asc with --since]",
)
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="Most exchanges to give.")
@click.option("--cursor", metavar="C", help="Go on where an earlier page ended.")
@click.option("--full", is_flag=True, help="Do not shorten URLs to the terminal's width.")
@click.option("--count", is_flag=True, help="Count all that match, also beyond 10,000.")
@click.option(
    "--group-by", metavar="WHAT", shell_complete=complete_group, help="Count by host, status, method, type, path, ..."
)
@click.option(
    "--filters",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_filters,
    help="List the operators of FILTER, and exit.",
)
@click.option("--follow", is_flag=True, help="Go on: print what matches once it has ended, until Ctrl-C.")
@root_option
@json_option
def command(
    *,
    session: str,
    sort: str | None,
    limit: int,
    cursor: str | None,
    full: bool,
    count: bool,
    group_by: str | None,
    follow: bool,
    root: Path,
    as_json: bool,
    **filters: Any,
) -> None:
    """List exchanges of SESSION, newest first, with what the answer covers.

    SESSION is an id, a name, the beginning of an id, or `last`. FILTER is an expression such as '~m POST & ~c 5xx'.
    """
    from wiretape.session.query.ordering import read_order  # noqa: PLC0415

    wanted = make_filter(filters)
    read_order(sort or "desc")  # what is no order is said before a session is looked for
    with open_catalogue(root).open(session) as opened:
        bring_up(opened)
        # Under a bar a person decides how long to wait; a program gets what there is, and what its coverage says.
        opened.patience = WAIT
        if follow:
            _follow(opened, wanted, as_json=as_json, full=full)
        elif group_by is not None:
            groups = opened.group(wanted, group_by, limit)
            if as_json:
                print_value(groups)
            else:
                _print_groups(groups)
        else:
            # What is since a moment is read from there on.
            order = sort or ("asc" if wanted.since is not None else "desc")
            page = opened.query(wanted, sort=order, limit=limit, cursor=cursor, count=count)
            if as_json:
                print_value(page)
            else:
                _print_page(page, full=full)


def _follow(session: Session, wanted: Filter, *, as_json: bool, full: bool) -> None:
    """Print what matches once it has ended, oldest first, until nobody writes the session or somebody interrupts."""
    from wiretape.session.answers.tail import Tail  # noqa: PLC0415

    tail = Tail(session, wanted)
    while True:
        live = session.writer() is not None
        items = tail.read()
        if as_json:
            for item in items:
                print_value(item)
        elif items:
            print_exchanges(items, empty="", full=full)
        if not live:
            return
        time.sleep(FOLLOW_EVERY)
