"""Options that several commands share, and their types."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from wiretape.config import resolve_root
from wiretape.errors import WiretapeError

if TYPE_CHECKING:
    from wiretape.model import Filter
    from wiretape.session.catalogue import Catalogue

F = TypeVar("F", bound=Callable[..., Any])


def _root(ctx: click.Context, _param: click.Parameter, value: str | None) -> Path:
    before = (ctx.find_root().obj or {}).get("root")
    return resolve_root(before if value is None else value)


def _color(ctx: click.Context, _param: click.Parameter, value: str | None) -> None:
    if value is not None:
        found = ctx.find_root()
        found.obj = {**(found.obj or {}), "color": value}


def root_option(function: F) -> F:
    """Add what every command takes: ``--root DIR``, of which it gets an absolute ``root: Path``, and ``--color``."""
    coloured = click.option(
        "--color",
        type=click.Choice(["auto", "always", "never"]),
        callback=_color,
        expose_value=False,
        help="Colour the output. [default: on terminals, unless NO_COLOR is set]",
    )(function)
    return click.option(
        "--root",
        metavar="DIR",
        callback=_root,
        help="Folder for sessions and CA. [default: $WIRETAPE_ROOT, else user data]",
    )(coloured)


def json_option(function: F) -> F:
    """Add ``--json``; the command gets ``as_json: bool``."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout, nothing else.")(
        function
    )


def complete_session(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Offer the ids and names of sessions to a shell; what goes wrong offers nothing."""
    words = ["last"]
    with contextlib.suppress(WiretapeError, OSError):
        for session_id, name in open_catalogue(resolve_root(ctx.params.get("root"))).names().items():
            words += [session_id, *([name] if name is not None else [])]
    return [word for word in words if word.startswith(incomplete) and word.isprintable()]


def session_argument(function: F) -> F:
    """Add the argument SESSION; the command gets ``session: str``."""
    return click.argument("session", metavar="SESSION", shell_complete=complete_session)(function)


def filter_options(function: F) -> F:
    """Add the filters that choose exchanges; the command gets them as ``**filters`` for ``make_filter``."""
    for option in reversed(
        [
            click.option("--method", metavar="M", help="Only this method."),
            click.option("--host", metavar="H", help="Only this host and the hosts below it."),
            click.option("--url-contains", metavar="S", help="Only URLs with S in them."),
            click.option("--status", metavar="404|4xx", help="Only this status code, or this class of them."),
            click.option("--state", metavar="S", help="Only exchanges that are complete, aborted, failed, ..."),
            click.option("--from-ts", metavar="T", type=int, help="Not before T, in ms since the epoch."),
            click.option("--to-ts", metavar="T", type=int, help="Not after T, in ms since the epoch."),
            click.option("--text", metavar="S", help="Only exchanges with S in URL, headers or bodies."),
        ]
    ):
        function = option(function)
    return function


def make_filter(filters: dict[str, Any]) -> Filter:
    """Build the model's filter from what ``filter_options`` gave."""
    from wiretape.model import Filter  # noqa: PLC0415

    return Filter(**filters)


def open_catalogue(root: Path) -> Catalogue:
    """Open the sessions of a root. The import is late: it brings the index and the log with it."""
    from wiretape.session.catalogue import Catalogue  # noqa: PLC0415

    return Catalogue(root)
