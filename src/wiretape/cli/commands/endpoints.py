"""``wiretape endpoints``."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wiretape.cli.options import complete_session, json_option, open_catalogue, root_option
from wiretape.cli.output import fitted, many, note, print_value, visible, write_line, write_lines
from wiretape.cli.progress import bring_up

if TYPE_CHECKING:
    from wiretape.session.answers.endpoints import Drift, Endpoints
    from wiretape.session.session import Session

EXAMPLES = """\b
Examples:
  wiretape endpoints last
  wiretape endpoints before after
  wiretape endpoints before after --json | jq .fields
"""


@click.command("endpoints", epilog=EXAMPLES)
@click.argument("a", metavar="A", shell_complete=complete_session)
@click.argument("b", metavar="[B]", required=False, shell_complete=complete_session)
@root_option
@json_option
def command(*, a: str, b: str | None, root: Path, as_json: bool) -> None:
    """List the endpoints of session A; with B, what is new, gone or otherwise there.

    Statuses, durations (twice as long or as short) and the fields of a successful answer are compared.
    """
    from wiretape.secrets.veil import UNVEILED  # noqa: PLC0415
    from wiretape.session.answers.endpoints import drift, endpoints  # noqa: PLC0415

    catalogue = open_catalogue(root)
    with contextlib.ExitStack() as stack:

        def opened(name: str) -> Session:
            session = stack.enter_context(catalogue.open(name))
            bring_up(session)
            return session

        if b is not None:
            compared = drift(opened(a), opened(b), veil=UNVEILED)
            print_value(compared) if as_json else _print_drift(compared)
            return
        found = endpoints(opened(a), veil=UNVEILED)
    print_value(found) if as_json else _print(found)


def _print(found: Endpoints) -> None:
    lines = []
    one_host = sys.stdout.isatty() and len({row[1] for row in found.endpoints.rows}) == 1
    for endpoint, host, count, statuses, p50, p95 in found.endpoints.rows:
        times = "" if p50 is None else f"{p50} ms, 95 %: {p95} ms"
        where = "" if one_host else f"  {host}"
        lines.append(fitted(visible(f"{count:>7}  {statuses:<11} {times:<22} {endpoint}{where}")))
    write_lines(lines)
    if not found.endpoints.rows:
        write_line("It has no exchanges.")
    if found.missing:
        note(found.missing)


def _print_drift(found: Drift) -> None:
    for name in found.only_a:
        write_line(visible(f"- {name}"))
    for name in found.only_b:
        write_line(visible(f"+ {name}"))
    for name, what, before, after in found.changed:
        write_line(visible(f"! {name}  {what}: {before} -> {after}"))
    for name, fields in found.fields.items():
        write_line(visible(f"! {name}"))
        for field in fields:
            write_line(visible(f"    {field}"))
    write_line(f"{many(found.same, 'endpoint')} the same")
    if found.missing:
        note(found.missing)
