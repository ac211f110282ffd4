"""What a view may cost: everything captured is hostile, and a body can be made so that reading it never ends."""

from __future__ import annotations

from typing import Any, Final

from wiretape.errors import UsageError

MAX_PARSED: Final = 16 * 1024 * 1024
"""Bytes of a body that is taken apart; a value takes some ten times as much memory."""
MAX_DEPTH: Final = 200
"""Objects and arrays within each other; what people and programs write has fewer than 20."""
MAX_NODES: Final = 1_000_000
"""Values in one body that are looked at."""


class ViewError(UsageError):
    """A body cannot be seen in the way that was asked for; the message says why."""

    code = "view"


def too_deep(what: str) -> ViewError:
    """Return the error for nesting that is refused."""
    return ViewError(
        f"{what} is nested deeper than {MAX_DEPTH} levels, which is not taken apart", hint="view text shows it as it is"
    )


def check_size(data: bytes, what: str) -> None:
    """Refuse a body that is too long to be taken apart.

    Raises:
        ViewError: it is longer than MAX_PARSED.
    """
    if len(data) > MAX_PARSED:
        raise ViewError(
            f"{what} has {len(data):,} bytes; up to {MAX_PARSED:,} are taken apart",
            hint="write it to a file, or look at a range of it as text",
        )


def check_depth(value: Any, what: str) -> Any:
    """Return a value back if it is not nested too deep; without recursion, so that any depth is survived.

    Raises:
        ViewError: it is deeper than MAX_DEPTH.
    """
    level: list[Any] = [value] if isinstance(value, dict | list) else []
    for _ in range(MAX_DEPTH):
        if not level:
            return value
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
    if level:
        raise too_deep(what)
    return value
