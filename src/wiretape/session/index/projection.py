"""What a projection is: something that the index makes of the log, with tables, a version and a place of its own.

All stand in one list (``projections.py``) and are driven by one follower (``follow.py``). A new one, or one of another
version, is brought up from the log's beginning while the others stay where they are.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Protocol

import msgspec

from wiretape.log.inventory import Placed
from wiretape.log.items import Item
from wiretape.log.report import LogReport
from wiretape.model import Gap

__all__ = ["Item", "Memory", "Projection", "Segment", "Sink"]


class Segment(msgspec.Struct, frozen=True):
    """A segment that is being read: its number in the index, and its place in the log.

    ``run`` is the same for all segments of one run.
    """

    id: int
    run: int
    placed: Placed

    @property
    def stream(self) -> int:
        """The stream's number, as the index can keep it."""
        return storable(self.placed.stream)


def storable(number: int) -> int:
    """Return a number as SQLite can keep it: a forged head may give one that has no place in 64 bits with a sign."""
    return max(-(2**63), min(2**63 - 1, number))


Memory = dict[str, object]
"""What projections keep from one transaction to the next, by their names.

It is empty where the database may hold something else than the last transaction left: another process has written, that
transaction failed, or everything was begun anew.
"""


class Sink(Protocol):
    """A projection during one transaction; what it holds is bounded."""

    @property
    def kind(self) -> int | None:
        """The one kind of frames without which there is nothing for it in a reading; None where there always is."""

    def begin(self, segment: Segment, missing: Sequence[Gap], step: int) -> None:
        """Go on in a segment that was not begun; ``missing`` should lie before it.

        ``step`` is the number of streams as the log's first head says.
        """

    def take(self, segment: Segment, items: Sequence[Item]) -> None:
        """Take what is read next of a segment."""

    def reached(self, segment: Segment, position: int) -> None:
        """Take how far a segment was read, in bytes."""

    def write(self) -> None:
        """Put everything into the database, within the caller's transaction."""


class Projection(Protocol):
    """One thing that the index makes of the log."""

    @property
    def name(self) -> str:
        """What it is called in the database."""

    @property
    def version(self) -> int:
        """Grows with every change of its tables or of what goes into them."""

    @property
    def tables(self) -> Sequence[str]:
        """The names of its tables."""

    @property
    def schema(self) -> str:
        """The statements that make them."""

    def open(self, db: sqlite3.Connection, memory: Memory, /) -> Sink:
        """Begin a transaction's work where the last one ended.

        Raises:
            sqlite3.DatabaseError: what it made before cannot be read.
        """

    def end(self, db: sqlite3.Connection, report: LogReport) -> None:
        """Take what the audit says at the log's end, in the transaction in which it was reached."""
