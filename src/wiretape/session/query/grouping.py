"""Matches counted by what they have in common."""

from __future__ import annotations

from typing import Final

from wiretape.errors import UsageError
from wiretape.model import Groups, Table
from wiretape.secrets.veil import Veil
from wiretape.session.query.selection import Selection

_AUTHORITY: Final = "substr(url, instr(url, '://') + 3)"
_PATH: Final = f"substr({_AUTHORITY}, instr({_AUTHORITY} || '/', '/'))"
BY: Final = {
    "host": "host",
    "status": "ifnull(CAST(status AS TEXT), '-')",
    "method": "method",
    "type": "ifnull(lower(trim(substr(content_type, 1, instr(content_type || ';', ';') - 1))), '-')",
    "path": f"substr({_PATH}, 1, instr({_PATH} || '?', '?') - 1)",
    "state": "state",
    "source": "source",
    "minute": "strftime('%Y-%m-%dT%H:%MZ', ts / 1000, 'unixepoch')",
}
"""By what can be grouped, and the SQL of it."""
_MOST: Final = 100_000
"""Groups that are kept apart; of more, which only a forger's values make, the rest is counted as one."""
_OTHERS: Final = "(others)"
_LONGEST: Final = 16 * 1024
_SHOWN: Final = 500


def check_by(by: str) -> None:
    """Refuse what cannot be grouped by.

    Raises:
        UsageError: naming what can.
    """
    if by not in BY:
        raise UsageError(f"group_by is not {by[:40]!r}", hint=f"give one of {', '.join(BY)}")


class _Group:
    """What is known of one group."""

    def __init__(self) -> None:
        self.n = self.errors = self.last = 0
        self._size = self._taken = self._longest = 0.0

    def add(self, n: int, errors: int, size: float, taken: float, longest: float, last: int) -> None:
        """Take a part of the group in: ``selection.AGGREGATES``."""
        self.n += n
        self.errors += errors
        self._size += size
        self._taken += taken
        self._longest = max(self._longest, longest)
        self.last = max(self.last, last)

    def row(self) -> list[float]:
        """Return its numbers, in the order of the table's columns."""
        mean = round(self._taken / self.n / 1e6, 1)
        return [self.n, self.errors, int(self._size), mean, round(self._longest / 1e6, 1), self.last]


def grouped(selection: Selection, by: str, limit: int, veil: Veil) -> Groups:
    """Count the matches of a selection by one thing they have in common, the largest groups first."""
    found: dict[str, _Group] = {}
    for value, *numbers in selection.groups(BY[by]):
        key = str(value)[:_LONGEST]
        key = key if key in found or len(found) < _MOST else _OTHERS
        found.setdefault(key, _Group()).add(*numbers)
    ordered = sorted(found.items(), key=lambda one: (-one[1].n, one[0]))
    rows = [[veil.text(key)[:_SHOWN], *group.row()] for key, group in ordered[:limit]]
    rest = ordered[limit:]
    left = {"groups": len(rest), "exchanges": sum(group.n for _, group in rest)} if rest else {}
    columns = [by, "n", "errors", "bytes", "meanMs", "maxMs", "lastSeq"]
    return Groups(
        by=by,
        matched=sum(group.n for _, group in ordered),
        groups=Table(columns=columns, rows=rows, left=left),
    )
