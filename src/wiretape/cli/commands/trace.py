"""``wiretape trace``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wiretape.cli.options import complete_exchange, json_option, open_catalogue, root_option
from wiretape.cli.output import note, print_value, visible, write_line
from wiretape.cli.progress import bring_up
from wiretape.errors import UsageError
from wiretape.session.ids import split_address

if TYPE_CHECKING:
    from wiretape.session.answers.trace import Origin, Trace

EXAMPLES = """\b
Examples:
  wiretape trace bad:31 X-Csrf-Token
  wiretape trace bad:31 request.body/payment/amount
  wiretape trace bad:24 response.body/data/id --direction uses
  wiretape trace bad --value c_3dbc3ba302
"""


@click.command("trace", epilog=EXAMPLES)
@click.argument("what", metavar="SESSION[:SEQ]", shell_complete=complete_exchange)
@click.argument("at", metavar="[WHERE]", required=False)
@click.option("--value", metavar="V", help="The value itself, in the place of an exchange and WHERE.")
@click.option("--direction", type=click.Choice(["origin", "uses", "both"]), default="both", show_default=True)
@root_option
@json_option
def command(*, what: str, at: str | None, value: str | None, direction: Any, root: Path, as_json: bool) -> None:
    """Find where a value comes from and which requests carry it, in whatever encoding.

    WHERE is request.header.NAME, request.cookie.NAME, request.query.NAME, request.body/POINTER, the same of the
    response, a pointer such as /payment/amount, or the name of a header.
    """
    from wiretape.secrets.veil import UNVEILED  # noqa: PLC0415
    from wiretape.session.answers.trace import trace  # noqa: PLC0415

    if (at is None) == (value is None):
        raise UsageError("trace takes WHERE or --value", hint="wiretape trace SESSION:SEQ WHERE, or SESSION --value V")
    address = None if value is not None else split_address(what)
    session = what if address is None else address.session
    if session is None:
        raise UsageError(f"{what!r} names no session", hint="write last:31 for exchange 31 of the newest session")
    with open_catalogue(root).open(session) as opened:
        bring_up(opened)
        seq = None if address is None else address.seq
        found = trace(opened, veil=UNVEILED, seq=seq, at=at, value=value, direction=direction)
    if as_json:
        print_value(found)
    else:
        _print(found)


def _print(found: Trace) -> None:
    write_line(visible(found.value))
    if found.origin is not None:
        _print_origin("from", found.origin)
    if found.first_sent is not None:
        _print_origin("sent", found.first_sent)
    for one in found.carried:
        encoding = "" if one.encoding == "plain" else f" ({one.encoding})"
        write_line(visible(f"  in {one.where}{encoding}: {one.seqs}"))
    if found.left:
        write_line(f"  and {found.left} more")
    for hint in found.near:
        write_line(visible(f"  may be {hint}"))
    for sentence in (found.note, found.missing):
        if sentence:
            note(sentence)


def _print_origin(word: str, one: Origin) -> None:
    encoding = "" if one.encoding == "plain" else f" ({one.encoding})"
    write_line(visible(f"{word} {one.seq}  {one.op}  {one.where}{encoding}  {one.at}"))
