"""``wiretape send``."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from wiretape.cli.options import complete_exchange, json_option, open_catalogue, root_option
from wiretape.cli.output import note, print_value, visible, write_line
from wiretape.cli.progress import bring_up
from wiretape.errors import UsageError

if TYPE_CHECKING:
    from wiretape.session.answers.resend import Changes, Planned

EXAMPLES = """\b
Examples:
  wiretape send bad:31                                  # what would be sent
  wiretape send bad:31 --set /payment/amount=34790 --execute
  wiretape send bad:31 --header 'Idempotency-Key: new' --execute
  wiretape send bad:31 --target http://localhost:8000 --execute
  wiretape send bad:31 --login replay --execute         # with a fresh token
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
@click.option(
    "--login",
    type=click.Choice(["replay"]),
    help="replay: first send again what issued the tokens and cookies of the request, and use the new ones.",
)
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
    login: str | None,
    execute: bool,
    insecure_upstream: bool,
    upstream_ca: Path | None,
    root: Path,
    as_json: bool,
) -> int:
    """Send one recorded request again, with changes, and compare the answer. It is recorded in a session of its own.

    Nothing is sent without --execute.
    """
    from wiretape.daemon.resend import resend  # noqa: PLC0415
    from wiretape.session.answers.learned import noise_of  # noqa: PLC0415
    from wiretape.session.answers.login import steps_before  # noqa: PLC0415
    from wiretape.session.answers.resend import outcome, plan  # noqa: PLC0415
    from wiretape.session.ids import split_address  # noqa: PLC0415
    from wiretape.settings import UpstreamSettings  # noqa: PLC0415

    address = split_address(exchange)
    changes = _changes(values, headers, url, target)
    with open_catalogue(root).open(address.session or "last") as session:
        bring_up(session)
        outgoing, planned = plan(session, address.session or "last", address.seq, changes)
        steps = steps_before(session, address.seq, target) if login is not None else []
        planned = msgspec.structs.replace(planned, rebound=[step.told() for step in steps])
        if execute:
            ca = None if upstream_ca is None else upstream_ca.absolute()
            upstream = UpstreamSettings(insecure=insecure_upstream, ca=ca)
            sent = asyncio.run(resend(root, outgoing, upstream, before=steps))
            with open_catalogue(root).open(sent.session.session_id) as recorded:
                before, after = session.exchange(address.seq), recorded.exchange(sent.seq)
            trust, noise = "trust its issuer with --upstream-ca FILE", noise_of(session, address.seq)
            planned = outcome(planned, before, after, sent.session.name, trust=trust, noise=noise)
            planned = msgspec.structs.replace(planned, rebound=sent.rebound)
    if as_json:
        print_value(planned)
    else:
        _print(planned)
    return 1 if planned.result is not None and planned.result.status[1] is None else 0


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
    for rebound in planned.rebound:
        note(visible(rebound))
    result = planned.result
    if result is None:
        note("nothing was sent; --execute sends it" + (" (it writes)" if planned.writes else ""))
        return
    write_line(visible(f"{result.exchange}  {result.status[1] or result.state}  {planned.verdict}"))
    if result.error is not None:
        write_line(visible(f"  {result.error}"))
    for where, old, new in result.differs:
        write_line(
            visible(f"  {where}: {json.dumps(old, ensure_ascii=False)} -> {json.dumps(new, ensure_ascii=False)}")
        )
    session, _, seq = result.exchange.rpartition(":")
    note(f"`wiretape exchange {session} {seq}` shows it whole")
