"""JSON as lines: every reader is to see one line a document."""

from __future__ import annotations

from typing import Final

_LINE_ENDS: Final = {ord(char): f"\\u{ord(char):04x}" for char in "\x85\u2028\u2029"}


def one_line(document: str) -> str:
    """Escape in a JSON document what some readers take for the end of a line: U+0085, U+2028, U+2029.

    JSON allows them in its strings as they are, but Python's ``str.splitlines`` and JavaScript before 2019 split there.
    """
    return document if document.isascii() else document.translate(_LINE_ENDS)
