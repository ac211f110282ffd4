"""``wiretape sql``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from wiretape.cli.commands.query import describe_coverage
from wiretape.cli.options import json_option, open_catalogue, root_option, session_argument
from wiretape.cli.output import many, note, print_table, print_value
from wiretape.cli.progress import bring_up

if TYPE_CHECKING:
    from wiretape.session.answers.sql import SqlAnswer

EXAMPLES = """\b
Examples:
  wiretape sql last 'SELECT host, count(*) AS n, avg(ms) FROM exchanges GROUP BY host ORDER BY n DESC'
  wiretape sql last "SELECT value, count(*) FROM headers WHERE name = 'content-type' GROUP BY value"
  wiretape sql last 'SELECT seq, url FROM exchanges WHERE ms > 1000' --json | jq .rows
\b
Views: exchanges, headers, messages, marks, connections; docs/sql.md has their columns.
"""


@click.command("sql", epilog=EXAMPLES)
@session_argument
@click.argument("query", metavar="QUERY")
@click.option("--limit", type=click.IntRange(1, 10_000), default=1_000, show_default=True, help="Most rows to give.")
@click.option("--seconds", type=click.FloatRange(0.1, 60), default=30, show_default=True, help="How long it may take.")
@root_option
@json_option
def command(*, session: str, query: str, limit: int, seconds: float, root: Path, as_json: bool) -> None:
    """Ask SESSION in SQL: read-only, over views of its exchanges, headers, messages, marks and connections."""
    from wiretape.secrets.veil import UNVEILED  # noqa: PLC0415
    from wiretape.session.answers.sql import run_sql  # noqa: PLC0415

    with open_catalogue(root).open(session) as opened:
        bring_up(opened)
        answer = run_sql(opened, query, veil=UNVEILED, rows=limit, seconds=seconds)
    if as_json:
        print_value(answer)
    else:
        _print_answer(answer)


def _print_answer(answer: SqlAnswer) -> None:
    numbers = [all(isinstance(row[at], int | float | None) for row in answer.rows) for at in range(len(answer.columns))]
    columns = [(name, "right" if number else "left") for name, number in zip(answer.columns, numbers, strict=True)]
    print_table(columns, ([_text(cell) for cell in row] for row in answer.rows), empty="No rows.")
    more = "; there are more: --limit, or aggregate" if answer.truncated else ""
    note(f"{many(answer.returned, 'row')}{more}; {describe_coverage(answer.coverage)}")


def _text(cell: object) -> str:
    return "-" if cell is None else f"{cell:.3f}" if isinstance(cell, float) else str(cell)
