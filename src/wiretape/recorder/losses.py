"""The count of what passed unrecorded, and which part of it the log itself says already (P10)."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

from wiretape.log.format import Event

_KEPT: Final = 1000  # reports that no sync has confirmed; nobody confirms them where nobody syncs


@dataclass(frozen=True, slots=True)
class _Report:
    count: int
    seqs: list[int]
    event: Event


class Drops:
    """What one tape could not record.

    Attributes:
        total: exchanges, since the tape began.
        unreported: those of them of which the log says nothing yet.
    """

    def __init__(self) -> None:
        self.total = 0
        self.unreported = 0
        self._seqs: list[int] = []
        self._since_ms = 0
        self._writing: _Report | None = None
        self._unsynced: list[Event] = []
        self._in_sync = 0

    def add(self, count: int, seqs: list[int]) -> None:
        """Count exchanges; ``seqs`` are those of them that had been given a number, and may be in the log in part."""
        if not self.unreported:
            self._since_ms = time.time_ns() // 1_000_000
        self.total += count
        self.unreported += count
        self._seqs.extend(seqs)

    def report(self) -> Event:
        """Give the event that says what is unreported; ``written`` or ``refused`` tells what became of it."""
        now = time.time_ns()
        detail = {
            "exchanges": self.unreported,
            "partial": self._seqs,
            "fromTs": self._since_ms,
            "toTs": now // 1_000_000,
            "reason": "the log could not be written",
        }
        event = Event(now, "dropped", detail)
        self._writing = _Report(self.unreported, self._seqs, event)
        self.unreported, self._seqs = 0, []
        return event

    def written(self) -> None:
        """The report is in the log."""
        if self._writing is not None:
            self._unsynced = [*self._unsynced[-_KEPT:], self._writing.event]
            self._writing = None

    def refused(self) -> None:
        """The report did not get through either: it is to be made again, from the same time on."""
        report, self._writing = self._writing, None
        if report is not None:
            if not self.unreported:
                self._since_ms = report.event.detail["fromTs"]
            self.unreported += report.count
            self._seqs.extend(report.seqs)

    # -- durability ----------------------------------------------------------------------------------------------

    def begin_sync(self) -> None:
        """Note that a sync begins, of all reports that are in the log."""
        self._in_sync = len(self._unsynced)

    def end_sync(self) -> None:
        """Note that it succeeded."""
        del self._unsynced[: self._in_sync]
        self._in_sync = 0

    def again(self) -> list[Event]:
        """Give the reports that a failed sync may have lost, to be written once more: equal events count once."""
        return self._unsynced
