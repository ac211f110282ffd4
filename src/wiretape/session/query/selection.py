"""The exchanges that one query takes, page by page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from wiretape.log.assembly import ExchangeTape
from wiretape.session.index.database import Index
from wiretape.session.query import filters as q
from wiretape.session.query.raw_scan import SeqSet, scan_for
from wiretape.session.query.search import TextSearch

_READ: Final = (
    "SELECT name, position FROM segments JOIN places ON segment = id AND projection = 'exchanges'"
    " ORDER BY stream, number"
)
_PAGE: Final = 500
_SCAN_FROM: Final = 500
"""Exchanges from which on a text is looked for in the log as a whole."""
_SCAN_TO: Final = 100_000_000
"""And the number up to which: what is found there is noted in a bit for each."""


class Selection:
    """The exchanges of one query, read page by page in the order of their numbers."""

    def __init__(
        self,
        index: Index,
        tape: Callable[[int], ExchangeTape],
        condition: q.Where,
        sort: str,
        through: int,
        after: int | None,
        finder: TextSearch | None,
    ) -> None:
        """Begin behind ``after`` (None: at the first), end with the seq ``through``; ``tape`` reads one exchange."""
        self._index = index
        self._tape = tape
        self._condition = condition
        self._through = through
        self._descending = sort == "desc"
        self._after = after
        self._finder = finder

    def count(self) -> int:
        """Count all, leaving the text out of account."""
        row = self._index.one(
            f"SELECT count(*) FROM exchanges WHERE ({self._condition.sql}) AND seq <= ?",  # noqa: S608 - values are bound
            [*self._condition.params, self._through],
        )
        assert row is not None
        return int(row[0])

    def rows(self, limit: int, offset: int = 0) -> list[tuple[Any, ...]]:
        """Return the next rows and go on behind them."""
        # One bound on each side: of two on the same side SQLite searches by the first and reads all up to the other.
        low, high = 0, self._through
        if self._after is not None:
            low, high = (low, min(high, self._after - 1)) if self._descending else (self._after, high)
        rows = self._index.rows(
            f"SELECT {q.SUMMARY_COLUMNS} FROM exchanges WHERE ({self._condition.sql}) AND seq > ? AND seq <= ? "  # noqa: S608 - values are bound
            f"ORDER BY seq {'DESC' if self._descending else 'ASC'} LIMIT ? OFFSET ?",
            [*self._condition.params, low, high, limit, offset],
        )
        if rows:
            self._after = rows[-1][0]
        return rows

    def every(self) -> Iterator[tuple[Any, ...]]:
        """Yield all rows, those with the text if one is looked for."""
        finder = self._finder
        plain = self._scanned() if finder is not None else None
        while rows := self.rows(_PAGE):
            for row in rows:
                if finder is None or self._matches(finder, plain, row):
                    yield row

    def _matches(self, finder: TextSearch, plain: SeqSet | None, row: tuple[Any, ...]) -> bool:
        seq, url, special = row[0], row[3], row[-1]
        if plain is not None and (seq in plain or not special):
            return seq in plain or finder.in_url(url)
        return finder.matches(self._tape(seq), url)

    def _scanned(self) -> SeqSet | None:
        """Search the log as a whole where that is less work than reading the exchanges one by one."""
        if self._finder is None or self._through > _SCAN_TO or self.count() < _SCAN_FROM:
            return None
        read = self._index.rows(_READ)
        highest = self._through
        return scan_for(self._index.log_dir, [(row[0], row[1]) for row in read], self._finder.needles, highest)

    def matching(self, limit: int, offset: int, matched: int | None) -> tuple[list[tuple[Any, ...]], int]:
        """Return the rows of one page and how many match in all; every one is looked at unless ``matched`` is known."""
        page: list[tuple[Any, ...]] = []
        count = 0
        for row in self.every():
            count += 1
            if count > offset and len(page) < limit:
                page.append(row)
            if matched is not None and len(page) == limit:
                break
        return page, count if matched is None else matched
