"""The exchanges that one query takes, page by page, in the order that is asked for.

Where a condition on an indexed column takes few rows, those are read by its index and compared with the others. Where
none does, matches are dense, and reading in the list's own order finds a page at once.
"""

from __future__ import annotations

import contextlib
import sqlite3
from array import array
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

import msgspec

from wiretape.filters.content import BodyOperator, Text
from wiretape.filters.exchange import SIDES, Fingerprint
from wiretape.filters.patterns import Pattern
from wiretape.filters.tree import And, Node, all_of, walk
from wiretape.log.assembly import ExchangeTape
from wiretape.session.index.database import Index
from wiretape.session.query.account import Unsearched
from wiretape.session.query.head_candidates import in_heads
from wiretape.session.query.needles import needle_of
from wiretape.session.query.ordering import Order
from wiretape.session.query.places import Messages
from wiretape.session.query.raw_scan import SeqSet, Sought, plain_bytes, scan_for
from wiretape.session.query.recorded import COLUMNS, RecordedExchange
from wiretape.session.query.sql import ERRONEOUS, Compiler, Condition, indexed_columns
from wiretape.session.query.text_index import TextIndex

Row = tuple[Any, ...]

COUNTED: Final = 10_000
"""Matches up to which they are counted without being asked to."""
_RAREST: Final = 200_000
"""Matches up to which conditions are compared for the rarest of them."""
_WINDOW: Final = 20_000
"""Exchanges at a list's beginning among which dense matches are looked for first."""
_FINGERPRINT: Final = (
    "SELECT h.{1} FROM exchanges AS e JOIN handshakes AS h ON h.run = e.run AND h.connection = e.{0}"
    " AND h.side = ? WHERE e.seq = ?"
)
_READ: Final = (
    "SELECT name, position FROM segments JOIN places ON segment = id AND projection = 'exchanges'"
    " ORDER BY stream, number"
)
_PAGE: Final = 500
_SCAN_FROM: Final = 500
"""Exchanges from which on a text is looked for in the log as a whole."""
_SCAN_TO: Final = 100_000_000
"""And the number up to which: what is found there is noted in a bit for each."""
_SCANS: Final = 4
"""Texts of one filter that the log is searched for as a whole."""
_SHORTEST: Final = 3
_BATCH: Final = 5_000
AGGREGATES: Final = (
    f"count(*), sum({ERRONEOUS}), total(response_size), total(duration), max(ifnull(duration, 0)), max(seq)"
)
"""Of a group: exchanges, errors, bytes of responses, durations together and the longest (ns), the newest seq."""


class Place(NamedTuple):
    """Where a page begins: behind the exchange ``seq``, which has ``value`` in the column sorted by."""

    seq: int
    value: Any


class Chosen(NamedTuple):
    """The exchanges that a filter takes.

    Attributes:
        seqs: their numbers, in order.
        notes: what could not be decided, a sentence for each reason.
    """

    seqs: array[int]
    notes: list[str]


class Plan(NamedTuple):
    """How rows are found.

    Attributes:
        where: the conditions, all but ``few``.
        few: conditions that find few rows by their indexes; together they drive.
        dense: others that an index serves, for matches that lie together far from the list's beginning.
        low, high: what the conditions say of the number; the first is not in it, the other is.
        taken: how many the index takes, as far as ``COUNTED`` + 1, where that is known.
        residual: what the index cannot decide.
    """

    where: Condition
    few: tuple[Condition, ...]
    dense: tuple[Condition, ...]
    low: int
    high: int
    taken: int | None
    residual: Node | None


class Selection:
    """The exchanges of one query, read page by page."""

    def __init__(
        self,
        index: Index,
        tape: Callable[[int], ExchangeTape],
        messages: Messages,
        tree: Node | None,
        order: Order,
        through: int,
        after: Place | None = None,
    ) -> None:
        """Begin behind ``after`` (None: at the first); no seq is above ``through``.

        ``tape`` reads one exchange, ``messages`` what one side of an upgraded connection sent.
        """
        self.unsearched = Unsearched()
        self._index = index
        self._tape = tape
        self._messages = messages
        self._order = order
        self.through = through
        self.takes_all = tree is None
        self._after = after
        self._parts = tree.parts if isinstance(tree, And) else (tree,) if tree is not None else ()
        self._plan: Plan | None = None
        self._served: set[Pattern] = set()
        """Patterns for which the index of substrings has named candidates."""
        self._compiler: Compiler | None = None

    # -- the plan -----------------------------------------------------------------------------------------------

    def run(self, use: Callable[[sqlite3.Connection, Plan], list[Row]]) -> list[Row]:
        """Run ``use`` with the database and the plan, as ``Index.run`` does; functions of SQL are there then."""
        return self._index.run(lambda db: self._in_one_moment(db, use))

    def _in_one_moment(self, db: sqlite3.Connection, use: Callable[[sqlite3.Connection, Plan], list[Row]]) -> list[Row]:
        # A transaction: an index that the plan goes by must not be dropped by another process meanwhile.
        db.execute("BEGIN")
        try:
            return use(db, self._planned(db))
        finally:
            with contextlib.suppress(sqlite3.Error):  # what failed may have ended it
                db.execute("COMMIT")

    def _planned(self, db: sqlite3.Connection) -> Plan:
        if self._plan is None or self._compiler is None:
            self._compiler = Compiler(db)
            self._plan = self._choose(db, [self._compiler.condition(part) for part in self._parts])
        # Others use the same connection, and conditions of their own.
        self._compiler.lend(db)
        return self._plan

    def _choose(self, db: sqlite3.Connection, conditions: list[Condition]) -> Plan:
        assert self._compiler is not None
        self._compiler.lend(db)
        undecided = [part for part, one in zip(self._parts, conditions, strict=True) if not one.exact]
        low = max([0, *(one.bounds[0] for one in conditions if one.bounds)])
        high = min([self.through, *(one.bounds[1] for one in conditions if one.bounds)])
        asked = [one for one in conditions if one.sql != "1" and one.bounds is None]
        asked += self._with_substring(db, high)
        few, dense = self._sorted(db, asked, low, high)
        in_urls = next((one for one in asked if one.in_urls is not None), None) if not few else None
        named = self._compiler.looked_up(in_urls) if in_urls is not None else None
        if named is not None:
            asked, few = [named if one is in_urls else one for one in asked], [named]
        taken = _count(db, asked[0], low, high, COUNTED + 1) if len(asked) == 1 and (few or dense) else None
        rest = [one for one in asked if one not in few]
        where = Condition(
            " AND ".join(one.sql for one in rest) or "1", tuple(value for one in rest for value in one.params)
        )
        residual = all_of(*undecided) if undecided else None
        return Plan(where, tuple(few), tuple(dense), low, high, taken, residual)

    @staticmethod
    def _sorted(
        db: sqlite3.Connection, asked: list[Condition], low: int, high: int
    ) -> tuple[list[Condition], list[Condition]]:
        """Return the conditions that find few rows by their indexes, and the others that have one."""
        indexed = indexed_columns(db)
        few: list[Condition] = []
        dense: list[Condition] = []
        for one in asked:
            if one.column in indexed or one.column == "seq":
                found = _count(db, one, low, high, COUNTED + 1)
                (few if found <= COUNTED else dense).append(one)
        return few, dense

    def _with_substring(self, db: sqlite3.Connection, high: int) -> Iterator[Condition]:
        """Yield what the index of substrings says of texts that are looked for: it takes all that can be meant."""
        for part in self._parts:
            if not isinstance(part, BodyOperator | Text):
                continue
            text = part.pattern.needle
            # Other letters may stand there in another charset than is declared, which only reading tells.
            plain = bool(text) and text.isascii()
            forms = needle_of(text).plain_forms() if plain and isinstance(part, Text) else [text]
            known = TextIndex(self._index, self._tape).candidates(forms) if plain else None
            if known is None:
                continue
            self._served.add(part.pattern)
            with contextlib.closing(known):
                end = min(known.mark, high)
                # What is not in the index whole is looked at, so that a filter takes the same with it and without.
                seqs = known.between(0, end) | {seq for seq, _ in known.unsearched(0, end)}
                if isinstance(part, Text):
                    seqs |= in_heads(db, needle_of(text), SIDES, 0, end)
            yield Condition(
                "seq IN (SELECT value FROM json_each(?) UNION ALL SELECT seq FROM exchanges WHERE seq > ?)",
                (msgspec.json.encode(sorted(seqs)).decode(), end),
                exact=False,
                column="seq",
            )

    # -- rows ---------------------------------------------------------------------------------------------------

    def rows(self, limit: int, offset: int = 0) -> list[Row]:
        """Return the next rows that the index takes, and go on behind them; some may not be meant."""
        rows = self.run(lambda db, plan: self._rows(db, plan, limit, offset))
        if rows:
            self._after = Place(rows[-1][0], rows[-1][-1])
        return rows

    def _rows(self, db: sqlite3.Connection, plan: Plan, limit: int, offset: int) -> list[Row]:
        if self._order.column == "seq":
            return self._page(db, plan, "1", limit, offset)
        # Two parts: rows with a value, then those without. One condition for both could not use the column's index.
        column, rows = self._order.column, []
        if self._after is None or self._after.value is not None:
            rows = self._page(db, plan, f"{column} IS NOT NULL", limit, offset)
            if len(rows) == limit:
                return rows
            if offset:
                offset = max(0, offset - self._size(db, plan, f"{column} IS NOT NULL")) if not rows else 0
        return rows + self._page(db, plan, f"{column} IS NULL", limit - len(rows), offset, valued=False)

    def _page(
        self, db: sqlite3.Connection, plan: Plan, also: str, limit: int, offset: int, *, valued: bool = True
    ) -> list[Row]:
        column, descending = self._order.column, self._order.descending
        by_seq = column == "seq" or not valued
        low, high, tests, params = plan.low, plan.high, [also], []
        after = self._after
        if after is not None and by_seq and (column == "seq" or after.value is None):
            low, high = (low, min(high, after.seq - 1)) if descending else (max(low, after.seq), high)
        elif after is not None and not by_seq:
            tests.append(f"({column}, seq) {'<' if descending else '>'} (?, ?)")
            params += [after.value, after.seq]
        way = "DESC" if descending else "ASC"
        order = f"seq {way}" if by_seq else f"{column} {way}, seq {way}"

        def select(source: str, values: list[Any], low: int, high: int) -> list[Row]:
            where = f"{source} AND {' AND '.join(tests)} AND seq > ? AND seq <= ?"
            sql = f"SELECT {COLUMNS}, {column} FROM {where} ORDER BY {order} LIMIT ? OFFSET ?"  # noqa: S608 - values are bound
            return db.execute(sql, [*values, *params, low, high, limit, offset]).fetchall()

        if plan.few:
            return select(*_driven(plan, plan.few), low, high)
        if not by_seq:
            by = indexed_columns(db).get(column)
            return select(*_plain(plan, f'INDEXED BY "{by}"' if by is not None else ""), low, high)
        if not plan.dense or high - low <= _WINDOW:
            return select(*_plain(plan, "NOT INDEXED"), low, high)
        near = (max(low, high - _WINDOW), high) if descending else (low, min(high, low + _WINDOW))
        rows = select(*_plain(plan, "NOT INDEXED"), *near)
        if len(rows) == limit:
            return rows
        rarest = min(plan.dense, key=lambda one: _count(db, one, low, high, _RAREST))
        return select(*_driven(plan, (rarest,)), low, high)

    def _size(self, db: sqlite3.Connection, plan: Plan, also: str, most: int | None = None) -> int:
        source, values = _driven(plan, plan.few) if plan.few else _plain(plan, "")
        limit = "" if most is None else f" LIMIT {most}"
        seq = "+seq" if plan.few or plan.dense else "seq"
        sql = f"SELECT count(*) FROM (SELECT 1 FROM {source} AND {also} AND {seq} > ? AND {seq} <= ?{limit})"  # noqa: S608 - values are bound
        return int(db.execute(sql, [*values, plan.low, plan.high]).fetchone()[0])

    # -- matches ------------------------------------------------------------------------------------------------

    def every(self) -> Iterator[Row]:
        """Yield all rows that are meant."""
        rows = self.rows(_PAGE)
        plan = self._plan
        assert plan is not None
        if plan.residual is None:
            while rows:
                yield from rows
                rows = self.rows(_PAGE)
            return
        plain = self._scanned(plan.residual)
        while rows:
            for row in rows:
                if self._is_meant(plan.residual, row, plain):
                    yield row
            rows = self.rows(_PAGE)

    def _is_meant(self, residual: Node, row: Row, plain: dict[Pattern, SeqSet]) -> bool:
        exchange = RecordedExchange(row, self._tape, self._messages, plain, self._fingerprint)
        verdict = residual.matches(exchange)
        if verdict is None:
            self.unsearched.add(exchange.seq, exchange.reasons)
        return bool(verdict)

    def _fingerprint(self, seq: int, kind: Fingerprint) -> str | None:
        column, side = ("upstream", "server") if kind == "ja3s" else ("connection", "client")
        found = self._index.one(_FINGERPRINT.format(column, kind), (side, seq))
        return None if found is None else found[0]

    def _scanned(self, residual: Node) -> dict[Pattern, SeqSet]:
        """Search the log as a whole for plain texts, where that is less work than reading exchanges one by one."""
        wanted = {node.pattern: sought for node in walk(residual) if isinstance(node, BodyOperator | Text)
                  and node.pattern not in self._served and (sought := _sought(node))}  # fmt: skip
        if not 0 < len(wanted) <= _SCANS or self.through > _SCAN_TO or self.count(_SCAN_FROM) < _SCAN_FROM:
            return {}
        read = [(row[0], row[1]) for row in self._index.rows(_READ)]
        return {
            pattern: scan_for(self._index.log_dir, read, sought, self.through) for pattern, sought in wanted.items()
        }

    def count(self, most: int | None = None) -> int:
        """Count what the index takes, up to ``most``."""

        def use(db: sqlite3.Connection, plan: Plan) -> list[Row]:
            if plan.taken is not None and (plan.taken <= COUNTED or (most is not None and most <= plan.taken)):
                return [(plan.taken if most is None else min(plan.taken, most),)]
            return [(self._size(db, plan, "1", most),)]

        return int(self.run(use)[0][0])

    def matching(self, limit: int, offset: int, matched: int | None, most: int | None) -> tuple[list[Row], int]:
        """Return the rows of one page and how many are meant in all, as far as ``most``.

        Args:
            limit: rows at most.
            offset: matches to leave out first.
            matched: how many are meant, where that is known.
            most: where to stop counting; None: never.
        """
        page: list[Row] = []
        count = 0
        for row in self.every():
            count += 1
            if count > offset and len(page) < limit:
                page.append(row)
            if len(page) == limit and (matched is not None or (most is not None and count >= most)):
                break
        return page, count if matched is None else matched

    def seqs(self) -> array[int]:
        """Return the numbers of all that are meant; they are in order if the list is by number."""
        if not self.decided:
            return array("q", (row[0] for row in self.every()))
        return array("q", (row[0] for row in self.run(_all_seqs)))

    def groups(self, value: str) -> Iterator[Row]:
        """Yield ``AGGREGATES`` of what is meant for each ``value``, which is SQL; a value may come several times."""
        if self.decided:
            yield from self.run(lambda db, plan: self._groups(db, plan, value))
            return
        batch: list[int] = []
        for row in self.every():
            batch.append(row[0])
            if len(batch) == _BATCH:
                yield from self._groups_of(batch, value)
                batch.clear()
        yield from self._groups_of(batch, value)

    def _groups(self, db: sqlite3.Connection, plan: Plan, value: str) -> list[Row]:
        source, values = _driven(plan, plan.few) if plan.few else _plain(plan, "")
        sql = f"SELECT {value} AS value, {AGGREGATES} FROM {source} AND seq > ? AND seq <= ? GROUP BY 1"  # noqa: S608 - values are bound
        return db.execute(sql, [*values, plan.low, plan.high]).fetchall()

    def _groups_of(self, seqs: list[int], value: str) -> list[Row]:
        encoded = msgspec.json.encode(seqs).decode()
        sql = (
            f"SELECT {value} AS value, {AGGREGATES} FROM exchanges"  # noqa: S608 - constants
            " WHERE seq IN (SELECT value FROM json_each(?)) GROUP BY 1"
        )
        return self._index.rows(sql, (encoded,))

    @property
    def decided(self) -> bool:
        """Whether the index alone decides what is meant."""
        self.run(lambda _, __: [])
        assert self._plan is not None
        return self._plan.residual is None


def _driven(plan: Plan, by: Sequence[Condition]) -> tuple[str, list[Any]]:
    """Return what stands behind FROM where indexes find the rows, and its parameters."""
    seqs = " INTERSECT ".join(f"SELECT seq FROM ({one.select})" for one in by)  # noqa: S608 - values are bound
    sql = f"exchanges NOT INDEXED WHERE seq IN ({seqs}) AND ({plan.where.sql})"
    return sql, [*(value for one in by for value in one.params), *plan.where.params]


def _count(db: sqlite3.Connection, one: Condition, low: int, high: int, most: int) -> int:
    """Count what one condition takes by its index, up to ``most``."""
    # The plus keeps SQLite from going by the bounds instead of by the column.
    sql = f"SELECT count(*) FROM (SELECT 1 FROM ({one.select}) WHERE +seq > ? AND +seq <= ? LIMIT {most})"  # noqa: S608 - values are bound
    return int(db.execute(sql, [*one.params, low, high]).fetchone()[0])


def _plain(plan: Plan, hint: str) -> tuple[str, list[Any]]:
    """Return what stands behind FROM where rows are read in the list's order, and its parameters."""
    return f"exchanges {hint} WHERE ({plan.where.sql})", list(plan.where.params)


def _all_seqs(db: sqlite3.Connection, plan: Plan) -> list[Row]:
    source, values = _driven(plan, plan.few) if plan.few else _plain(plan, "")
    sql = f"SELECT seq FROM {source} AND seq > ? AND seq <= ? ORDER BY seq"  # noqa: S608 - values are bound
    return db.execute(sql, [*values, plan.low, plan.high]).fetchall()


def _sought(node: BodyOperator | Text) -> list[Sought]:
    """Return what stands as it is in frames of every exchange that is meant and has no coded body; none if unknown."""
    text = node.pattern.needle
    if isinstance(node, BodyOperator):
        return [plain_bytes(text.encode())] if text.isascii() and len(text) >= _SHORTEST else []
    needle = needle_of(text)
    return [Sought(needle.longest, _within(find)) for find in needle.raw]


def _within(find: Callable[[bytes, int], int]) -> Callable[[bytes], Callable[[int], int]]:
    return lambda block: partial(find, block)
