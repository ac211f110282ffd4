"""``wiretape export``."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wiretape.cli.options import (
    complete_exchange,
    filter_options_alone,
    json_option,
    make_filter,
    open_catalogue,
    root_option,
)
from wiretape.cli.output import many, note, print_value, size_text, visible, write_line, writing_output
from wiretape.cli.progress import bring_up, progress
from wiretape.errors import UsageError

if TYPE_CHECKING:
    from wiretape.session.answers.export import Exported
    from wiretape.session.catalogue import Catalogue

EXAMPLES = """\b
Examples:
  wiretape export last --format har -o bug.har --redact
  wiretape export last:31 --format curl | pbcopy
  wiretape export checkout --format pytest -o test_checkout.py --host api.example.com
  wiretape export good bad --format openapi -o api.json
  wiretape export last --format ndjson -o - | jq .request.url
"""
FORMATS = ("har", "ndjson", "curl", "httpx", "pytest", "k6", "openapi")


def _each_format_as_flag(command: Callable[..., Any]) -> Callable[..., Any]:
    """Take ``--har`` for ``--format har``, and so on: that is what people try first."""
    for name in reversed(FORMATS):
        command = click.option(f"--{name}", "what", flag_value=name, hidden=True)(command)
    return command


@click.command("export", epilog=EXAMPLES)
@click.argument("sessions", metavar="SESSION[:SEQ]...", nargs=-1, required=True, shell_complete=complete_exchange)
@click.option(
    "--format", "what", type=click.Choice(FORMATS), default="har", show_default=True, help="Also --har, --curl, ..."
)
@_each_format_as_flag
@click.option("-o", "output", metavar="FILE", help="Write to FILE, - is stdout. [default: a new file in ROOT/exports]")
@click.option("--redact", is_flag=True, help="Replace secrets and e-mail addresses, and check that none is left.")
@click.option(
    "--for", "shell", type=click.Choice(["sh", "powershell"]), default="sh", help="The shell of curl commands."
)
@click.option("--no-bodies", is_flag=True, help="HAR: leave bodies out.")
@filter_options_alone
@root_option
@json_option
def command(
    *,
    sessions: tuple[str, ...],
    what: Any,
    output: str | None,
    redact: bool,
    shell: str,
    no_bodies: bool,
    root: Path,
    as_json: bool,
    **filters: Any,
) -> None:
    """Write the exchanges of SESSION in another program's format: HAR 1.2, lines of JSON, curl commands, a program or
    tests in Python, a script for k6, OpenAPI 3.1.

    The file is new, and yours alone. Without --redact it holds every password and token that was recorded.
    """
    from wiretape.session.answers.export_formats import Export  # noqa: PLC0415

    if output == "-" and as_json:
        raise UsageError("--json and -o - both write to stdout", hint="leave one of them out")
    catalogue = open_catalogue(root)
    names, seqs = _addressed(sessions)
    one_command = what == "curl" and len(sessions) == 1 and seqs and output is None and not redact and not as_json
    if one_command:
        _print_curl(catalogue, names[0], seqs[0], shell)
        return
    wanted = make_filter({**filters, **({"seqs": seqs} if seqs else {})})
    title = names[0] if len(names) == 1 else ", ".join(names)
    export = Export(what, wanted, redact=redact, bodies=not no_bodies, shell=shell, title=title)
    to_stdout = output == "-"
    with tempfile.TemporaryDirectory(prefix="wiretape-") as folder:
        target = Path(folder) / "export" if to_stdout else _target(root, output, names, seqs, what)
        written = _write(catalogue, names, export, target, quiet=as_json)
        if to_stdout:
            with target.open("rb") as file, writing_output():
                shutil.copyfileobj(file, sys.stdout.buffer)
                sys.stdout.buffer.flush()
            return
    if as_json:
        print_value(written)
    else:
        _print(written)


def _addressed(sessions: tuple[str, ...]) -> tuple[list[str], list[int]]:
    """Take addresses apart: sessions, and the numbers of single exchanges."""
    from wiretape.session.ids import split_address  # noqa: PLC0415

    names: list[str] = []
    seqs: list[int] = []
    for one in sessions:
        name, colon, _ = one.rpartition(":")
        if colon:
            seqs.append(split_address(one).seq)
        names.append(name if colon else one)
    if seqs and (len(set(names)) > 1 or len(seqs) < len(sessions)):
        raise UsageError("single exchanges are taken of one session", hint="export the sessions one by one")
    return list(dict.fromkeys(names)), seqs


def _target(root: Path, output: str | None, names: list[str], seqs: list[int], what: str) -> Path:
    from wiretape.new_file import EXPORTS, free_name  # noqa: PLC0415
    from wiretape.private_files import private_folder  # noqa: PLC0415
    from wiretape.session.answers.export_formats import SUFFIXES  # noqa: PLC0415

    if output is not None:
        return Path(output).absolute()
    private_folder(root / EXPORTS)
    return free_name(root / EXPORTS, "-".join([*names, *map(str, seqs[:1])]), SUFFIXES[what])


def _write(catalogue: Catalogue, names: list[str], export: Any, target: Path, *, quiet: bool) -> Exported:
    from contextlib import ExitStack  # noqa: PLC0415

    from wiretape.session.answers.export import export_file  # noqa: PLC0415

    with ExitStack() as stack:
        opened = [stack.enter_context(catalogue.open(name)) for name in names]
        for session in opened:
            bring_up(session)
        with progress("export", quiet=quiet, patience=0.5) as report:
            return export_file(opened, export, target, progress=report)


def _print_curl(catalogue: Catalogue, session: str, seq: int, shell: str) -> None:
    from wiretape.session.answers.curl import curl_command  # noqa: PLC0415

    with catalogue.open(session) as opened:
        bring_up(opened)
        found, lines = curl_command(opened, seq, shell)
    write_line(visible(f"{lines}{found.text}", keep="\n\t"))


def _print(written: Exported) -> None:
    write_line(visible(written.file or ""))
    note(f"{many(written.exchanges or 0, 'exchange')} as {written.format}, {size_text(written.bytes)}")
    if written.redacted is not None:
        counts = written.redacted
        note(f"{counts.values} secrets and addresses replaced in {counts.places} places; {written.check}")
    for one in written.left[:5]:
        note(f"  seq {one.seq}: {one.why}")
    more = len(written.left) - 5 + written.left_more
    if more > 0:
        note(f"  and {more} more")
