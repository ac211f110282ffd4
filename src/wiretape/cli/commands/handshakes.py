"""``wiretape handshakes``."""

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
from wiretape.cli.output import note, print_table, print_value, time_text, visible
from wiretape.cli.progress import bring_up

if TYPE_CHECKING:
    from wiretape.session.answers.handshakes import Handshakes

EXAMPLES = """\b
Examples:
  wiretape handshakes last
  wiretape handshakes last --host api.example.com --json | jq -r '.items[].ja4' | sort | uniq -c
"""


@click.command("handshakes", epilog=EXAMPLES)
@session_argument
@click.option("--limit", type=click.IntRange(1, 10_000), default=200, show_default=True, help="How many at most.")
@click.option("--sort", type=click.Choice(["asc", "desc"]), default="desc", help="desc is newest first.")
@filter_options
@root_option
@json_option
def command(*, session: str, limit: int, sort: Any, root: Path, as_json: bool, **filters: Any) -> None:
    """List the TLS handshakes of SESSION's clients with their fingerprints, JA3 and JA4, and those that failed."""
    from wiretape.secrets.veil import UNVEILED  # noqa: PLC0415
    from wiretape.session.answers.handshakes import handshakes  # noqa: PLC0415

    with open_catalogue(root).open(session) as opened:
        bring_up(opened)
        found = handshakes(opened, make_filter(filters), veil=UNVEILED, sort=sort, limit=limit)
    if as_json:
        print_value(found)
    else:
        _print(found)


def _print(found: Handshakes) -> None:
    columns = (("seq", "right"), ("host", "left"), ("tls", "left"), ("ja4", "left"), ("ja3", "left"))
    rows = [
        (str(one.seq), one.hostname[:24], one.version or "-", one.ja4 or "-", (one.ja3 or "-")[:8])
        for one in found.items
    ]
    print_table(columns, rows, empty="There is no exchange." if not found.total else "No exchange matches.")
    for failed in found.failed[:10]:
        note(f"failed {time_text(failed.timestamp)} {failed.side} {failed.host}: {visible(failed.error)}")
    if found.unavailable_reason:
        note(found.unavailable_reason)
    elif found.items:
        note(f"{found.with_tls_metadata} of {found.total} exchanges came over TLS; --json has JA3 whole")
