"""Options that several commands share, and their types."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from wiretape.config import resolve_root
from wiretape.errors import UsageError, WiretapeError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from wiretape.model import Filter
    from wiretape.session.catalogue import Catalogue

F = TypeVar("F", bound=Callable[..., Any])
_OFFERED = 200
"""Exchanges of a session that are looked through for a shell."""


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


def complete_exchange(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer sessions, and behind one its newest exchanges: ``bad:31``, or ``31`` where the session is a word before."""
    from click.shell_completion import CompletionItem  # noqa: PLC0415

    before: tuple[str, ...] = ctx.params.get("words") or ()
    session, colon, begun = incomplete.rpartition(":")
    if colon:
        return [CompletionItem(f"{session}:{item.value}", help=item.help) for item in _seqs(ctx, session, begun)]
    if len(before) == 1 and ":" not in before[0]:
        return _seqs(ctx, before[0], incomplete)
    return [] if before else [CompletionItem(word) for word in complete_session(ctx, _param, incomplete)]


def _seqs(ctx: click.Context, session: str, begun: str) -> list[CompletionItem]:
    """Return the newest exchanges of a session whose numbers begin so; none of what goes wrong."""
    from click.shell_completion import CompletionItem  # noqa: PLC0415

    from wiretape.cli.output import visible  # noqa: PLC0415

    found = []
    with (
        contextlib.suppress(WiretapeError, OSError),
        open_catalogue(resolve_root(ctx.params.get("root"))).open(session) as opened,
    ):
        opened.patience = 1.0
        for item in opened.newest(_OFFERED):
            if str(item.seq).startswith(begun):
                said = f"{item.method} {item.status_code or item.state} {item.url}"
                found.append(CompletionItem(str(item.seq), help=visible(said[:60])))
    return found


def complete_program(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer programs where a command begins, and files behind it."""
    import os  # noqa: PLC0415

    from click.shell_completion import CompletionItem  # noqa: PLC0415

    if ctx.params.get("words") or os.sep in incomplete or not incomplete:
        return [CompletionItem(incomplete, type="file")]
    found: set[str] = set()
    for folder in os.get_exec_path():
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            found.update(one.name for one in entries if one.name.startswith(incomplete) and one.name.isprintable())
    return [CompletionItem(name) for name in sorted(found)]


def session_argument(function: F) -> F:
    """Add the argument SESSION; the command gets ``session: str``."""
    return click.argument("session", metavar="SESSION", shell_complete=complete_session)(function)


def complete_filter(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the operators of the filter language where one is being written."""
    from click.shell_completion import CompletionItem  # noqa: PLC0415

    from wiretape.filters.catalogue import OPERATORS  # noqa: PLC0415

    before, blank, word = incomplete.rpartition(" ")
    return [
        CompletionItem(f"{before}{blank}{symbol}", help=operator.help)
        for symbol, operator in OPERATORS.items()
        if symbol.startswith(word or "~")
    ]


def complete_state(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Offer the states of an exchange."""
    from wiretape.filters.operators import STATES  # noqa: PLC0415

    return [state for state in STATES if state.lower().startswith(incomplete.lower())]


def complete_status(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Offer classes of status codes and those that are asked for most."""
    known = ("2xx", "3xx", "4xx", "5xx", "200", "304", "400", "401", "403", "404", "422", "429", "500", "502", "503")
    return [status for status in known if status.startswith(incomplete)]


def complete_method(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Offer methods."""
    known = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "CONNECT")
    return [method for method in known if method.startswith(incomplete.upper())]


def complete_sort(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Offer what a list can be sorted by."""
    from wiretape.session.query.ordering import SORTABLE  # noqa: PLC0415

    return [word for word in ("asc", "desc", *SORTABLE) if word.startswith(incomplete)]


def complete_group(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Offer what exchanges can be grouped by."""
    from wiretape.session.query.grouping import BY  # noqa: PLC0415

    return [word for word in BY if word.startswith(incomplete)]


def complete_moment(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Offer the marks of the session that is asked about, and some spans; what goes wrong offers no marks."""
    words = ["-1m", "-5m", "-1h"]
    root, session_ref = resolve_root(ctx.params.get("root")), ctx.params.get("session") or "last"
    with contextlib.suppress(WiretapeError, OSError), open_catalogue(root).open(session_ref) as session:
        session.patience = 1.0
        words += dict.fromkeys(mark.label for mark in reversed(session.marks()))
    return [word for word in words if word.startswith(incomplete)]


_AS_OPTION: Final = "filter"
"""Commands that take several sessions, and tools, call it so: it is taken wherever FILTER is an argument."""


def filter_options(function: F) -> F:
    """Add the argument FILTER and the options that choose exchanges; the command gets them for ``make_filter``."""
    argument = click.argument("expression", metavar="[FILTER]", required=False, shell_complete=complete_filter)
    also = click.option(f"--{_AS_OPTION}", hidden=True, shell_complete=complete_filter)
    return argument(also(_choosing(function)))


def filter_options_alone(function: F) -> F:
    """Add the same with ``--filter`` instead of an argument, for a command that takes several sessions."""
    option = click.option(
        "--filter", "expression", metavar="FILTER", shell_complete=complete_filter, help="Only what this filter takes."
    )
    return option(_choosing(function))


def _choosing(function: F) -> F:
    for option in reversed(
        [
            click.option(
                "--since",
                metavar="T",
                shell_complete=complete_moment,
                help="From T on: ISO, 10:44, -5m, a seq, a mark.",
            ),
            click.option("--until", metavar="T", shell_complete=complete_moment, help="Up to T, likewise."),
            click.option("--method", metavar="M", shell_complete=complete_method, help="Only this method."),
            click.option("--host", metavar="H", help="Only this host and the hosts below it."),
            click.option("--url-contains", metavar="S", help="Only URLs with S in them."),
            click.option(
                "--status",
                metavar="404|4xx",
                shell_complete=complete_status,
                help="Only this status code, or this class of them.",
            ),
            click.option(
                "--state",
                metavar="S",
                shell_complete=complete_state,
                help="Only exchanges that are complete, aborted, failed, ...",
            ),
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

    filters = dict(filters)
    given = filters.pop(_AS_OPTION, None)
    if given is not None and filters["expression"] is not None:
        raise UsageError("the filter is given twice", hint="join the two with &")
    return Filter(**filters if given is None else {**filters, "expression": given})


def open_catalogue(root: Path) -> Catalogue:
    """Open the sessions of a root. The import is late: it brings the index and the log with it."""
    from wiretape.session.catalogue import Catalogue  # noqa: PLC0415

    return Catalogue(root)
