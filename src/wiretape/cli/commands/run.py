"""``wiretape run``."""

from __future__ import annotations

from pathlib import Path

import click

from wiretape.cli.options import json_option, root_option

EXAMPLES = """\b
Examples:
  wiretape run -- curl https://example.com/
  wiretape run --session nightly -- npm test
  wiretape query "$(wiretape run -- ./script.sh 2>&1 >/dev/null | sed -n 's/^wiretape: session //p')"
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
@click.argument("words", metavar="-- CMD ARG...", nargs=-1, required=True, type=click.UNPROCESSED)
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
    id goes to stderr, the exit status is the command's. With --json, stdout gets {"sessionId", "exitStatus"} at the
    end, and what the command prints goes to stderr.
    """
    from wiretape.cli.capture import RunOptions, run_recorded  # noqa: PLC0415

    return run_recorded(
        RunOptions(
            root=root,
            words=words,
            name=session or Path(words[0]).name,
            insecure_upstream=insecure_upstream,
            upstream_ca=None if upstream_ca is None else upstream_ca.absolute(),
            keep_no_proxy=keep_no_proxy,
            as_json=as_json,
        )
    )
