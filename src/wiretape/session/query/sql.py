"""A filter's tree to SQL over ``exchanges``, as far as the index can decide it.

Each condition says whether it decides alone (``exact``) or takes more than is meant, so that what it takes has to be
looked at. Columns that hold few distinct values (methods, hosts, types ...) are compared with the values that are
there: an expression of any kind becomes a list of them, for which there is an index.
"""

from __future__ import annotations

import math
import re
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from wiretape.filters import content, operators
from wiretape.filters.numbers import Range
from wiretape.filters.patterns import Pattern
from wiretape.filters.tree import And, Node, Not, Or
from wiretape.session.index.headers import (
    REQUEST_HEADER,
    REQUEST_TRAILER,
    RESPONSE_HEADER,
    RESPONSE_TRAILER,
    Matches,
    not_whole,
    seqs_with,
)
from wiretape.session.index.urls import seqs_with_url

_HIGHEST: Final = 2**63 - 1
_NS_PER_MS: Final = 1_000_000
_MANY: Final = 10_000
"""Distinct values of a column beyond which they are not listed."""
_UNENDED: Final = "(state IN ('inFlight', 'interrupted') AND status >= 400)"
ERRONEOUS: Final = f"(EXISTS (SELECT 1 FROM problems WHERE problems.seq = exchanges.seq) OR {_UNENDED})"  # noqa: S608
_ERRONEOUS_SEQS: Final = f"SELECT seq FROM problems UNION ALL SELECT seq FROM exchanges WHERE {_UNENDED}"  # noqa: S608
"""The index knows of each exchange that has ended whether it went wrong."""
_SEQS: Final = "seq IN (SELECT value FROM json_each(?))"
_FIELD: Final = re.compile(r"\^([A-Za-z0-9-]+):")
"""An expression that looks at headers of one name alone."""
_PLACES: Final = {
    "request": (REQUEST_HEADER, REQUEST_TRAILER),
    "response": (RESPONSE_HEADER, RESPONSE_TRAILER),
}
_WEBSOCKET: Final = Pattern("websocket", "contains")
_FINGERPRINT: Final = (
    "EXISTS (SELECT 1 FROM handshakes AS h WHERE h.run = exchanges.run AND h.connection = exchanges.{0}"
    " AND h.side = '{1}' AND found_in({2}, h.{3}))"
)
_SOURCES: Final = "source IN (SELECT value FROM json_each(?))"
_DISTINCT: Final = (
    "WITH RECURSIVE found(value) AS (SELECT min({0}) FROM exchanges UNION ALL"
    " SELECT (SELECT min({0}) FROM exchanges WHERE {0} > value) FROM found WHERE value IS NOT NULL)"
    " SELECT value FROM found WHERE value IS NOT NULL LIMIT ?"
)
"""Hops from value to value in the column's index: as many look-ups as there are values, however many rows."""
_INDEXES: Final = (
    "SELECT name FROM sqlite_master WHERE type = 'index' AND tbl_name = 'exchanges' AND sql NOT LIKE '%WHERE%'"
)


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition over ``exchanges``.

    Attributes:
        sql: takes all that are meant.
        params: its parameters.
        exact: it takes no others.
        column: the only column it looks at, where it is a test of one that an index can serve.
        seqs: a SELECT of the numbers that it takes, where that is another than by ``sql``.
        in_urls: what is looked for in URLs, where blocks of them tell who may have it.
        bounds: of a condition on the number alone, the number that it is above, and the highest that it takes.
    """

    sql: str
    params: tuple[Any, ...] = ()
    exact: bool = True
    column: str | None = None
    bounds: tuple[int, int] | None = None
    seqs: str | None = None
    in_urls: Pattern | None = None

    @property
    def select(self) -> str:
        """A SELECT of the numbers that it takes; its parameters are ``params``."""
        return self.seqs or f"SELECT seq FROM exchanges WHERE {self.sql}"  # noqa: S608 - values are bound


ALL: Final = Condition("1")
OPEN: Final = Condition("1", exact=False)


class Compiler:
    """Makes conditions for the index as it is now; used within one call of ``Index.run``."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._patterns: list[Pattern] = []
        self._distinct: dict[str, list[str] | None] = {}
        self._indexed = indexed_columns(db)

    def lend(self, db: sqlite3.Connection) -> None:
        """Register the function that the conditions call with a connection."""
        db.create_function("found_in", 2, self._found_in, deterministic=True)

    def _found_in(self, number: int, text: str | None) -> bool:
        return text is not None and self._patterns[number].in_text(text)

    def condition(self, node: Node) -> Condition:
        """Return the condition of a node."""
        match node:
            case And(parts):
                return _joined(" AND ", [self.condition(part) for part in parts])
            case Or(parts):
                found = [self.condition(part) for part in parts]
                return _joined(" OR ", found) if all(one.exact or one.sql != "1" for one in found) else OPEN
            case Not(part):
                inner = self.condition(part)
                return Condition(f"NOT ifnull({inner.sql}, 0)", inner.params) if inner.exact else OPEN
        return self._leaf(node)

    def _leaf(self, node: Node) -> Condition:
        match node:
            case operators.Everything():
                return ALL
            case operators.Url(pattern):
                return self._url(pattern)
            case operators.Erroneous():
                return Condition(ERRONEOUS, column="seq", seqs=_ERRONEOUS_SEQS)
            case operators.Source(sources):
                return Condition(_SOURCES, (msgspec.json.encode(sources).decode(),))
            case operators.Replayed():
                return Condition("source = 'replay'")
            case content.FingerprintOperator(pattern):
                column, side = ("upstream", "server") if node.kind == "ja3s" else ("connection", "client")
                return Condition(_FINGERPRINT.format(column, side, self._pattern(pattern), node.kind))
            case content.HeaderOperator() | content.RequestType() | content.AnyType() | content.WebSocket():
                return self._by_headers(node)
            case operators.Method() | operators.Domain() | operators.Host() | operators.ResponseType():
                return self._by_values(node)
            case operators.Asset():
                return self._discrete("content_type", operators.is_asset)
        return _of_state(node) or _of_number(node) or OPEN

    def _by_values(self, node: Node) -> Condition:
        match node:
            case operators.Method(pattern):
                return self._discrete("method", pattern.in_text, pattern)
            case operators.Domain(pattern):
                return self._discrete("host", pattern.in_text, pattern)
            case operators.ResponseType(pattern):
                return self._discrete("content_type", pattern.in_text, pattern)
            case operators.Host(host):
                return self._discrete("host", lambda found: found == host or found.endswith("." + host))
        return OPEN

    def _by_headers(self, node: Node) -> Condition:
        match node:
            case content.HeaderOperator(pattern):
                name = _FIELD.match(pattern.text) if pattern.kind == "regex" else None
                places = [place for side in node.sides for place in _PLACES[side]]
                return self._with_header(
                    lambda field, value: pattern.in_text(f"{field}: {value}", lines=True),
                    places,
                    name[1] if name else None,
                )
            case content.RequestType(pattern):
                return self._with_header(lambda _, value: pattern.in_text(value), [REQUEST_HEADER], "content-type")
            case content.AnyType(pattern):
                parts: list[Node] = [operators.ResponseType(pattern), content.RequestType(pattern)]
                return _joined(" OR ", [self.condition(part) for part in parts])
        upgraded = self._with_header(lambda _, value: _WEBSOCKET.in_text(value), [RESPONSE_HEADER], "upgrade")
        sql = f"(url LIKE 'ws:%' OR url LIKE 'wss:%' OR (status = 101 AND {upgraded.sql}))"
        return Condition(sql, upgraded.params, exact=upgraded.exact)

    def _with_header(self, matches: Matches, places: Sequence[int], name: str | None) -> Condition:
        """Look up who has a header; whose headers are not all in the index has to be looked at."""
        seqs: set[int] = set()
        for found in seqs_with(self._db, matches, sides=places, name=name):
            seqs |= found
        unknown = set(not_whole(self._db))
        unknown.update(row[0] for row in self._db.execute("SELECT seq FROM exchanges WHERE damaged"))
        encoded = msgspec.json.encode(sorted(seqs | unknown)).decode()
        return Condition(_SEQS, (encoded,), exact=not unknown, column="seq")

    def _discrete(self, column: str, test: Callable[[str], bool], pattern: Pattern | None = None) -> Condition:
        """Compare a column with those of its values that a test takes."""
        values = self._values(column)
        if values is None:
            return OPEN if pattern is None else Condition(f"found_in({self._pattern(pattern)}, {column})")
        chosen = [value for value in values if test(value)]
        if not chosen:
            return Condition("seq = 0", column="seq")  # nobody's number
        if len(chosen) == 1:
            return Condition(f"{column} = ?", (chosen[0],), column=column)
        encoded = msgspec.json.encode(chosen).decode()
        return Condition(f"{column} IN (SELECT value FROM json_each(?))", (encoded,), column=column)  # noqa: S608 - a constant

    def _values(self, column: str) -> list[str] | None:
        """Return the distinct values of a column; None where they are too many, or no index has them."""
        if column not in self._distinct:
            if column in self._indexed:
                sql = _DISTINCT.format(column)
            else:
                sql = f"SELECT DISTINCT {column} FROM exchanges WHERE {column} IS NOT NULL LIMIT ?"  # noqa: S608 - a constant
            found = [row[0] for row in self._db.execute(sql, (_MANY + 1,))]
            self._distinct[column] = found if len(found) <= _MANY else None
        return self._distinct[column]

    def _pattern(self, pattern: Pattern) -> int:
        self._patterns.append(pattern)
        return len(self._patterns) - 1

    def _url(self, pattern: Pattern) -> Condition:
        """Look in the URL: SQLite's LIKE takes what has the plain part of it, the expression looks at that."""
        needle = pattern.needle
        # A block of URLs has a line for each: what is looked for must be in one.
        in_lines = pattern if pattern.joinable and "\n" not in pattern.text else None
        if needle and needle.isascii():
            like = Condition("url LIKE ? ESCAPE '\\'", (f"%{_escape(needle)}%",), in_urls=in_lines)
            if pattern.kind == "contains":
                return like
            sql = f"({like.sql} AND found_in({self._pattern(pattern)}, url))"
            return Condition(sql, like.params, in_urls=in_lines)
        return Condition(f"found_in({self._pattern(pattern)}, url)", in_urls=in_lines)

    def looked_up(self, condition: Condition) -> Condition | None:
        """Return a condition on URLs as one on numbers; None where they are many, and a page is found by reading on."""
        pattern = condition.in_urls
        assert pattern is not None
        if pattern.in_text(""):  # what an exchange has whose beginning is lost; no block holds those
            return None
        found = seqs_with_url(self._db, pattern.lines_in, _MANY)
        if found is None:
            return None
        encoded = msgspec.json.encode(found).decode()
        return Condition(f"({_SEQS} AND {condition.sql})", (encoded, *condition.params), column="seq")


def _of_state(node: Node) -> Condition | None:
    match node:
        case operators.Ruled("*"):
            return Condition("rules IS NOT NULL")
        case operators.Ruled(rule):
            return Condition("(rules IS NOT NULL AND instr(rules, ?) > 0)", (f" {rule} ",))
        case operators.Changed():
            return Condition("(rules IS NOT NULL AND changed > 0)")
        case operators.Failed():
            return Condition("state IN ('failed', 'aborted', 'interrupted')", column="state")
        case operators.InState(operators.DAMAGED):
            return Condition("damaged")
        case operators.InState(state):
            return Condition("state = ?", (state,), column="state")
        case operators.NoResponse():
            return Condition("status IS NULL", column="status")
        case operators.WithResponse():
            return Condition("status IS NOT NULL", column="status")
    return None


def _of_number(node: Node) -> Condition | None:
    match node:
        case operators.Code(ranges):
            return _ranges("status", ranges)
        case operators.Milliseconds(one):
            return _ranges("duration", (one,), _NS_PER_MS)
        case operators.RequestSize(one):
            return _ranges("request_size", (one,))
        case operators.ResponseSize(one):
            return _ranges("response_size", (one,))
        case operators.Size(one):
            return _larger(one)
        case operators.Seq(ranges):
            return _numbers(ranges)
        case operators.SeqByStream():
            return _by_stream(node)
        case operators.Time(one):
            return _ranges("ts", (one,))
    return None


def compared_numbers(tree: Node | None) -> set[str]:
    """Return the columns of numbers that all exchanges which a filter takes are compared by."""
    parts = tree.parts if isinstance(tree, And) else (tree,) if tree is not None else ()
    found = (_of_number(part) for part in parts)
    return {one.column for one in found if one is not None and one.column is not None}


def indexed_columns(db: sqlite3.Connection) -> dict[str, str]:
    """Return the columns of ``exchanges`` by which an index of all rows is ordered, each with such an index."""
    found: dict[str, str] = {}
    for (name,) in db.execute(_INDEXES).fetchall():
        first = db.execute("SELECT name FROM pragma_index_info(?) WHERE seqno = 0", (name,)).fetchone()
        if first is not None:
            found.setdefault(first[0], name)
    return found


def _joined(word: str, parts: Sequence[Condition]) -> Condition:
    sql = word.join(part.sql for part in parts)
    params = tuple(value for part in parts for value in part.params)
    return Condition(f"({sql})", params, exact=all(part.exact for part in parts))


def _ranges(column: str, ranges: Sequence[Range], scale: int = 1) -> Condition:
    parts = [_range(column, one, scale) for one in ranges]
    found = parts[0] if len(parts) == 1 else _joined(" OR ", parts)
    return Condition(found.sql, found.params, column=column)


def _range(column: str, one: Range, scale: int = 1) -> Condition:
    if one.low is not None and one.low == one.high:
        return Condition(f"{column} = ?", (one.low * scale,))
    tests: list[str] = []
    params: list[float] = []
    for bound, sign in ((one.low, ">"), (one.high, "<")):
        if bound is not None:
            tests.append(f"{column} {sign}{'' if one.open else '='} ?")
            params.append(bound * scale)
    return Condition(f"({' AND '.join(tests)})" if tests else "1", tuple(params))


def _numbers(ranges: Sequence[Range]) -> Condition:
    if all(one.low is not None and one.low == one.high for one in ranges):
        encoded = msgspec.json.encode([one.low for one in ranges]).decode()
        return Condition(_SEQS, (encoded,), column="seq")
    if len(ranges) > 1:
        return _ranges("seq", ranges)
    one = ranges[0]
    low = 0 if one.low is None else math.floor(one.low) if one.open else math.ceil(one.low) - 1
    high = _HIGHEST if one.high is None else math.ceil(one.high) - 1 if one.open else math.floor(one.high)
    found = _range("seq", one)
    return Condition(found.sql, found.params, bounds=(max(low, -1), min(high, _HIGHEST)))


def _by_stream(node: operators.SeqByStream) -> Condition:
    """Compare a number with the last of its stream: stream w of W gives w + 1, w + 1 + W ... (FORMAT.md)."""
    encoded = msgspec.json.encode(node.last).decode()
    own = f"(SELECT value FROM json_each(?) WHERE key = (seq - 1) % {len(node.last)})"  # noqa: S608 - a number
    if node.after:
        return Condition(f"(seq > ? AND seq > {own})", (min(node.last), encoded))
    return Condition(f"(seq <= ? AND seq <= {own})", (max(node.last), encoded))


def _larger(one: Range) -> Condition:
    """Compare the larger of both bodies: one is at least so large, and none is larger."""
    parts = []
    if one.low is not None:
        lows = [_range(column, Range(low=one.low, open=one.open)) for column in ("request_size", "response_size")]
        parts.append(_joined(" OR ", lows))
    if one.high is not None:
        parts += [_range(column, Range(high=one.high, open=one.open)) for column in ("request_size", "response_size")]
    return _joined(" AND ", parts)


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
