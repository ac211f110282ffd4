"""``wiretape exchange``."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from wiretape.cli.options import json_option, open_catalogue, root_option, session_argument
from wiretape.cli.output import note, print_value, size_text, visible, write_bytes, write_line, write_text
from wiretape.cli.progress import bring_up
from wiretape.errors import StorageError, UsageError

if TYPE_CHECKING:
    from wiretape.model import ExchangeDetail, Message

EXAMPLES = """\b
Examples:
  wiretape exchange last 42
  wiretape exchange last 42 --json | jq .response.headers
  wiretape exchange last 42 --body response -o page.html
  wiretape exchange last 42 --body request --raw | xxd | head
"""


@click.command("exchange", epilog=EXAMPLES)
@session_argument
@click.argument("seq", type=click.IntRange(1))
@click.option("--body", "side", type=click.Choice(["request", "response"]), help="Write this body instead.")
@click.option("--raw", is_flag=True, help="With --body: as it was on the wire, content encoding left on.")
@click.option("-o", "output", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write to FILE.")
@root_option
@json_option
def command(
    *,
    session: str,
    seq: int,
    side: Literal["request", "response"] | None,
    raw: bool,
    output: Path | None,
    root: Path,
    as_json: bool,
) -> None:
    """Show the exchange SEQ of SESSION whole, or write one of its bodies."""
    if side is None and (raw or output is not None):
        raise UsageError("--raw and -o belong to --body", hint="add --body request or --body response")
    if side is not None and as_json:
        raise UsageError("--json and --body exclude each other", hint="leave one of them out")
    with open_catalogue(root).open(session) as opened:
        bring_up(opened)
        if side is not None:
            _write_body(opened.raw_body(seq, side, decoded=not raw), output)
            return
        detail = opened.exchange(seq)
    if as_json:
        print_value(detail)
    else:
        _print_exchange(detail)


def _write_body(pieces: Iterator[bytes], output: Path | None) -> None:
    if output is not None:
        try:
            with open(output, "wb", opener=_open_private) as file:
                file.writelines(pieces)
        except OSError as error:
            raise StorageError(f"cannot write {output}: {error.strerror}", hint="name another file after -o") from error
        return
    if not sys.stdout.isatty():
        for piece in pieces:
            write_bytes(piece)
        return
    body = b"".join(pieces)
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise UsageError("the body is not text and would garble the terminal", hint="add -o FILE, or a pipe") from error
    write_line(visible(text, keep="\n\t"))


def _open_private(path: str, flags: int) -> int:
    """Open a file that only its owner can read when it is made here: bodies hold passwords and personal data."""
    return os.open(path, flags, 0o600)


def _print_exchange(detail: ExchangeDetail) -> None:
    write_line(visible(f"{detail.exchange_id}  {detail.state}"))
    if detail.error:
        write_line(visible("error: " + ", ".join(f"{key}={value}" for key, value in detail.error.items())))
    for sentence in detail.notes:
        write_line(visible(f"note: {sentence}"))
    if detail.request is not None:
        request = detail.request
        _print_message(f"{request.method} {request.url} {request.http_version}", request)
    if detail.response is not None:
        response = detail.response
        _print_message(f"{response.http_version} {response.status_code} {response.status_message or ''}", response)
    timings = detail.timings
    names = ("dns", "connect", "tls", "send", "wait", "receive", "total")
    spent = [f"{name} {value:.1f}" for name in names if (value := getattr(timings, name)) is not None]
    write_line()
    write_line("timings (ms): " + (", ".join(spent) or "none"))
    if detail.tls:
        write_line(visible("tls: " + ", ".join(f"{key}={value}" for key, value in detail.tls.items())))


def _print_message(first_line: str, message: Message) -> None:
    write_line()
    write_line(visible(first_line.rstrip()))
    for name, value in message.headers:
        write_line(visible(f"{name}: {value}"))
    write_line()
    if message.body is not None:
        write_text(message.body)
    elif message.body_base64 is not None:
        write_line(f"({size_text(message.body_size)} that are not text; --body writes them)")
    for name, value in message.trailers:
        write_line(visible(f"{name}: {value}"))
    if message.body_note:
        note(message.body_note)
    if message.body_recorded != message.body_size:
        note(f"{message.body_recorded} of {message.body_size} body bytes are in the log")
