"""The count of what passed unrecorded, and which part of it the log itself says already (P10)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from wiretape.log.format import MAX_PARTIAL, Event, FrameType
from wiretape.log.seqs import Seqs
from wiretape.log.stream_writer import StreamWriter

RETRY_SECONDS: Final = 1.0
CAPPED_REPORT_SECONDS: Final = 10.0  # each report takes bytes that the cap has no room for
_LISTED: Final = 100_000
"""Seqs that all reports together list; readers of a log take no more, what is beyond is counted."""
_KEPT: Final = 1000  # reports that no sync has confirmed; nobody confirms them where nobody syncs


@dataclass(frozen=True, slots=True)
class _Report:
    count: int
    seqs: list[int]
    event: Event


class Drops:
    """What one stream could not record.

    Attributes:
        total: exchanges, since the stream began.
        unreported: those of them of which the log says nothing yet.
    """

    def __init__(self, step: int = 1) -> None:
        """Begin; ``step`` is the difference between two seqs of the stream that follow each other."""
        self.total = 0
        self.unreported = 0
        self._step = step
        self._seqs = Seqs(step)
        self._room = _LISTED
        self._since_ms = 0
        self._writing: _Report | None = None
        self._unsynced: list[Event] = []
        self._in_sync = 0

    def add(self, count: int, seqs: Seqs | None = None) -> None:
        """Count exchanges; ``seqs`` are those of them that had been given a number, and may be in the log in part."""
        if not self.unreported:
            self._since_ms = time.time_ns() // 1_000_000
        self.total += count
        self.unreported += count
        if seqs is not None:
            self._seqs.add(seqs)

    def report(self, *, brief: bool = False) -> Event:
        """Return an event that says of what is unreported as much as fits; ``written`` or ``refused`` tells its end.

        What has no number, and numbers beyond those that readers list, are counted in the last event. Where there is
        little room, ``brief`` makes one event do.
        """
        now = time.time_ns()
        seqs = self._seqs.take_first(min(MAX_PARTIAL, self._room))
        self._room -= len(seqs)
        more = not brief and self._room > 0 and len(self._seqs) > self._seqs.unlisted
        count = len(seqs) if more else self.unreported
        if not more:
            self._seqs.clear()
        detail = {
            "exchanges": count,
            "partial": seqs,
            "fromTs": self._since_ms,
            "toTs": now // 1_000_000,
            "reason": "the log could not be written",
        }
        event = Event(now, "dropped", detail)
        self._writing = _Report(count, seqs, event)
        self.unreported -= count
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
            self._room += len(report.seqs)
            self._seqs.add(Seqs(self._step, report.seqs))

    # -- durability ----------------------------------------------------------------------------------------------

    def begin_sync(self) -> None:
        """Note that a sync begins, of all reports that are in the log."""
        self._in_sync = len(self._unsynced)

    def end_sync(self) -> None:
        """Note that it succeeded."""
        del self._unsynced[: self._in_sync]
        self._in_sync = 0

    def again(self) -> list[Event]:
        """Return the reports that a failed sync may have lost, to be written once more: equal events count once."""
        return self._unsynced


class Losses:
    """Counts what a stream could not record, and writes the count into its log (P10).

    Attributes:
        drops: the count.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, writer: StreamWriter) -> None:
        self._loop = loop
        self._writer = writer
        self._timer: asyncio.TimerHandle | None = None
        self._blocked_until = 0.0
        self._closed = False
        self.drops = Drops(writer.step)

    def count(self, count: int, seqs: Iterable[int] = (), *, soon: bool = True) -> None:
        """Count exchanges; ``seqs`` are those of them that had been given a number.

        ``soon`` has the report written within a second; otherwise there is a cap, and no room for many reports.
        """
        self._add(count, Seqs(self._writer.step, seqs), soon=soon)

    def _add(self, count: int, seqs: Seqs, *, soon: bool) -> None:
        self.drops.add(count, seqs)
        if self._timer is None and not self._closed:
            self._timer = self._loop.call_later(RETRY_SECONDS if soon else CAPPED_REPORT_SECONDS, self.report)

    def note(self, *, soon: bool = True) -> None:
        """Count what the writer could not write, or a failed sync took."""
        writer = self._writer
        if not writer.lost and not writer.gone:
            return
        self._blocked_until = self._loop.time() + RETRY_SECONDS
        done = Seqs(writer.step, [seq for kind, seq in writer.lost if kind == FrameType.DONE])
        done.add(writer.gone)
        writer.lost.clear()
        writer.gone.clear()
        self._add(len(done), done, soon=soon)

    def try_again(self) -> bool:
        """Go on in a new segment, at most once a second; return whether there is one."""
        now = self._loop.time()
        if now < self._blocked_until:
            return False
        self._blocked_until = now + RETRY_SECONDS
        writer = self._writer
        went_on = writer.leave_reserve() if writer.in_reserve else writer.begin_new_segment()
        self.report()
        return went_on

    def report(self) -> None:
        """Write what was dropped since the last report into the log itself."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        writer, drops = self._writer, self.drops
        if not drops.unreported or writer.fd < 0:
            return
        if writer.pending and not writer.flush():  # what else is gathered has an end of its own
            self.note()
        while drops.unreported and writer.fd >= 0:
            writer.append(FrameType.EVENT, 0, drops.report(brief=writer.in_reserve))
            if not writer.flush(last=self._closed):
                drops.refused()
                self.note()
                return
            drops.written()

    def close(self) -> None:
        """Let no timer write any more; ``report`` may use the room that is kept for the end."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
