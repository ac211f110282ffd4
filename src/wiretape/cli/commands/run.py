"""``wiretape run``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wiretape.cli.options import complete_program, json_option, open_catalogue, root_option
from wiretape.cli.output import many, note, print_json
from wiretape.errors import WiretapeError

if TYPE_CHECKING:
    from wiretape.session.answers.run import RunSummary

_NAMED = 3
"""Kinds of errors that the summary names."""

EXAMPLES = """\b
Examples:
  wiretape run -- curl https://example.com/
  wiretape run --session nightly -- npm test
  wiretape run --session x -- ./script.sh; wiretape query x
"""


@click.command("run", epilog=EXAMPLES, context_settings={"allow_interspersed_args": False})
@click.option("--session", metavar="NAME", help="Name of the session. [default: the command's name]")
@click.option("--insecure-upstream", is_flag=True, help="Do not verify the servers' certificates.")
@click.option(
    "--upstream-ca",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Trust the roots in this PEM file too.",
)
@click.option("--keep-no-proxy", is_flag=True, help="Leave NO_PROXY as it is; those hosts are then not recorded.")
@root_option
@json_option
@click.argument(
    "words",
    metavar="-- CMD ARG...",
    nargs=-1,
    required=True,
    type=click.UNPROCESSED,
    shell_complete=complete_program,
)
def command(
    *,
    session: str | None,
    insecure_upstream: bool,
    upstream_ca: Path | None,
    keep_no_proxy: bool,
    root: Path,
    as_json: bool,
    words: tuple[str, ...],
) -> int:
    """Run a command with proxy and CA variables set, recorded in a session of its own.

    The proxy is the command's alone, on a free port, and ends with it; other captures are not disturbed. The session's
    id goes to stderr, at the end three lines of what was recorded; the exit status is the command's, 127 where there is
    none, 126 where it cannot be executed. With --json, stdout gets {"sessionId", "exitStatus", "exchanges", "failed",
    "errors", "warnings"} at the end, and what the command prints goes to stderr.
    """
    import asyncio  # noqa: PLC0415

    from wiretape.daemon.command import CommandOptions, program_of, run_command  # noqa: PLC0415

    options = CommandOptions(
        root=root,
        words=words,
        name=session or Path(words[0]).name,
        insecure_upstream=insecure_upstream,
        upstream_ca=None if upstream_ca is None else upstream_ca.absolute(),
        keep_no_proxy=keep_no_proxy,
        output=sys.stderr.fileno() if as_json else None,
    )
    program = program_of(words)
    ended = asyncio.run(run_command(options, program, lambda made: note(f"wiretape: session {made}")))
    summary = _summary(root, ended.session_id)
    if as_json:
        told = {} if summary is None else to_told(summary)
        print_json({"sessionId": ended.session_id, "exitStatus": ended.status, **told})
    elif summary is not None:
        for line in summary_lines(summary, ended.session_id):
            note(line)
    return ended.status


def _summary(root: Path, session_id: str) -> RunSummary | None:
    """Return what was recorded; the command's status counts, whatever keeps this from being read."""
    from wiretape.secrets.veil import UNVEILED  # noqa: PLC0415
    from wiretape.session.answers.run import run_summary  # noqa: PLC0415

    try:
        with open_catalogue(root).open(session_id) as opened:
            return run_summary(opened, veil=UNVEILED, trust="--upstream-ca FILE names one that you trust")
    except WiretapeError as error:
        note(f"wiretape: what was recorded cannot be summed up: {error}")
        return None


def to_told(summary: RunSummary) -> dict[str, Any]:
    """Return the summary's keys as JSON."""
    from wiretape.model import to_json  # noqa: PLC0415

    return dict(to_json(summary))


def summary_lines(summary: RunSummary, session_id: str) -> list[str]:
    """Return at most three lines of what a command caused, and a line for each warning."""
    failed = f", {summary.failed} failed" if summary.failed else ""
    lines = [f"wiretape: {many(summary.exchanges, 'exchange')}{failed} in session {session_id}"]
    if summary.errors is not None:
        rows = summary.errors.rows
        shown = [" ".join(str(cell) for cell in (f"{row[2]}", f"{row[1]} (seq {row[0]})")) for row in rows[:_NAMED]]
        more = f", {len(rows) - _NAMED} more" if len(rows) > _NAMED else ""
        lines.append(f"wiretape: errors: {', '.join(shown)}{more}")
    if summary.exchanges:
        lines.append("wiretape: `wiretape show last` has the whole picture, `wiretape query last` every exchange")
    return [*lines, *(f"wiretape: {warning}" for warning in summary.warnings)]
