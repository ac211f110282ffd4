"""``wiretape llm``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from wiretape.cli.addresses import address_argument, take_place
from wiretape.cli.options import json_option, open_catalogue, root_option
from wiretape.cli.output import (
    many,
    note,
    print_table,
    print_value,
    styled,
    terminal_width,
    visible,
    write_line,
    write_text,
)
from wiretape.cli.progress import bring_up
from wiretape.errors import UsageError

if TYPE_CHECKING:
    from wiretape.session.answers.llm import LlmCall, LlmCalls

EXAMPLES = """\b
Examples:
  wiretape llm last
  wiretape llm last:20
  wiretape llm last '~d api.openai.com' --json | jq .totals
"""


@click.command("llm", epilog=EXAMPLES)
@address_argument
@click.option("--limit", type=click.IntRange(1, 10_000), default=200, show_default=True, help="Calls at most.")
@click.option("--cursor", metavar="C", help="Go on where an earlier answer ended.")
@root_option
@json_option
def command(*, words: tuple[str, ...], limit: int, cursor: str | None, root: Path, as_json: bool) -> None:
    """List the calls of language models in a session, or show the conversation of one (SESSION:SEQ).

    OpenAI, Anthropic, Gemini, Ollama and Bedrock. A FILTER behind a session chooses the exchanges.
    """
    from wiretape.model import Filter  # noqa: PLC0415
    from wiretape.session.answers.llm import llm_call, llm_calls  # noqa: PLC0415

    session, seq, rest = take_place(words)
    if seq is not None and rest:
        raise UsageError(f"{' '.join(rest)[:80]!r} is one word too many", hint="a filter goes with a whole session")
    with open_catalogue(root).open(session) as opened:
        bring_up(opened)
        if seq is not None:
            call = llm_call(opened, seq, whole=True)
            if as_json:
                print_value(call)
            else:
                _print_call(call)
            return
        wanted = Filter(expression=" ".join(rest)) if rest else None
        found = llm_calls(opened, wanted, limit=limit, cursor=cursor)
    if as_json:
        print_value(found)
    else:
        _print_calls(found)


_WIDE: Final = 96
"""Columns from which on a terminal has room for everything."""


def _print_calls(found: LlmCalls) -> None:
    columns = found.calls.columns
    right = {"seq", "in", "cached", "out", "ms", "ttftMs"}
    rows = [
        ["-" if value is None else str(value) for value in [*row, *[None] * (len(columns) - len(row))]]
        for row in found.calls.rows
    ]
    # Who called what matters more than which API it was; --json and a single call have everything.
    wide = not sys.stdout.isatty() or terminal_width() >= _WIDE
    kept = [at for at, name in enumerate(columns) if wide or name not in {"api", "cached"}]
    print_table(
        [(columns[at], "right" if columns[at] in right else "left") for at in kept],
        [[row[at] for at in kept] for row in rows],
        empty="There are no calls of language models that are known here.",
    )
    if rows:
        totals = found.totals
        used = f"{totals.input:,} tokens in ({totals.cached:,} cached), {totals.output:,} out"
        note(f"{many(found.returned, 'call')}: {used}")
    if found.missing:
        note(f"not seen: {found.missing}")
    if found.next_cursor:
        note(f"more: --cursor {found.next_cursor}")


def _print_call(call: LlmCall) -> None:
    usage = ", ".join(
        f"{name} {count:,}"
        for name in ("input", "cached", "output", "reasoning")
        if (count := getattr(call.usage, name)) is not None
    )
    took = [f"{call.ms.total:,.0f} ms"] if call.ms.total is not None else []
    if call.ms.first_token is not None:
        took.append(f"first token after {call.ms.first_token:,.0f} ms")
    parts = [call.api, call.model or "", call.finish or "", *took]
    write_line(visible("  ".join(part for part in parts if part)))
    if usage:
        write_line(f"tokens: {usage}")
    if call.tools:
        write_line(visible(f"tools offered: {', '.join(call.tools)}"))
    for message in call.messages:
        write_line()
        write_line(styled(visible(f"{message.role}:"), "cyan"))
        write_text(message.text)
    if call.output is not None:
        write_line()
        write_line(styled("answer:", "green"))
        if call.output.reasoning:
            write_text(f"(reasoning) {call.output.reasoning}")
        if call.output.text:
            write_text(call.output.text)
        for tool in call.output.tool_calls:
            write_line(styled(visible(f"calls {tool.name}({tool.arguments})"), "yellow"))
    for sentence in (call.error, call.missing):
        if sentence:
            write_line(styled(visible(sentence), "red"))
