"""What the daemon's log lines look like."""

from __future__ import annotations

import logging
import re
from typing import Final

_STEERS: Final = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Controls, line ends and marks of direction; a tab is harmless."""


class OneLine(logging.Formatter):
    """A formatter whose messages stay on their line and steer no terminal, whatever captured text is in them (P14).

    A traceback keeps its lines, indented: none of them can pass for a message.
    """

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Format the line."""
        return _STEERS.sub(_escape, super().formatMessage(record))

    def format(self, record: logging.LogRecord) -> str:
        """Format the line and, behind it, the traceback."""
        return "\n  ".join(_STEERS.sub(_escape, line) for line in super().format(record).split("\n"))


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape", "surrogatepass").decode("ascii")
