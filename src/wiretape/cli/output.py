"""What is printed, and how: JSON for programs, text for people; captured data never reaches a terminal raw."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, Final, TextIO

from wiretape.errors import StorageError
from wiretape.json_lines import one_line

_NAMED = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories that steer a terminal, reorder what is seen (bidi controls), or cannot be encoded."""


_PIECE: Final = 64 * 1024
OUTPUT: Final = "output"
"""The code of an error that says that stdout cannot be written."""
_WEIGHTS: Final = frozenset({"bold", "dim"})
GAP: Final = 2
"""Columns of a terminal between those of a table."""
_NARROWEST: Final = 6
"""Characters that a column of a table needs to be read at all."""


def visible(text: str, *, keep: str = "") -> str:
    """Write every character that could steer a terminal or deceive the eye as an escape (``\\x1b``).

    Args:
        text: anything that was captured, or contains something captured.
        keep: characters to leave as they are, for text of several lines ``"\\n\\t"``.
    """
    if text.isascii() and text.isprintable():
        return text
    if len(text) > _PIECE:  # a character beyond Latin-1 takes 60 bytes while it is one of those that are joined
        return "".join(visible(text[at : at + _PIECE], keep=keep) for at in range(0, len(text), _PIECE))
    return "".join(char if char in keep else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    if unicodedata.category(char) not in _UNSAFE:
        return char
    if char in _NAMED:
        return _NAMED[char]
    number = ord(char)
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def print_json(document: Any) -> None:
    """Print one JSON document as one line on stdout.

    JSON escapes C0 controls by itself; towards a terminal everything beyond ASCII is escaped too, because C1 and
    bidi controls are not covered by that. So it is for an output that cannot take every character.
    """
    ascii_only = sys.stdout.isatty() or (sys.stdout.encoding or "").lower().replace("-", "") != "utf8"
    text = json.dumps(document, ensure_ascii=ascii_only, separators=(",", ":"))
    # DEL is the one control that JSON leaves alone within ASCII.
    write_line(text.replace("\x7f", "\\u007f") if ascii_only else one_line(text))


def print_value(value: Any) -> None:
    """Print a value of the model as one JSON document."""
    from wiretape.model import to_json  # noqa: PLC0415

    print_json(to_json(value))


def write_line(text: str = "") -> None:
    """Print one line on stdout; what cannot be encoded there becomes an escape instead of an error."""
    write_bytes((text + "\n").encode(sys.stdout.encoding or "utf-8", "backslashreplace"))


def write_bytes(data: bytes) -> None:
    """Write bytes to stdout at once; raises as ``writing_output`` does."""
    with writing_output():
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.flush()


@contextlib.contextmanager
def writing_output() -> Iterator[None]:
    """Name what fails when stdout is written.

    Raises:
        StorageError: the system does not take it; ``code`` is OUTPUT. BrokenPipeError: the reader has gone.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise StorageError(
            f"standard output cannot be written: {error.strerror or error}",
            hint="free its disk, or send the output elsewhere; what was recorded is not touched by this",
            code=OUTPUT,
        ) from error


def write_lines(lines: Sequence[str]) -> None:
    """Print lines, through a pager where a person would not see the first ones any more.

    ``PAGER`` names it, ``less`` without; ``PAGER=cat`` or an empty one wants none.
    """
    import shlex  # noqa: PLC0415
    import shutil  # noqa: PLC0415
    import subprocess  # noqa: PLC0415

    words = shlex.split(os.environ.get("PAGER", "less"))
    people = sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    program = shutil.which(words[0]) if words and words[0] != "cat" and people else None
    if program is None or len(lines) < shutil.get_terminal_size((80, 24)).lines:
        for line in lines:
            write_line(line)
        return
    text = ("\n".join(lines) + "\n").encode("utf-8", "backslashreplace")
    # less: colours as they are, no pager for one screen, and the text stays when it ends.
    variables = {"LESS": "FRX", **os.environ}
    done = subprocess.run([program, *words[1:]], input=text, env=variables, check=False)
    if done.returncode == 127:
        for line in lines:
            write_line(line)


def styled(text: str, colour: str) -> str:
    """Return a text in a colour, or ``bold`` or ``dim``, where colours are wanted (NO_COLOR, see no-color.org)."""
    import click  # noqa: PLC0415

    if not wants_colour(sys.stdout):
        return text
    return click.style(text, **{colour: True}) if colour in _WEIGHTS else click.style(text, fg=colour)


def wants_colour(stream: TextIO) -> bool:
    """Return whether what goes to a stream is coloured: ``--color``, else NO_COLOR, else on terminals alone."""
    import click  # noqa: PLC0415

    context = click.get_current_context(silent=True)
    asked = (context.find_root().obj or {}).get("color", "auto") if context is not None else "auto"
    if asked != "auto":
        return bool(asked == "always")
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" and stream.isatty()


def terminal_width() -> int:
    """Return the columns of the terminal on stdout, 80 where that is not known."""
    import shutil  # noqa: PLC0415

    return max(20, shutil.get_terminal_size((80, 24)).columns)


def width_of(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    return sum(_columns(char) for char in text)


def _columns(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def shorten(text: str, room: int | None) -> str:
    """Cut a text in the middle so that it fits into so many columns of a terminal; None cuts nothing."""
    if room is None or width_of(text) <= room:
        return text
    end = room // 3
    head, tail = text[: room - end - 1], text[len(text) - end :] if end else ""
    # Characters two columns wide: fewer of them fit.
    while width_of(head) > room - end - 1:
        head = head[:-1]
    while width_of(tail) > end:
        tail = tail[1:]
    return f"{head}…{tail}"


def fitted(text: str, taken: int = 0) -> str:
    """Return a text cut at its end to what a line of the terminal has left; whole where stdout is none.

    Args:
        text: without colours.
        taken: columns that something else in the line takes.
    """
    if not sys.stdout.isatty():
        return text
    room = max(1, terminal_width() - taken)
    if width_of(text) <= room:
        return text
    cut = text[: room - 1]
    while width_of(cut) > room - 1:
        cut = cut[:-1]
    return f"{cut}…"


def write_text(text: str) -> None:
    """Print text of any length and of several lines on stdout, made visible a piece at a time."""
    for start in range(0, len(text), _PIECE):
        piece = visible(text[start : start + _PIECE], keep="\n\t")
        write_bytes(piece.encode(sys.stdout.encoding or "utf-8", "backslashreplace"))
    write_line()


def note(text: str) -> None:
    """Tell a person something on stderr."""
    sys.stderr.write(visible(text, keep="\n\t") + "\n")


def print_table(columns: Sequence[tuple[str, str]], rows: Iterable[Iterable[str]], *, empty: str) -> None:
    """Print rows as a table on stdout, cells escaped.

    Args:
        columns: heading and alignment (``left`` or ``right``) of each.
        rows: the cells as plain text.
        empty: the sentence to print when there are no rows.
    """
    lines = [[visible(cell) for cell in row] for row in rows]
    if not lines:
        write_line(empty)
        return
    if not sys.stdout.isatty():
        # For grep and awk: whole cells, tabs between, no frame.
        write_line("\t".join(heading for heading, _ in columns))
        for line in lines:
            write_line("\t".join(line))
        return
    headings = [heading for heading, _ in columns]
    rights = [align == "right" for _, align in columns]
    widths = [max(map(width_of, column)) for column in zip(headings, *lines, strict=True)]
    widths = _fitting(widths, rights, terminal_width())
    if not widths:
        _print_blocks(headings, lines)
        return
    write_line(styled(row_text(headings, widths, rights), "bold"))
    write_line("─" * (sum(widths) + GAP * (len(widths) - 1)))
    for line in lines:
        write_line(row_text(line, widths, rights))


def _fitting(widths: Sequence[int], rights: Sequence[bool], room: int) -> list[int]:
    """Return widths of columns that fit into a terminal: texts are cut for that, numbers never; none where none do."""
    found = [width if right else min(width, room) for width, right in zip(widths, rights, strict=True)]
    excess = sum(found) + GAP * (len(found) - 1) - room
    while excess > 0:
        texts = [at for at, right in enumerate(rights) if not right and found[at] > _NARROWEST]
        if not texts:
            return []
        longest = max(texts, key=lambda at: found[at])
        found[longest] -= 1
        excess -= 1
    return found


def row_text(cells: Sequence[str], widths: Sequence[int], rights: Sequence[bool]) -> str:
    """Return a row of a table: each cell cut or filled to the width of its column, at the right where that is said."""
    padded = []
    for cell, width, right in zip(cells, widths, rights, strict=True):
        shown = shorten(cell, width)
        space = " " * (width - width_of(shown))
        padded.append(space + shown if right else shown + space)
    return (" " * GAP).join(padded).rstrip()


def _print_blocks(headings: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    """Print each row as lines of heading and cell, for a terminal too narrow for a table."""
    for number, line in enumerate(lines):
        if number:
            write_line()
        for heading, cell in zip(headings, line, strict=True):
            write_line(f"{heading}: {cell}")


def many(count: int, thing: str) -> str:
    """Write how many there are of a thing: ``1 exchange``, ``1,234 exchanges``."""
    return f"{count:,} {thing}" if count == 1 else f"{count:,} {thing}s"


def size_text(size: int | None) -> str:
    """Write a number of bytes for people: ``0 B``, ``1.5 kB``, ``2.0 GB`` (powers of 1000)."""
    if size is None:
        return "-"
    value = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def time_text(milliseconds: int | None) -> str:
    """Write a time, given in milliseconds since the epoch, in local time for people."""
    if milliseconds is None:
        return "-"
    moment = local_time(milliseconds)
    return f"@{milliseconds}" if moment is None else moment.strftime("%Y-%m-%d %H:%M:%S")


def local_time(milliseconds: int) -> datetime | None:
    """Return a time in the local zone; None where no calendar has it."""
    try:
        return datetime.fromtimestamp(milliseconds / 1000).astimezone()
    except (OverflowError, OSError, ValueError):
        return None
