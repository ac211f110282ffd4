"""``wiretape secrets``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wiretape.cli.options import (
    filter_options,
    json_option,
    make_filter,
    open_catalogue,
    root_option,
    session_argument,
)
from wiretape.cli.output import note, print_value, visible, write_line
from wiretape.cli.progress import bring_up, progress

if TYPE_CHECKING:
    from wiretape.session.answers.secrets import SecretsFound

EXAMPLES = """\b
Examples:
  wiretape secrets last
  wiretape secrets checkout --kind password --kind jwt
  wiretape secrets checkout --pattern 'ORD-[0-9A-F]{8}'
  wiretape export checkout --format har --redact      # the same session without them
"""


@click.command("secrets", epilog=EXAMPLES)
@session_argument
@click.option("--kind", "kinds", multiple=True, metavar="KIND", help="Only this kind; may be given several times.")
@click.option("--pattern", "custom", multiple=True, metavar="REGEX", help="Look for this, too; several times.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="Values to tell at most.")
@filter_options
@root_option
@json_option
def command(
    *,
    session: str,
    kinds: tuple[str, ...],
    custom: tuple[str, ...],
    limit: int,
    root: Path,
    as_json: bool,
    **filters: Any,
) -> None:
    """List the secrets and e-mail addresses in SESSION: where they are and how often, never what they are.

    The name in braces is what a model sees in the place of the value; tools take it as an argument.
    """
    from wiretape.secrets.handles import root_key  # noqa: PLC0415
    from wiretape.secrets.known import Known  # noqa: PLC0415
    from wiretape.session.answers.secrets import find_secrets  # noqa: PLC0415

    with open_catalogue(root).open(session) as opened:
        bring_up(opened)
        with progress("search", quiet=as_json, patience=0.5) as report:
            found = find_secrets(
                opened,
                Known(root_key(root)),
                make_filter(filters),
                kinds=kinds or None,
                custom=custom,
                top=limit,
                progress=report,
            )
    if as_json:
        print_value(found)
    else:
        _print(found)


def _print(found: SecretsFound) -> None:
    if not found.values and not found.grouped:
        write_line(f"No secret in the {found.exchanges} exchanges that were searched.")
    for one in found.values:
        many = f"{one.exchanges} exchange{'s' if one.exchanges > 1 else ''}"
        write_line(visible(f"{one.kind:<14} {one.value:<10} {many}, first {one.first}  {one.handle}"))
        for where in one.where:
            write_line(visible(f"    {where}"))
    for group in found.grouped:
        write_line(visible(f"{group.kind:<14} {group.distinct} at {group.domain}, {group.exchanges} exchanges"))
        for where in group.where:
            write_line(visible(f"    {where}"))
    if found.left.get("values"):
        note(f"{found.left['values']} values more; --limit shows them")
    for gap in found.not_searched:
        seqs = ", ".join(map(str, gap.seq)) + (f" and {gap.more} more" if gap.more else "")
        note(f"not searched: {seqs} ({gap.why})")
