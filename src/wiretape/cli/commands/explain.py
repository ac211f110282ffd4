"""``wiretape explain``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from wiretape.cli.options import complete_exchange, json_option, open_catalogue, root_option
from wiretape.cli.output import note, print_value, visible, write_line
from wiretape.cli.progress import bring_up
from wiretape.errors import UsageError
from wiretape.session.ids import split_address

if TYPE_CHECKING:
    from wiretape.session.answers.explain import Explanation, Outcome

EXAMPLES = """\b
Examples:
  wiretape explain last:31
  wiretape explain bad:31 --json | jq .blamed
"""


@click.command("explain", epilog=EXAMPLES)
@click.argument("exchange", metavar="SESSION:SEQ", shell_complete=complete_exchange)
@root_option
@json_option
def command(*, exchange: str, root: Path, as_json: bool) -> None:
    """Explain why an exchange went wrong.

    Shows what the answer says, the values that it blames and where they come from, and the same operation with another
    outcome, here or in another session.
    """
    from wiretape.secrets.veil import UNVEILED  # noqa: PLC0415
    from wiretape.session.answers.explain import explain  # noqa: PLC0415

    address = split_address(exchange)
    if address.session is None:
        raise UsageError(f"{exchange!r} names no session", hint="write last:31 for exchange 31 of the newest session")
    catalogue = open_catalogue(root)
    with catalogue.open(address.session) as opened:
        bring_up(opened)
        found = explain(opened, address.seq, veil=UNVEILED, catalogue=catalogue)
    if as_json:
        print_value(found)
    else:
        _print(found)


def _print(found: Explanation) -> None:
    state = f"  {found.state}" if found.state else ""
    write_line(visible(f"{found.exchange}  {found.op}  {found.status_code or '-'}{state}  {found.ms} ms"))
    if found.problem is not None:
        says = " ".join(text for text in (found.problem.title, found.problem.detail, found.problem.code) if text)
        write_line(visible(f"  {found.problem.form}: {says}".rstrip(": ")))
        for one in found.problem.errors:
            write_line(visible("    " + "  ".join(text for text in (one.pointer, one.code, one.detail) if text)))
    for blamed in found.blamed:
        origin = f"from {blamed.origin}" if blamed.origin else "which no earlier answer holds"
        write_line(visible(f"  sent {blamed.where or blamed.pointer}: {blamed.sent}, {origin}"))
        for hint in blamed.near:
            write_line(visible(f"    may be {hint}"))
    for sign in found.signs:
        write_line(visible(f"  {sign}"))
    for outcome in found.other_outcomes:
        _print_outcome(outcome)
    for sentence in (found.note, found.missing):
        if sentence:
            note(sentence)


def _print_outcome(outcome: Outcome) -> None:
    write_line(visible(f"  {outcome.status} in {', '.join((outcome.exchange, *outcome.also))}"))
    for place, there, here in outcome.differs:
        write_line(visible(f"    there {place}: {there}, here {here}"))
    for origin in outcome.from_:
        write_line(visible(f"    there from {origin}"))
    for hint in outcome.near:
        write_line(visible(f"    there it may be {hint}"))
