"""``wiretape send``."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wiretape.cli.options import complete_exchange, json_option, open_catalogue, root_option
from wiretape.cli.output import note, print_value, visible, write_line
from wiretape.cli.progress import bring_up
from wiretape.errors import UsageError

if TYPE_CHECKING:
    from wiretape.session.answers.resend import Changes, Outgoing, Planned

EXAMPLES = """\b
Examples:
  wiretape send bad:31                                  # what would be sent
  wiretape send bad:31 --set /payment/amount=34790 --execute
  wiretape send bad:31 --header 'Idempotency-Key: new' --execute
  wiretape send bad:31 --target http://localhost:8000 --execute
"""


@click.command("send", epilog=EXAMPLES)
@click.argument("exchange", metavar="SESSION:SEQ", shell_complete=complete_exchange)
@click.option(
    "--set", "values", multiple=True, metavar="POINTER=VALUE", help="Another value in the body; VALUE is JSON or text."
)
@click.option(
    "--header", "headers", multiple=True, metavar="N:V", help="Another value of a header; `N:` takes it away."
)
@click.option("--url", metavar="URL", help="Another URL.")
@click.option("--target", metavar="URL", help="Another server; path and query stay.")
@click.option("--execute", is_flag=True, help="Send it; without this, only say what would be sent.")
@click.option("--insecure-upstream", is_flag=True, help="Do not verify the server's certificate.")
@click.option(
    "--upstream-ca",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Trust the roots in this PEM file too.",
)
@root_option
@json_option
def command(
    *,
    exchange: str,
    values: tuple[str, ...],
    headers: tuple[str, ...],
    url: str | None,
    target: str | None,
    execute: bool,
    insecure_upstream: bool,
    upstream_ca: Path | None,
    root: Path,
    as_json: bool,
) -> int:
    """Send one recorded request again, with changes, and compare the answer. It is recorded in a session of its own.

    Nothing is sent without --execute.
    """
    from wiretape.session.answers.resend import plan  # noqa: PLC0415
    from wiretape.session.ids import split_address  # noqa: PLC0415
    from wiretape.settings import UpstreamSettings  # noqa: PLC0415

    address = split_address(exchange)
    changes = _changes(values, headers, url, target)
    with open_catalogue(root).open(address.session or "last") as session:
        bring_up(session)
        outgoing, planned = plan(session, address.session or "last", address.seq, changes)
        if execute:
            ca = None if upstream_ca is None else upstream_ca.absolute()
            upstream = UpstreamSettings(insecure=insecure_upstream, ca=ca)
            planned = asyncio.run(_execute(root, outgoing, planned, session.exchange(address.seq), upstream))
    if as_json:
        print_value(planned)
    else:
        _print(planned)
    return 1 if planned.result is not None and planned.result.status[1] is None else 0


async def _execute(root: Path, outgoing: Outgoing, planned: Planned, before: Any, upstream: Any) -> Planned:
    from wiretape.daemon.resend import resend  # noqa: PLC0415
    from wiretape.session.answers.resend import outcome  # noqa: PLC0415

    made = await resend(root, outgoing, upstream)
    with open_catalogue(root).open(made.session_id) as recorded:
        return outcome(planned, before, recorded.exchange(1), made.name)


def _changes(values: tuple[str, ...], headers: tuple[str, ...], url: str | None, target: str | None) -> Changes:
    from wiretape.session.answers.resend import Changes  # noqa: PLC0415

    wanted: dict[str, Any] = {}
    for one in values:
        pointer, equals, value = one.partition("=")
        if not equals:
            raise UsageError(f"--set {one[:80]!r} has no =", hint="such as --set /payment/amount=34790")
        try:
            wanted[pointer] = json.loads(value)
        except (ValueError, RecursionError):
            wanted[pointer] = value
    named: dict[str, str | None] = {}
    for one in headers:
        name, colon, value = one.partition(":")
        if not colon:
            raise UsageError(f"--header {one[:80]!r} has no colon", hint="such as --header 'Accept: text/html'")
        named[name.strip()] = value.strip() or None
    return Changes(values=wanted, headers=named, url=url, target=target)


def _print(planned: Planned) -> None:
    write_line(visible(planned.plan))
    for where, old, new in planned.changes:
        write_line(
            visible(f"  {where}: {json.dumps(old, ensure_ascii=False)} -> {json.dumps(new, ensure_ascii=False)}")
        )
    for warning in planned.warnings:
        note(f"warning: {warning}")
    result = planned.result
    if result is None:
        note("nothing was sent; --execute sends it" + (" (it writes)" if planned.writes else ""))
        return
    write_line(visible(f"{result.exchange}  {result.status[1] or result.state}  {planned.verdict}"))
    for where, old, new in result.differs:
        write_line(
            visible(f"  {where}: {json.dumps(old, ensure_ascii=False)} -> {json.dumps(new, ensure_ascii=False)}")
        )
    note(f"`wiretape exchange {result.exchange.rpartition(':')[0]} 1` shows it whole")
