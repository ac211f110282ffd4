"""The account of one stream's exchanges: which were opened, which ended, which numbers are missing and why.

A stream gives its numbers in steps, so a number that never shows up is known to be missing. What took it is the damage
that lies between the frames around it; where there is none, it was never written. Memory follows what is unfinished or
missing, not how long the stream is (P8); and there is an end to that, too, because a forged log may be nothing but
beginnings. What goes beyond it is counted and not listed.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from itertools import islice
from typing import Final

import msgspec

from wiretape.log.format import FrameType, Seal, SegmentHead
from wiretape.log.items import Damage

NO_CAUSE = -1
"""In place of a gap's index: nothing in the log explains why a number is missing."""


UNFINISHED: Final = 50_000
"""Exchanges whose end is waited for at once; a recorder has some thousand at most."""
INTERRUPTED: Final = 100_000
"""Exchanges without an end that are known by their numbers."""
RANGES: Final = 50_000
"""Ranges of missing numbers."""
TOUCHED: Final = 20_000
"""Exchanges that damage touched."""


class Room:
    """How much more the ledgers of one log may hold, all together."""

    __slots__ = ("interrupted", "ranges", "touched", "unfinished")

    def __init__(self) -> None:
        self.unfinished = UNFINISHED
        self.interrupted = INTERRUPTED
        self.ranges = RANGES
        self.touched = TOUCHED


class LedgerState(msgspec.Struct, array_like=True):
    """A ledger put aside, to be gone on with later."""

    known: int
    done: int
    unfinished: dict[int, int]
    interrupted: list[int]
    missing: list[tuple[int, int, int, int]]
    touched: list[tuple[int, int]]
    unexplained: list[int]
    closed: bool
    step: int
    expected: int
    cause: int
    run: int | None
    sealed: bool
    begun: bool
    unlisted: int
    beyond: list[int]


class MissingRanges:
    """Ranges of missing seqs, each with the index of the gap that took it; added in ascending order.

    Attributes:
        lost, never_written: seqs in ranges for which there was no room: with a cause, and with none.
    """

    def __init__(self, room: Room, ranges: list[tuple[int, int, int, int]] | None = None) -> None:
        self._room = room
        self._ranges = list(ranges or [])
        self._starts = [start for start, *_ in self._ranges]
        self.lost = self.never_written = 0
        room.ranges -= len(self._ranges)

    @property
    def ranges(self) -> list[tuple[int, int, int, int]]:
        """The ranges as (start, stop, step, cause), for ``MissingRanges(ranges)``."""
        return self._ranges

    def add(self, start: int, stop: int, step: int, cause: int) -> None:
        """Note that ``start``, ``start + step``, ... before ``stop`` are missing because of gap ``cause``."""
        if start >= stop:
            return
        if self._room.ranges > 0:
            self._room.ranges -= 1
            self._starts.append(start)
            self._ranges.append((start, stop, step, cause))
        elif cause == NO_CAUSE:
            self.never_written += count(range(start, stop, step))
        else:
            self.lost += count(range(start, stop, step))

    def fill(self, seq: int) -> int | None:
        """Take out a seq that was found after all; gives its cause, None when it was not missing."""
        at = bisect_right(self._starts, seq) - 1
        if at < 0:
            return None
        start, stop, step, cause = self._ranges[at]
        if seq >= stop or (seq - start) % step:
            return None
        parts = [part for part in ((start, seq), (seq + step, stop)) if part[0] < part[1]]
        if len(parts) > 1 and self._room.ranges <= 0:
            return None
        self._room.ranges += 1 - len(parts)
        self._starts[at : at + 1] = [part[0] for part in parts]
        self._ranges[at : at + 1] = [(*part, step, cause) for part in parts]
        return cause

    def __contains__(self, seq: int) -> bool:
        at = bisect_right(self._starts, seq) - 1
        if at < 0:
            return False
        start, stop, step, _ = self._ranges[at]
        return seq < stop and (seq - start) % step == 0

    def __iter__(self) -> Iterator[tuple[range, int]]:
        """Give each range with its cause."""
        for start, stop, step, cause in self._ranges:
            yield range(start, stop, step), cause


def count(seqs: range) -> int:
    """Count a range that a forged seal may have made longer than ``len`` can say."""
    return max(0, (seqs.stop - seqs.start + seqs.step - 1) // seqs.step)


class StreamLedger:
    """Follows one stream, frame by frame.

    Attributes:
        known: exchanges of which at least one sound frame was seen.
        done: those whose end was seen.
        unfinished: opened in the run that is being read and not done; the value tells how many unexplained damages
            had been met when it was opened.
        interrupted: opened in a run that is over and not done.
        missing: seqs of which nothing was seen.
        touched: (seq, cause) of exchanges that lack their request or their end because of damage.
        closed: the stream's last frame is its final seal.
        unlisted: further exchanges that were opened and for whose end there was no room to wait.
    """

    def __init__(self, stream: int, step: int, room: Room | None = None) -> None:
        self._room = room if room is not None else Room()
        self.stream = stream
        self.unlisted = 0
        self.known = 0
        self.done = 0
        self.unfinished: dict[int, int] = {}
        self.interrupted: set[int] = set()
        self.missing = MissingRanges(self._room)
        self.touched: list[tuple[int, int]] = []
        self.unexplained: list[int] = []
        self.closed = False
        self._step = step
        self._expected = stream + 1
        self._cause = NO_CAUSE
        self._run: int | None = None
        self._sealed = False
        self._begun = False

    @property
    def next_seq(self) -> int:
        """The lowest seq that the stream is not known to have given."""
        return self._expected

    def knows(self, seq: int) -> bool:
        """Tell whether a frame of this exchange was seen."""
        return seq < self._expected and seq not in self.missing

    # -- segments -----------------------------------------------------------------------------------------------

    def begin_segment(self, head: SegmentHead | None, cause: int) -> None:
        """Go on in the next segment.

        Args:
            head: what it says of itself, None where that is damaged.
            cause: index of the gap that stands for segments missing just before it, or NO_CAUSE.
        """
        if cause != NO_CAUSE:
            self._cause = cause
            self._leave_unexplained(cause)
        same_run = self._sealed and not self.closed if head is None else head.run == self._run
        if self._begun and not same_run:
            self._end_run()
        if head is not None:
            self._enter(head)
        self._sealed = self.closed = False
        self._begun = True

    def _enter(self, head: SegmentHead) -> None:
        steady = head.streams == self._step
        self._step = max(1, head.streams)
        self._run = head.run
        if steady:
            self._advance(head.first_seq)
        else:  # another number of streams: where this one begins says nothing about what was given before
            self._expected = max(self._expected, head.first_seq)

    def leaves_out(self, head: SegmentHead) -> bool:
        """Tell whether numbers are missing between the last segment, which has no seal, and this one, for no known
        reason.

        A writer goes on with the number after the last that its log holds, so that segment has become shorter since, or
        its last frames could not be written.
        """
        unsealed = self._begun and not self._sealed and self._cause == NO_CAUSE
        return unsealed and head.streams == self._step and head.first_seq > self._expected

    def _end_run(self) -> None:
        if self.closed:
            # The recorder ended every exchange before it sealed, so damage took the ends that are not there.
            for seq, met in self.unfinished.items():
                if met < len(self.unexplained):
                    self._touch(seq, self.unexplained[met])
        for seq in self.unfinished:
            self._interrupt(seq)
        self._room.unfinished += len(self.unfinished)
        self.unfinished.clear()

    def _interrupt(self, seq: int) -> None:
        if self._room.interrupted > 0:
            self._room.interrupted -= 1
            self.interrupted.add(seq)
        else:
            self.unlisted += 1

    def _wait_for(self, seq: int) -> None:
        """Wait for an exchange's end, and no longer for that of the oldest, if there is no room for more."""
        if self._room.unfinished <= 0:
            oldest = list(islice(self.unfinished, len(self.unfinished) // 8 + 1))
            for old in oldest:
                del self.unfinished[old]
                self._interrupt(old)
            self._room.unfinished += len(oldest)
        if self._room.unfinished <= 0:  # other streams have it all
            self._interrupt(seq)
            return
        self._room.unfinished -= 1
        self.unfinished[seq] = len(self.unexplained)

    def _end(self, seq: int) -> bool:
        """Wait no longer for an exchange's end; give whether it was waited for."""
        if self.unfinished.pop(seq, None) is None:
            return False
        self._room.unfinished += 1
        return True

    def _touch(self, seq: int, cause: int) -> None:
        if self._room.touched > 0:
            self._room.touched -= 1
            self.touched.append((seq, cause))

    def _leave_unexplained(self, gap: int) -> None:
        if not self.unexplained or self.unexplained[-1] != gap:  # those that are not listed have one number
            self.unexplained.append(gap)

    def end(self) -> None:
        """Take the end of a stream that nobody writes any more."""
        self._end_run()

    def seal(self, seal: Seal, final: bool) -> None:
        """Take the seal at a segment's end."""
        self._advance(seal.next_seq)
        self._sealed, self.closed = True, final

    # -- frames -------------------------------------------------------------------------------------------------

    def open(self, seq: int) -> None:
        """Take an OPENED frame."""
        if seq >= self._expected:
            if seq > self._expected:
                self._advance(seq)
            self._expected = seq + self._step
            self._cause = NO_CAUSE
        elif self.missing.fill(seq) is None:
            return  # a copy
        self.known += 1
        self._wait_for(seq)

    def see(self, seq: int) -> None:
        """Take any other frame of an exchange; without its OPENED, the damage before it took that one."""
        if seq in self.unfinished or seq in self.interrupted:
            return
        if seq >= self._expected:
            cause = self._cause
            self._advance(seq)
            self._expected = seq + self._step
            self._cause = NO_CAUSE
        else:
            filled = self.missing.fill(seq)
            if filled is None:
                return
            cause = filled
        self.known += 1
        self._wait_for(seq)
        self._touch(seq, cause)

    def finish(self, seq: int) -> None:
        """Take a DONE frame."""
        if not self._end(seq):
            self.see(seq)
            if not self._end(seq):
                if seq not in self.interrupted:
                    return
                self.interrupted.discard(seq)
                self._room.interrupted += 1
        self.done += 1

    def damage(self, damage: Damage, gap: int) -> None:
        """Take a damaged range, reported as gap number ``gap``."""
        if not damage.seqs_hint:
            self._leave_unexplained(gap)
            self._cause = gap
        for seq in damage.seqs_hint:
            if damage.kind == FrameType.OPENED and seq >= self._expected:
                self._advance(seq)
                self.missing.add(seq, seq + 1, self._step, gap)
                self._expected = seq + self._step
                self._cause = NO_CAUSE
            elif damage.kind == FrameType.DONE and self._end(seq):
                self._interrupt(seq)  # it ended; how, nobody knows any more

    def _advance(self, seq: int) -> None:
        """All numbers before ``seq`` have been given."""
        if seq > self._expected:
            self.missing.add(self._expected, seq, self._step, self._cause)
            self._expected = seq
            self._cause = NO_CAUSE

    # -- put aside ----------------------------------------------------------------------------------------------

    def save(self) -> LedgerState:
        """Give everything that ``load`` needs to go on."""
        return LedgerState(
            self.known,
            self.done,
            self.unfinished,
            sorted(self.interrupted),
            self.missing.ranges,
            self.touched,
            self.unexplained,
            self.closed,
            self._step,
            self._expected,
            self._cause,
            self._run,
            self._sealed,
            self._begun,
            self.unlisted,
            [self.missing.lost, self.missing.never_written],
        )

    @classmethod
    def load(cls, stream: int, state: LedgerState, room: Room) -> StreamLedger:
        """Go on with what ``save`` gave."""
        ledger = cls(stream, state.step, room)
        ledger.known, ledger.done, ledger.closed = state.known, state.done, state.closed
        ledger.unfinished, ledger.interrupted = state.unfinished, set(state.interrupted)
        ledger.missing = MissingRanges(room, state.missing)
        ledger.missing.lost, ledger.missing.never_written = state.beyond
        ledger.unlisted = state.unlisted
        room.unfinished -= len(ledger.unfinished)
        room.interrupted -= len(ledger.interrupted)
        room.touched -= len(state.touched)
        ledger.touched, ledger.unexplained = state.touched, state.unexplained
        ledger._expected, ledger._cause, ledger._run = state.expected, state.cause, state.run
        ledger._sealed, ledger._begun = state.sealed, state.begun
        return ledger
