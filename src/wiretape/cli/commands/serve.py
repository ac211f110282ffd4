"""``wiretape serve``."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import click

from wiretape.cli.arrival_options import arrival_options, arrivals_from
from wiretape.cli.mcp_options import mcp_options, wishes
from wiretape.cli.options import F, json_option, root_option
from wiretape.cli.watching import Terminal
from wiretape.config import parse_address, parse_size
from wiretape.settings import (
    CONNECT_SECONDS,
    PARITY,
    RETAIN_DAYS,
    RETAIN_TOTAL,
    WAIT_SECONDS,
    Address,
    McpSettings,
    ServeOptions,
    SessionSettings,
    UpstreamSettings,
    from_wire,
    loop_from,
    maintenance_from,
)

EXAMPLES = """\b
Examples:
  wiretape serve
  wiretape serve --proxy 127.0.0.1:0 --api 127.0.0.1:0 --session checkout --json
  wiretape serve --durability always --max-disk 20GB --on-full refuse
  wiretape serve --upstream-ca company-roots.pem
  wiretape serve --reverse https://api.example.com
"""


def _listener(_ctx: click.Context, _param: click.Parameter, value: str) -> Address | None:
    if value == "none":
        return None
    host, port = parse_address(value)
    return Address(host=host, port=port)


def _size(_ctx: click.Context, _param: click.Parameter, value: str | None) -> int | None:
    return None if value is None else parse_size(value)


def _finite(_ctx: click.Context, _param: click.Parameter, value: float | None) -> float | None:
    if value is not None and not math.isfinite(value):
        raise click.BadParameter(f"{value} is not a length of time.")
    return value


def _timeout(name: str, seconds: float, gives_up: str) -> Callable[[F], F]:
    """Return what adds the option ``--NAME-timeout``."""
    return click.option(
        f"--{name}-timeout",
        type=click.FloatRange(min=0, min_open=True),
        callback=_finite,
        metavar="SECONDS",
        default=seconds,
        show_default=True,
        help=gives_up,
    )


@click.command("serve", epilog=EXAMPLES)
@click.option(
    "--proxy", metavar="HOST:PORT", callback=_listener, default="127.0.0.1:8080", show_default=True, help="Record here."
)
@click.option(
    "--api", metavar="HOST:PORT", callback=_listener, default="127.0.0.1:8081", show_default=True, help="MCP is here."
)
@click.option("--session", metavar="NAME", help="Name of the session.")
@click.option(
    "--profile", type=click.Choice(["full", "preview"]), default="full", help="Whole bodies, or their first 4 KiB."
)
@click.option(
    "--durability",
    type=click.Choice(["os", "group", "always"]),
    default="group",
    show_default=True,
    help="What a power cut may cost: all since the system last wrote / 200 ms / nothing. A kill costs nothing.",
)
@click.option("--max-disk", metavar="SIZE", callback=_size, help="Most that the session's log may take: 20GB.")
@click.option(
    "--on-full",
    type=click.Choice(["pass", "refuse"]),
    default="pass",
    show_default=True,
    help="When nothing can be recorded: pass traffic on and count it, or refuse it.",
)
@click.option(
    "--retain-days",
    type=click.FloatRange(min=0, min_open=True),
    callback=_finite,
    metavar="N",
    help="Delete sessions that ended longer ago. [default: $WIRETAPE_RETAIN_DAYS, else never]",
)
@click.option(
    "--retain-total",
    metavar="SIZE",
    callback=_size,
    help="Delete the oldest while all together take more. [default: $WIRETAPE_RETAIN_TOTAL, else never]",
)
@click.option(
    "--parity",
    is_flag=True,
    help="Add 7.4 % to the sessions, so that `recover` heals up to 64 KiB of each segment. [default: $WIRETAPE_PARITY]",
)
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Recorder processes.")
@click.option("--no-record", is_flag=True, help="Start without a session; start one later.")
@click.option("--insecure-upstream", is_flag=True, help="Do not verify the servers' certificates.")
@click.option(
    "--upstream-ca",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Trust the roots in this PEM file too.",
)
@click.option(
    "--strict-http",
    is_flag=True,
    help="Refuse responses that RFC 9112 forbids (502), instead of mending what clients live with.",
)
@_timeout("connect", CONNECT_SECONDS, "Give up an address of a server that does not answer, then its TLS handshake.")
@_timeout("first-byte", WAIT_SECONDS, "Give up a server that has the whole request and says nothing.")
@_timeout("idle", WAIT_SECONDS, "Give up a body of which nothing more comes.")
@arrival_options
@click.option(
    "--rules",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Rules in TOML, followed while the file is edited (docs/rules.md).",
)
@click.option("--quiet", is_flag=True, help="Print no line an exchange.")
@mcp_options
@click.option("--idle-exit", type=float, hidden=True, help="End after so many seconds without bridge and proxy.")
@root_option
@json_option
def command(
    *,
    proxy: Address | None,
    api: Address | None,
    session: str | None,
    profile: Literal["full", "preview"],
    durability: Literal["os", "group", "always"],
    max_disk: int | None,
    on_full: Literal["pass", "refuse"],
    retain_days: float | None,
    retain_total: int | None,
    parity: bool,
    workers: int,
    no_record: bool,
    insecure_upstream: bool,
    upstream_ca: Path | None,
    strict_http: bool,
    connect_timeout: float,
    first_byte_timeout: float,
    idle_timeout: float,
    idle_exit: float | None,
    rules: Path | None,
    quiet: bool,
    root: Path,
    as_json: bool,
    **offered: Any,
) -> int:
    """Record in the foreground: proxy, MCP server and index in one.

    Port 0 picks a free port. SIGTERM and Ctrl-C finish what is running and close the session cleanly. With --json, one
    line on stdout once connections are accepted: proxy, mcp, ui, caCert, root, sessionId, pid, recorderPids.

    The MCP address and the page want the token that is in the file `token` of the root; the address `ui` carries it.
    """
    given: dict[str, str] = {}
    if retain_days is not None:
        given[RETAIN_DAYS] = f"{retain_days:f}"
    if parity:
        given[PARITY] = "1"
    if retain_total is not None:
        given[RETAIN_TOTAL] = str(retain_total)
    options = ServeOptions(
        root=root,
        proxy=proxy,
        api=api,
        rules=None if rules is None else rules.absolute(),
        session=None
        if no_record
        else SessionSettings(name=session, profile=profile, durability=durability, max_disk=max_disk, on_full=on_full),
        upstream=UpstreamSettings(
            workers=workers,
            insecure=insecure_upstream,
            ca=None if upstream_ca is None else upstream_ca.absolute(),
            strict_http=strict_http,
            connect_timeout=connect_timeout,
            first_byte_timeout=first_byte_timeout,
            idle_timeout=idle_timeout,
        ),
        arrivals=arrivals_from(offered),
        maintenance=maintenance_from({**os.environ, **given}),
        mcp=from_wire(McpSettings, wishes(offered)),
        json=as_json,
        idle_exit=idle_exit,
        loop=loop_from(os.environ),
    )
    from wiretape.mcpserver.main import run_serve  # noqa: PLC0415

    watched = sys.stdout.isatty() and not as_json
    return run_serve(options, watcher=Terminal(quiet=quiet) if watched else None)
