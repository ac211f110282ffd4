"""``wiretape show``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from wiretape.cli.options import filter_options, json_option, make_filter, open_catalogue, root_option, session_argument
from wiretape.cli.output import fitted, many, note, print_value, row_text, styled, visible, width_of, write_line
from wiretape.cli.progress import bring_up

if TYPE_CHECKING:
    from wiretape.model import Table
    from wiretape.session.answers.overview import Overview

EXAMPLES = """\b
Examples:
  wiretape show last
  wiretape show checkout --host api.example.com --top 50
  wiretape show last --json | jq '.errors.rows'
"""


@click.command("show", epilog=EXAMPLES)
@session_argument
@filter_options
@click.option("--top", type=click.IntRange(1, 1000), metavar="N", help="Endpoints to name. [default: at most 25]")
@click.option(
    "--group", type=click.Choice(["template", "path"]), default="template", help="Put paths together, or not."
)
@root_option
@json_option
def command(*, session: str, top: int | None, group: Any, root: Path, as_json: bool, **filters: Any) -> None:
    """Show what is in SESSION: hosts, endpoints, errors with their messages, the slowest.

    {id} stands for a value in a path, {*} for one of many. Errors are statuses of 400 and more, failed exchanges, and
    answers that say so themselves (200+errors).
    """
    from wiretape.secrets.veil import UNVEILED  # noqa: PLC0415
    from wiretape.session.answers.overview import overview  # noqa: PLC0415

    with open_catalogue(root).open(session) as opened:
        bring_up(opened)
        found = overview(opened, make_filter(filters), veil=UNVEILED, top=top, group=group)
    if as_json:
        print_value(found)
    else:
        _print(found)


_HEADS: Final = {"sampleSeq": "seq", "slowestSeq": "slowest", "p50ms": "p50", "p95ms": "p95 ms"}
"""Headings that are shorter than the keys under --json: a narrow terminal has room for hosts then."""


def _print(found: Overview) -> None:
    when = f" in {found.span} from {found.start}" if found.start else ""
    write_line(visible(f"{found.session}: {many(found.exchanges, 'exchange')}{when}"))
    counts = [
        f"{count} {name}" for name, count in (*found.statuses.items(), *found.states.items()) if name != "complete"
    ]
    if counts:
        write_line(", ".join(counts))
    for title, table in (
        ("errors", found.errors),
        ("endpoints", found.endpoints),
        ("slowest", found.slowest),
        ("hosts", found.hosts),
    ):
        if table is not None and (title != "hosts" or len(table.rows) > 1):
            write_line()
            _print_table(title, table)
    if found.missing:
        note(found.missing)


def _print_table(title: str, table: Table) -> None:
    """Print numbers first, texts last: what is too long for the terminal is cut at its end."""
    texts = [at for at, name in enumerate(table.columns) if name in {"endpoint", "host", "message"}]
    texts.sort(key=lambda at: table.columns[at] == "host")  # it is what may be cut
    order = [at for at in range(len(table.columns)) if at not in texts] + texts
    lines = [[_cell(row, at) for at in order] for row in table.rows]
    heads = [title if name in {"endpoint", title[:-1]} else _HEADS.get(name, name) for name in _at(table, order)]
    numbers = len(order) - len(texts)
    if title not in heads:
        heads[numbers] = title
    widths = [max(width_of(line[at]) for line in [heads, *lines]) for at in range(len(order))]
    rights = [at < numbers for at in range(len(order))]
    write_line(styled(fitted(row_text(heads, widths, rights)), "bright_black"))
    for line in lines:
        write_line(fitted(row_text(line, widths, rights)))
    if table.left:
        write_line("  and " + ", ".join(f"{count} {name}" for name, count in table.left.items()) + " more")


def _at(table: Table, order: list[int]) -> list[str]:
    return [table.columns[at] for at in order]


def _cell(row: list[Any], at: int) -> str:
    value = row[at] if at < len(row) else None
    return "" if value is None else visible(str(value)).replace("+errors", "!")
