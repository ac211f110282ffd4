"""What ``wiretape serve`` shows a person: a line an exchange, and at the end what was recorded."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from wiretape.cli.exchange_lines import one_line
from wiretape.cli.output import many, note, terminal_width, write_line
from wiretape.errors import StorageError

if TYPE_CHECKING:
    from wiretape.model import ExchangeSummary


class Terminal:
    """A person at a terminal. A terminal that is gone ends no recording."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet

    def traffic(self, ended: Sequence[ExchangeSummary], more: int) -> None:
        """Show exchanges that have ended, and how many more there are."""
        if self._quiet:
            return
        try:
            if more:
                write_line(f"{'...':>5}  {more:,} more")
            for item in ended:
                write_line(one_line(item, width=terminal_width()))
        except (BrokenPipeError, StorageError):
            self._quiet = True

    def end(self, session_id: str | None, exchanges: int) -> None:
        """Say what was recorded."""
        if sys.stderr.isatty():
            sys.stderr.write("\r")  # over the ^C that the terminal shows
        if session_id is None:
            note("Nothing was recorded.")
        else:
            note(f"{many(exchanges, 'exchange')} in {session_id}; `wiretape query last`")
