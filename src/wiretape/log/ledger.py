"""The account of one stream's exchanges: which were opened, which ended, which numbers are missing and why.

A stream gives its numbers in steps, so a number that never shows up is known to be missing. What took it is the damage
that lies between the frames around it; where there is none, it was never written. Memory follows what is unfinished or
missing, not how long the stream is (P8).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator

import msgspec

from wiretape.log.format import FrameType, Seal, SegmentHead
from wiretape.log.items import Damage

NO_CAUSE = -1
"""In place of a gap's index: nothing in the log explains why a number is missing."""


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


class MissingRanges:
    """Ranges of missing seqs, each with the index of the gap that took it; added in ascending order."""

    def __init__(self, ranges: list[tuple[int, int, int, int]] | None = None) -> None:
        self._ranges = list(ranges or [])
        self._starts = [start for start, *_ in self._ranges]

    @property
    def ranges(self) -> list[tuple[int, int, int, int]]:
        """The ranges as (start, stop, step, cause), for ``MissingRanges(ranges)``."""
        return self._ranges

    def add(self, start: int, stop: int, step: int, cause: int) -> None:
        """Note that ``start``, ``start + step``, ... before ``stop`` are missing because of gap ``cause``."""
        if start < stop:
            self._starts.append(start)
            self._ranges.append((start, stop, step, cause))

    def fill(self, seq: int) -> int | None:
        """Take out a seq that was found after all; gives its cause, None when it was not missing."""
        at = bisect_right(self._starts, seq) - 1
        if at < 0:
            return None
        start, stop, step, cause = self._ranges[at]
        if seq >= stop or (seq - start) % step:
            return None
        parts = [part for part in ((start, seq), (seq + step, stop)) if part[0] < part[1]]
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
    """

    def __init__(self, stream: int, step: int) -> None:
        self.stream = stream
        self.known = 0
        self.done = 0
        self.unfinished: dict[int, int] = {}
        self.interrupted: set[int] = set()
        self.missing = MissingRanges()
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
            self.unexplained.append(cause)
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
                    self.touched.append((seq, self.unexplained[met]))
        self.interrupted.update(self.unfinished)
        self.unfinished.clear()

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
        self.unfinished[seq] = len(self.unexplained)

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
        self.unfinished[seq] = len(self.unexplained)
        self.touched.append((seq, cause))

    def finish(self, seq: int) -> None:
        """Take a DONE frame."""
        if self.unfinished.pop(seq, None) is None:
            self.see(seq)
            if self.unfinished.pop(seq, None) is None:
                if seq not in self.interrupted:
                    return
                self.interrupted.discard(seq)
        self.done += 1

    def damage(self, damage: Damage, gap: int) -> None:
        """Take a damaged range, reported as gap number ``gap``."""
        if not damage.seqs_hint:
            self.unexplained.append(gap)
            self._cause = gap
        for seq in damage.seqs_hint:
            if damage.kind == FrameType.OPENED and seq >= self._expected:
                self._advance(seq)
                self.missing.add(seq, seq + 1, self._step, gap)
                self._expected = seq + self._step
                self._cause = NO_CAUSE
            elif damage.kind == FrameType.DONE and self.unfinished.pop(seq, None) is not None:
                self.interrupted.add(seq)  # it ended; how, nobody knows any more

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
        )

    @classmethod
    def load(cls, stream: int, state: LedgerState) -> StreamLedger:
        """Go on with what ``save`` gave."""
        ledger = cls(stream, state.step)
        ledger.known, ledger.done, ledger.closed = state.known, state.done, state.closed
        ledger.unfinished, ledger.interrupted = state.unfinished, set(state.interrupted)
        ledger.missing = MissingRanges(state.missing)
        ledger.touched, ledger.unexplained = state.touched, state.unexplained
        ledger._expected, ledger._cause, ledger._run = state.expected, state.cause, state.run
        ledger._sealed, ledger._begun = state.sealed, state.begun
        return ledger
