"""``wiretape diff``."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wiretape.cli.options import complete_exchange, json_option, open_catalogue, root_option
from wiretape.cli.output import many, note, print_value, styled, visible, write_line
from wiretape.cli.progress import bring_up
from wiretape.errors import UsageError, WiretapeError

if TYPE_CHECKING:
    from wiretape.session.answers.compare import Change, Comparison
    from wiretape.session.session import Session

EXAMPLES = """\b
Examples:
  wiretape diff good bad
  wiretape diff good bad --noise-from good-run
  wiretape diff good:31 bad:31 --all
  wiretape diff good bad --ignore '/data/*/stock' && echo the same
"""


@click.command("diff", epilog=EXAMPLES)
@click.argument("a", metavar="A", shell_complete=complete_exchange)
@click.argument("b", metavar="B", shell_complete=complete_exchange)
@click.option("--noise-from", multiple=True, metavar="S", help="A run like A: where they differ means nothing.")
@click.option(
    "--ignore", multiple=True, metavar="PLACE", help="A place that does not count: /data/*/stock, header.X-Build."
)
@click.option("--all", "everything", is_flag=True, help="Show every difference.")
@click.option("--noise", is_flag=True, help="Show what was ignored, too.")
@root_option
@json_option
def command(
    *,
    a: str,
    b: str,
    noise_from: tuple[str, ...],
    ignore: tuple[str, ...],
    everything: bool,
    noise: bool,
    root: Path,
    as_json: bool,
) -> int:
    """Compare A with B: sessions, exchanges (SESSION:SEQ), or what follows a mark (SESSION@MARK).

    Exits with 0 when they are the same, 1 when they differ, 2 when they cannot be compared.

    Values that are new every time do not count: times, UUIDs, tokens, random ids, and ids that are renamed everywhere
    alike. The last line says how many there were; --noise lists them.
    """
    from wiretape.secrets.veil import UNVEILED  # noqa: PLC0415
    from wiretape.session.answers.compare import compare  # noqa: PLC0415
    from wiretape.session.answers.parts import part_of  # noqa: PLC0415

    catalogue = open_catalogue(root)
    with contextlib.ExitStack() as stack:

        def opened(name: str) -> Session:
            session = stack.enter_context(catalogue.open(name))
            bring_up(session)
            return session

        try:
            found = compare(
                part_of(opened, a),
                part_of(opened, b),
                veil=UNVEILED,
                noise_from=[part_of(opened, name) for name in noise_from],
                ignore=ignore,
                detail="noise" if noise else "all" if everything else "first",
            )
        except WiretapeError as error:
            # 1 means that they differ, as with diff(1).
            raise UsageError(str(error), hint=error.hint, code=error.code) from error
    if as_json:
        print_value(found)
    else:
        _print(found)
    return int(found.verdict == "differs")


def _print(found: Comparison) -> None:
    for change in [*([found.first] if found.first is not None else []), *found.then]:
        _print_change(change)
    if found.left:
        write_line(f"and {found.left} more exchanges differ; --all shows them")
    for slower in found.timing:
        write_line(visible(f"time  {slower.op}: {slower.a} ms, {slower.b} ms"))
    if found.ignored is not None:
        for row in found.ignored.listed:
            write_line(visible("ignored  " + "  ".join(map(str, row))))
    if found.verdict == "same":
        write_line(visible(f"{found.a} and {found.b} are the same: {many(found.same, 'exchange')}"))
    else:
        write_line(visible(f"{many(found.same, 'exchange')} the same"))
    if found.ignored is not None:
        kinds = ", ".join(f"{count} {kind}" for kind, count in found.ignored.kinds.items())
        note(f"{found.ignored.values} values that are new every time were ignored ({kinds})")
    if found.missing:
        note(found.missing)


def _print_change(change: Change) -> None:
    if change.only_a is not None or change.only_b is not None:
        sign, seq = ("-", change.only_a) if change.only_a is not None else ("+", change.only_b)
        write_line(styled(visible(f"{sign} {seq}  {change.op}"), "red" if sign == "-" else "green"))
        return
    status = f"  {change.status[0]} -> {change.status[1]}" if change.status else ""
    write_line(visible(f"! {change.a}, {change.b}  {change.op}{status}"))
    _print_rows("request", change.request)
    if isinstance(change.response, dict):
        for line in change.response["errors"]:
            write_line(styled(visible(f"    response says: {line}"), "red"))
    else:
        _print_rows("response", change.response)
    if change.left:
        write_line(f"    and {change.left} more")


def _print_rows(side: str, rows: list[list[Any]]) -> None:
    for place, a, b in rows:
        write_line(visible(f"    {side} {place}: {a} -> {b}"))
