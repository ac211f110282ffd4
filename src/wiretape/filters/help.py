"""The help of the filter language, made of its operators."""

from __future__ import annotations

from typing import Final

from wiretape.filters.catalogue import GROUPS
from wiretape.filters.tree import Operator

JOINED: Final = (
    ("! X", "not X"),
    ("X & Y", "both; X Y side by side means the same, and binds looser than |"),
    ("X | Y", "one of them, or both"),
    ("( ... )", "brackets"),
    ("'...'", "a value with spaces, brackets, quotation marks or ~ in it"),
)

_INTRODUCTION: Final = """\
# Filters

<!-- Made by `python -m wiretape.filters.help`; a test holds it to that. -->

A filter says which exchanges are meant. It is one text, the same on the command line and over MCP (`filter`):

    wiretape query last '~m POST & ~d example.com & ~c 5xx'
    wiretape query last '~err | ~ms >1000' --since -5m
    wiretape query last '/api/ & !~ts image & !~bs token'

The language is mitmproxy's, with additions. Where a value is `REGEX` it is a regular expression of
[RE2](https://github.com/google/re2/wiki/Syntax): found anywhere in the text unless `^` and `$` say otherwise, upper or
lower case the same, in linear time. Back-references and look-around are not supported. All other values are literal.
A word without an operator is looked for in the URL. Put a filter in single quotes: shells know `!`, `&` and `|`, too.

| written | means |
|---|---|
"""

_END: Final = r"""
Times (`--since`, `--until`; `since`, `until`) are not part of the language. They take a time of ISO 8601, a time of
day, milliseconds since the epoch, how long ago (`-5m`, `-30s`, `-2h`), a seq (any number below 100,000,000,000), or the
label of a mark (`wiretape mark`, `proxy_mark`).

## What cannot be decided

A part of an exchange may not be recorded: a body cut by the preview profile or by damage, one that does not decode, one
that is still running. A filter that asks for it then has no answer for that exchange. Such exchanges are not listed,
neither by `~bs token` nor by `!~bs token`, and the answer's coverage names them.

## What differs from mitmproxy

- Inside quotation marks a backslash keeps its meaning before anything but a quotation mark or a backslash: `'\d+'` is a
  number.
- `$` stands before the end of each header's line. Regular expressions are RE2's, not Python's.
- Parts may stand side by side inside brackets, too.
- There are no `~tcp`, `~udp`, `~dns` (only HTTP is recorded), `~marked`, `~marker` (marks are points in time), `~meta`,
  `~comment`.
"""


def written(operator: type[Operator]) -> str:
    """Return how an operator is written, with what it takes."""
    return " ".join(part for part in (", ".join(operator.symbols), operator.takes) if part)


def table() -> str:
    """Return the operators and what they mean, a line each, for a terminal."""
    rows = [(written(operator), operator.help) for _, group in GROUPS for operator in group] + list(JOINED)
    width = max(len(left) for left, _ in rows)
    return "\n".join(f"  {left:<{width}}  {right}" for left, right in rows)


def page() -> str:
    """Return docs/filters.md."""
    lines = [_INTRODUCTION.rstrip("\n")]
    lines += [f"| `{_cell(left)}` | {_cell(right)} |" for left, right in JOINED]
    for title, group in GROUPS:
        lines += ["", f"## {title}", "", "| operator | means | example |", "|---|---|---|"]
        lines += [f"| `{_cell(written(one))}` | {_cell(one.help)} | `{_cell(one.example)}` |" for one in group]
    return "\n".join(lines) + "\n" + _END


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    from pathlib import Path

    Path("docs/filters.md").write_text(page())
