"""``wiretape body``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, cast

import click

from wiretape.cli.addresses import address_argument, take_address
from wiretape.cli.options import json_option, open_catalogue, root_option
from wiretape.cli.output import note, print_value, visible, write_bytes, write_line, write_lines, write_text
from wiretape.cli.progress import bring_up
from wiretape.errors import UsageError

if TYPE_CHECKING:
    from wiretape.session.answers.read_body import BodyPart
    from wiretape.session.session import Session

EXAMPLES = """\b
Examples:
  wiretape body last:8 --shape
  wiretape body last:8 --path '/data/*[id=p_0270]/price'
  wiretape body last:8 --grep 'card declined'
  wiretape body last:8 request | jq .
  wiretape body last:8 -o page.html
"""
_VIEWS: Final = (
    "text", "json", "form", "multipart", "graphql", "protobuf", "grpc", "sse", "jwt", "msgpack", "html", "image", "hex",
)  # fmt: skip
_SIDES: Final = ("request", "response")
_FEW: Final = 4_000
_ALL: Final = 16 * 1024 * 1024


@click.command("body", epilog=EXAMPLES)
@address_argument
@click.option("--path", metavar="P", help="What is at this JSON Pointer (with * and [key=value]) or JSONPath.")
@click.option("--shape", is_flag=True, help="Keys and types instead of values.")
@click.option("--grep", metavar="S", help="Where S is in it; /S/ is a regular expression.")
@click.option("--view", type=click.Choice(_VIEWS), help="How to see it. [default: by content type]")
@click.option("--offset", type=click.IntRange(0), metavar="N", help="With --length: a range of its text.")
@click.option("--length", type=click.IntRange(1, _ALL), metavar="N", help="Characters to give at most.")
@click.option("--raw", is_flag=True, help="As it was on the wire, content encoding left on.")
@click.option("-o", "output", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write to FILE.")
@root_option
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    *,
    words: tuple[str, ...],
    path: str | None,
    shape: bool,
    grep: str | None,
    view: str | None,
    offset: int | None,
    length: int | None,
    raw: bool,
    output: Path | None,
    root: Path,
    as_json: bool,
) -> None:
    """Show the response's body of an exchange, or the request's (`body last:8 request`), or a part of it.

    Without options all of it is written: laid out on a terminal, as it is into a pipe.
    """
    from wiretape.session.answers.read_body import Wanted, read_body  # noqa: PLC0415

    session, seq, rest = take_address(words)
    side = _side(rest)
    part = path is not None or shape or grep is not None or view is not None or offset is not None
    if (raw or output is not None) and (part or as_json):
        raise UsageError("--raw and -o write the whole body", hint="leave them out, or the options that choose a part")
    with open_catalogue(root).open(session) as opened:
        bring_up(opened)
        if not part and not as_json and (raw or output is not None or not sys.stdout.isatty()):
            if output is not None:
                ctx.exit(write_file(opened, seq, side, output, raw=raw))
            write_out(opened.raw_body(seq, side, decoded=not raw))
            return
        wanted = Wanted(
            path=path,
            grep=grep,
            shape=shape,
            view=cast("Any", view),
            offset=offset,
            length=length or (_FEW if as_json else _ALL),
        )
        answer = read_body(opened, seq, side, wanted)
    if as_json:
        print_value(answer)
    else:
        _print(answer)


def _side(rest: tuple[str, ...]) -> Literal["request", "response"]:
    if not rest:
        return "response"
    if len(rest) > 1 or rest[0] not in _SIDES:
        raise UsageError(f"{' '.join(rest)[:80]!r} is not a side of an exchange", hint="write request or response")
    return cast("Literal['request', 'response']", rest[0])


def write_file(session: Session, seq: int, side: Literal["request", "response"], path: Path, *, raw: bool) -> int:
    """Write a body to a new file; return the exit status: 1 where not all of it was there."""
    from wiretape.session.answers.body_file import body_file  # noqa: PLC0415

    written = body_file(session, seq, side, path, raw=raw)
    if written.missing:
        note(f"{path} has what there is. {written.missing}")
    return 0 if written.complete else 1


def write_out(pieces: Iterator[bytes]) -> None:
    """Write a body to a pipe, or to a terminal as far as it is text."""
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


def _write_long(text: str) -> None:
    """Write a text of any length: through the pager where it is longer than the terminal is high."""
    if sys.stdout.isatty():
        write_lines([visible(line, keep="\t") for line in text.split("\n")])
    else:
        write_text(text)


def _print(answer: BodyPart) -> None:
    from msgspec import UNSET  # noqa: PLC0415

    from wiretape.views.json_text import write_json  # noqa: PLC0415

    for match in answer.matches:
        write_line(visible(match.path or "/") + (f"  ({match.bytes:,} bytes)" if match.shape else ""))
        write_text(match.shape if match.shape is not None else write_json(match.value, indent=2))
    if answer.hits is not None:
        for where, text in answer.hits.rows:
            write_line(visible(f"{where}: {text}"))
        note(f"{answer.of} hits" + (f", {answer.left} of them not shown" if answer.left else ""))
    if answer.value is not UNSET:
        _write_long(write_json(answer.value, indent=2))
    if answer.shape is not None:
        write_line(visible(answer.shape))
        if answer.try_:
            note(f"try --path '{answer.try_.removeprefix('path=')}'")
    if answer.text is not None:
        _write_long(answer.text)
    for sentence in (answer.note, answer.missing):
        if sentence:
            note(sentence)
    if answer.left and answer.hits is None:
        note(f"{answer.left:,} more: --length gives more at once")
