"""``wiretape messages``."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wiretape.cli.addresses import address_argument, take_place
from wiretape.cli.options import json_option, open_catalogue, root_option
from wiretape.cli.output import note, print_value, size_text, styled, terminal_width, visible, write_line, write_lines
from wiretape.cli.progress import bring_up
from wiretape.errors import UsageError

if TYPE_CHECKING:
    from wiretape.session.answers.messages import MessageItem, MessagesWanted
    from wiretape.session.session import Session

EXAMPLES = """\b
Examples:
  wiretape messages last:29
  wiretape messages last '~d api.example.com'
  wiretape messages last:29 --follow
  wiretape messages last:29 --length 100000 --json | jq -r '.items[].body'
"""
_LENGTH = 200
_BEFORE = 50
"""Columns that stand before a message's text, as a rule."""
FOLLOW_EVERY = 0.2
"""Seconds between two looks at an exchange that is followed."""


@click.command("messages", epilog=EXAMPLES)
@address_argument
@click.option("--limit", type=click.IntRange(1, 100_000), default=1_000, show_default=True, help="Messages at most.")
@click.option(
    "--length", type=click.IntRange(1), metavar="N", help="Characters of each. [default: what fits, all in JSON]"
)
@click.option("--cursor", metavar="C", help="Go on where an earlier answer ended.")
@click.option("--follow", is_flag=True, help="Go on: print what one exchange still says, until it ends or Ctrl-C.")
@root_option
@json_option
def command(
    *,
    words: tuple[str, ...],
    limit: int,
    length: int | None,
    cursor: str | None,
    follow: bool,
    root: Path,
    as_json: bool,
) -> None:
    """List the messages of a session or an exchange (SESSION:SEQ), oldest first: of WebSockets, event streams, gRPC.

    A FILTER behind it chooses the exchanges.
    """
    from wiretape.model import Filter  # noqa: PLC0415
    from wiretape.session.answers.messages import MessagesWanted, messages, one_of  # noqa: PLC0415

    session, seq, rest = take_place(words)
    if seq is not None and rest:
        raise UsageError(f"{' '.join(rest)[:80]!r} is one word too many", hint="a filter goes with a whole session")
    if follow and seq is None:
        raise UsageError("--follow is for one exchange", hint="wiretape messages SESSION:SEQ --follow")
    wanted = MessagesWanted(
        seq=seq,
        exchanges=Filter(expression=" ".join(rest)) if rest else None,
        limit=limit,
        length=length or (16 * 1024 * 1024 if as_json else _fitting()),
        cursor=cursor,
    )
    with open_catalogue(root).open(session) as opened:
        bring_up(opened)
        if follow:
            _follow(opened, wanted, as_json=as_json)
            return
        found = messages(opened, wanted)
    if seq is not None and cursor is None:
        one_of(found, seq)
    if as_json:
        print_value(found)
        return
    write_lines([_line(item, alone=seq is not None) for item in found.items])
    if not found.items:
        write_line("There are no messages.")
    if found.missing:
        note(f"not seen: {found.missing}")
    if found.next_cursor:
        note(f"more: --cursor {found.next_cursor}")


def _follow(session: Session, wanted: MessagesWanted, *, as_json: bool) -> None:
    """Print the messages of an exchange as they come, in JSON one a line, until it has ended or somebody interrupts."""
    from msgspec.structs import replace  # noqa: PLC0415

    from wiretape.session.answers.messages import messages, one_of  # noqa: PLC0415

    while True:
        found = messages(session, wanted)
        if wanted.cursor is None and not found.open:
            one_of(found, wanted.seq or 0)
        if as_json:
            for item in found.items:
                print_value(item)
        else:
            write_lines([_line(item, alone=True) for item in found.items])
        sys.stdout.flush()
        if found.next_cursor is None:
            return
        wanted = replace(wanted, cursor=found.next_cursor)
        if len(found.items) < wanted.limit:
            time.sleep(FOLLOW_EVERY)


def _fitting() -> int:
    """Return how many characters of a message fit into a line of a terminal."""
    return max(30, terminal_width() - _BEFORE) if sys.stdout.isatty() else _LENGTH


def _line(item: MessageItem, *, alone: bool) -> str:
    from datetime import datetime  # noqa: PLC0415

    from msgspec import UNSET  # noqa: PLC0415

    from wiretape.views.json_text import write_json  # noqa: PLC0415

    moment = datetime.fromtimestamp(item.timestamp / 1000).astimezone()
    arrow = styled("<-", "green") if item.from_ == "server" else styled("->", "cyan")
    what = item.kind if item.event is None else f"{item.kind} {item.event}"
    text = item.body if item.body is not None else item.body_base64 or ""
    if item.value is not UNSET:
        text = write_json(item.value)
    left = f"… {item.left:,} more" if item.left else ""
    told = f"  ({item.note})" if item.note else ""
    where = "" if alone else f"{item.seq:>6}  "
    clock = f"{moment:%H:%M:%S}.{item.timestamp % 1000:03d}"
    head = f"{where}{clock}  {arrow} {item.number:<3} {visible(what)}  {size_text(item.size)}"
    return f"{head}  {visible(text)}{left}{visible(told)}"
