"""An account of what could not be searched, by reason and with the exchanges by their numbers (P11)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

UNDECODABLE: Final = "content coding could not be removed"
DAMAGED: Final = "lost to damage"
UNRECORDED: Final = "not recorded whole"
UNREADABLE: Final = "frame unreadable"
RUNNING: Final = "still running"
TOO_LARGE: Final = "too large to be searched whole"

_NAMED: Final = 10
"""Exchanges that are named for one reason; of more, how many."""


class Unsearched:
    """Which exchanges could not be decided, and why."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._seqs: dict[str, list[int]] = {}

    def add(self, seq: int, reasons: Iterable[str]) -> None:
        """Take note of an exchange; a reason that comes twice is two bodies."""
        for reason in reasons:
            self._counts[reason] = self._counts.get(reason, 0) + 1
            seqs = self._seqs.setdefault(reason, [])
            if len(seqs) < _NAMED and seq not in seqs[-1:]:
                seqs.append(seq)

    def __bool__(self) -> bool:
        return bool(self._counts)

    def notes(self) -> list[str]:
        """Say what was not searched, one sentence for each reason."""
        return [self._note(reason, count) for reason, count in sorted(self._counts.items())]

    def _note(self, reason: str, count: int) -> str:
        what = "1 body was" if count == 1 else f"{count} bodies were"
        seqs = sorted(self._seqs[reason])
        more = ", ..." if len(seqs) == _NAMED and count > _NAMED else ""
        return f"{what} not searched to the end: {reason} (seq {', '.join(map(str, seqs))}{more})."
