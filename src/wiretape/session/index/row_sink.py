"""What most projections do in a transaction: make rows of what was read, and write them all at its end."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from wiretape.log.format import FrameType
from wiretape.model import Gap
from wiretape.session.index.projection import Item, Segment

Row = tuple[Any, ...]


class RowSink:
    """A sink for rows that single frames make.

    Args:
        db: the index.
        put: the statement that writes one row.
        kind: of the frames that make rows.
        rows_of: makes rows of what was read next of a segment. It takes many frames: a call for each costs more than
            most projections do with it.
    """

    def __init__(
        self,
        db: sqlite3.Connection,
        put: str,
        kind: FrameType,
        rows_of: Callable[[Segment, Sequence[Item]], Iterable[Row]],
    ) -> None:
        self.kind: int | None = int(kind)
        self._db = db
        self._put = put
        self._rows_of = rows_of
        self._rows: list[Row] = []

    def begin(self, segment: Segment, missing: Sequence[Gap], step: int) -> None:
        """Do nothing: each frame stands for itself."""

    def take(self, segment: Segment, items: Sequence[Item]) -> None:
        """Make rows of what was read."""
        self._rows.extend(self._rows_of(segment, items))

    def reached(self, segment: Segment, position: int) -> None:
        """Do nothing: the follower keeps the place."""

    def write(self) -> None:
        """Put everything into the database."""
        self._db.executemany(self._put, self._rows)
        self._rows.clear()
