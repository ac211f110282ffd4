"""Exchanges counted by what they asked for: from the counts that the index keeps, or from the rows of a filter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from wiretape.session.index.database import Index
from wiretape.session.index.endpoints import ERRONEOUS, STATE_NAMES, bucket_ns, is_error, state_of, status_of
from wiretape.views.operations import folded, split_url

EXACT: Final = 20_000
"""Exchanges up to which rows are counted instead of the counts that the index keeps; their medians are exact."""
SLOWEST: Final = 10

Key = tuple[str, str]
"""An operation (``GET /users/{id}``) and its host."""

_ROWS: Final = (
    "SELECT seq, ts, method, host, state, status, duration, response_size, url,"
    " (SELECT endpoint FROM endpoint_of AS o WHERE o.seq = exchanges.seq),"
    " (SELECT outcome FROM problems AS p WHERE p.seq = exchanges.seq) FROM exchanges"
)
_TIMES: Final = (
    "SELECT endpoint, bucket, n, slowest_ns, slowest_seq FROM endpoint_counts"
    " WHERE endpoint IN (SELECT value FROM json_each(?))"
)
_CHOSEN: Final = "WHERE seq IN (SELECT value FROM json_each(?))"


class Sum(msgspec.Struct):
    """What is counted of one endpoint, or of one of its outcomes. Times are in ns, ``bytes`` those of responses."""

    n: int = 0
    errors: int = 0
    bytes: int = 0
    first_seq: int = 0
    slowest_ns: int = -1
    slowest_seq: int = 0
    times: list[tuple[float, int]] = msgspec.field(default_factory=list)
    """(ns, how many)."""

    def add(self, n: int, size: int, seq: int) -> None:
        """Count ``n`` exchanges, of which ``seq`` was the first."""
        self.n += n
        self.bytes += size
        self.first_seq = min(self.first_seq, seq) if self.first_seq else seq

    def took(self, ns: float, n: int, slowest_ns: int, slowest_seq: int) -> None:
        """Note how long ``n`` of them took, and which of these the longest."""
        self.times.append((ns, n))
        if slowest_ns > self.slowest_ns:
            self.slowest_ns, self.slowest_seq = slowest_ns, slowest_seq

    def quantile(self, part: float) -> float | None:
        """Return the duration in ns that ``part`` of the exchanges did not exceed; None where none has ended."""
        count = sum(n for _, n in self.times)
        left = max(1, -int(-part * count // 1))  # the nearest rank
        for ns, n in sorted(self.times):
            left -= n
            if left <= 0:
                return ns
        return None


class Tally(msgspec.Struct):
    """Exchanges counted by endpoint, outcome and state."""

    exchanges: int = 0
    endpoints: dict[Key, Sum] = msgspec.field(default_factory=dict)
    outcomes: dict[tuple[Key, int], Sum] = msgspec.field(default_factory=dict)
    states: Counter[str] = msgspec.field(default_factory=Counter)
    slowest: list[tuple[int, int, Key]] = msgspec.field(default_factory=list)
    """(ns, seq, endpoint), the slowest first."""
    untimed: dict[Key, set[int]] = msgspec.field(default_factory=dict)
    """Endpoints whose durations are still to be read, with their numbers in the index."""
    first_ms: int | None = None
    last_ms: int | None = None

    def count(self, key: Key, state: str, outcome: int, n: int, size: int, seq: int) -> Sum:
        """Count ``n`` exchanges; return what is counted of their endpoint."""
        self.exchanges += n
        self.states[state] += n
        found = self.endpoints.get(key)
        if found is None:
            found = self.endpoints[key] = Sum()
        found.add(n, size, seq)
        if is_error(outcome):
            found.errors += n
        by_outcome = self.outcomes.get((key, outcome))
        if by_outcome is None:
            by_outcome = self.outcomes[key, outcome] = Sum()
        by_outcome.add(n, size, seq)
        return found


def read_times(index: Index, found: Tally, keys: Iterable[Key]) -> None:
    """Read the durations of endpoints that are to be shown: of all they would be most of what is read."""
    numbers = {number: key for key in keys for number in found.untimed.pop(key, ())}
    if not numbers:
        return
    rows = index.rows(_TIMES, (msgspec.json.encode(list(numbers)).decode(),))
    for endpoint, bucket, n, slowest_ns, slowest_seq in rows:
        found.endpoints[numbers[endpoint]].took(min(bucket_ns(bucket), slowest_ns), n, slowest_ns, slowest_seq)


def names(index: Index) -> dict[int, Key]:
    """Return every endpoint of a session by its number, those folded that differ by one value of many."""
    rows = index.rows("SELECT id, method, host, template FROM endpoints")
    of_host: dict[tuple[str, str], list[str]] = {}
    for _, method, host, made in rows:
        of_host.setdefault((method, host), []).append(made)
    short = {place: folded(made) for place, made in of_host.items()}
    found: dict[int, Key] = {
        number: (f"{method} {short[method, host][made]}", host) for number, method, host, made in rows
    }
    found[0] = ("(its request is lost)", "")
    return found


def tally(index: Index, seqs: Sequence[int] | None = None, *, by_path: bool = False) -> Tally:
    """Count exchanges.

    Args:
        index: of the session, followed.
        seqs: those to count; None: all.
        by_path: tell paths apart, not templates.
    """
    if seqs is None and not by_path:
        (ended,) = index.one("SELECT ifnull(sum(n), 0) FROM endpoint_counts") or (0,)
        if ended > EXACT:
            return _of_counts(index)
    return _of_rows(index, seqs, by_path=by_path)


def _of_counts(index: Index) -> Tally:
    found, known = Tally(), names(index)
    rows = index.rows(
        "SELECT endpoint, outcome, sum(n), sum(bytes), min(first_seq) FROM endpoint_counts GROUP BY endpoint, outcome"
    )
    for endpoint, outcome, n, size, seq in rows:
        key = known[endpoint]
        found.count(key, state_of(outcome), outcome, n, size, seq)
        found.untimed.setdefault(key, set()).add(endpoint)
    for seq, endpoint, state, status in index.rows(
        "SELECT seq, endpoint, state, status FROM unended JOIN exchanges USING (seq)"
    ):
        found.count(known[endpoint], state, status or 0, 1, 0, seq)
    found.slowest = [
        (ns, seq, known[endpoint])
        for seq, ns, endpoint in index.rows("SELECT seq, ns, endpoint FROM endpoint_slowest ORDER BY ns DESC, seq")
    ]
    ends = (index.one(f"SELECT ts FROM exchanges ORDER BY seq {way} LIMIT 1") for way in ("ASC", "DESC"))  # noqa: S608
    found.first_ms, found.last_ms = (row[0] if row is not None else None for row in ends)
    return found


def _of_rows(index: Index, seqs: Sequence[int] | None, *, by_path: bool) -> Tally:
    found, known = Tally(), names(index)
    if seqs is None:
        rows = index.rows(f"{_ROWS} ORDER BY seq")
    else:
        chosen = msgspec.json.encode(list(seqs)).decode()
        rows = index.rows(f"{_ROWS} {_CHOSEN} ORDER BY seq", [chosen])
    every: list[tuple[int, int, Key]] = []
    for seq, _, method, host, state, status, duration, size, url, endpoint, problem in rows:
        key = known.get(endpoint or 0, known[0])
        if by_path:
            key = (f"{method} {split_url(url)[0]}", host)
        outcome = problem if problem is not None else _outcome(state, status)
        counted = found.count(key, state, outcome, 1, size, seq)
        if duration is not None:
            counted.took(duration, 1, duration, seq)
            every.append((duration, seq, key))
    every.sort(key=lambda one: (-one[0], one[1]))
    found.slowest = every[:SLOWEST]
    if rows:
        found.first_ms = min(row[1] for row in rows)
        found.last_ms = max(row[1] for row in rows)
    return found


def _outcome(state: str, status: int | None) -> int:
    number = status if status is not None and 0 < status < ERRONEOUS else 0
    return number | (STATE_NAMES.index(state) << 11 if state in STATE_NAMES else 0)


def outcome_text(outcome: int) -> int | str:
    """Return an outcome as answers show it: a status, ``"200+errors"``, or ``"failed"``."""
    if state_of(outcome) == "failed":
        return "failed"
    return f"{status_of(outcome)}+errors" if outcome & ERRONEOUS else status_of(outcome)


def errors_first(found: Iterable[tuple[tuple[Key, int], Sum]]) -> list[tuple[tuple[Key, int], Sum]]:
    """Return the outcomes that are errors, the most frequent first."""
    return sorted((one for one in found if is_error(one[0][1])), key=lambda one: (-one[1].n, one[1].first_seq))


def sample(index: Index, seqs: list[int]) -> dict[int, str]:
    """Return the messages of errors by their seqs; of one without a message, in brackets, whether it had a body."""
    encoded: Any = msgspec.json.encode(seqs).decode()
    return dict(
        index.rows(
            "SELECT seq, CASE WHEN message <> '' THEN message"
            " WHEN response_size > 0 THEN '(no reason found in its body)' ELSE '(no body)' END"
            " FROM problems LEFT JOIN exchanges USING (seq)"
            " WHERE seq IN (SELECT value FROM json_each(?))",
            (encoded,),
        )
    )
