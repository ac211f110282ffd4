"""One stream's exchanges: which were opened, which ended, which numbers are missing and why.

A stream gives its numbers in steps, so a number that never shows up is known to be missing. What took it is the damage
that lies between the frames around it; where there is none, it was never written. Memory follows what is unfinished or
missing, not how long the stream is (P8); and there is an end to that, too, because a forged log may be nothing but
beginnings. What goes beyond it is counted and not listed.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterator
from itertools import islice
from operator import itemgetter
from typing import Final

import msgspec

from wiretape.log.format import FrameType, Seal, SegmentHead
from wiretape.log.items import IMPOSSIBLE_FROM

NO_CAUSE: Final = -1
"""In place of a gap's index: nothing in the log explains why a number is missing."""

UNFINISHED: Final = 50_000
"""Exchanges whose end is waited for at once; a recorder has some thousand at most."""
INTERRUPTED: Final = 100_000
"""Exchanges without an end that are known by their numbers."""
RANGES: Final = 50_000
"""Ranges of missing numbers."""
TOUCHED: Final = 20_000
"""Exchanges that damage touched."""
MAX_STREAMS: Final = 10_000
"""A stream's number has at most four digits (FORMAT.md)."""

_start = itemgetter(0)


class Room(msgspec.Struct, array_like=True):
    """How much more the sequences of one log may hold, all together."""

    interrupted: int = msgspec.field(default_factory=lambda: INTERRUPTED)
    ranges: int = msgspec.field(default_factory=lambda: RANGES)
    touched: int = msgspec.field(default_factory=lambda: TOUCHED)

    @property
    def used_up(self) -> bool:
        """Whether there is no room left of one kind."""
        return min(self.interrupted, self.ranges, self.touched) <= 0


class MissingRanges(msgspec.Struct, array_like=True):
    """Ranges of missing seqs, each with the index of the gap that took it; added in ascending order.

    Attributes:
        room: how many ranges there may be.
        ranges: each as (start, stop, step, cause).
        lost, never_written: seqs in ranges for which there was no room: with a cause, and with none.
    """

    room: Room
    ranges: list[tuple[int, int, int, int]] = msgspec.field(default_factory=list)
    lost: int = 0
    never_written: int = 0

    def add(self, start: int, stop: int, step: int, cause: int) -> None:
        """Note that ``start``, ``start + step``, ... before ``stop`` are missing because of gap ``cause``."""
        if start >= stop:
            return
        if self.room.ranges > 0:
            self.room.ranges -= 1
            self.ranges.append((start, stop, step, cause))
        elif cause == NO_CAUSE:
            self.never_written += count(range(start, stop, step))
        else:
            self.lost += count(range(start, stop, step))

    def fill(self, seq: int) -> int | None:
        """Take out a seq that was found after all; return its cause, None when it was not missing."""
        at = bisect_right(self.ranges, seq, key=_start) - 1
        if at < 0:
            return None
        start, stop, step, cause = self.ranges[at]
        if seq >= stop or (seq - start) % step:
            return None
        parts = [part for part in ((start, seq), (seq + step, stop)) if part[0] < part[1]]
        if len(parts) > 1 and self.room.ranges <= 0:
            return None
        self.room.ranges += 1 - len(parts)
        self.ranges[at : at + 1] = [(*part, step, cause) for part in parts]
        return cause

    def __contains__(self, seq: int) -> bool:
        at = bisect_right(self.ranges, seq, key=_start) - 1
        if at < 0:
            return False
        start, stop, step, _ = self.ranges[at]
        return seq < stop and (seq - start) % step == 0

    def __iter__(self) -> Iterator[tuple[range, int]]:
        """Yield each range with its cause."""
        for start, stop, step, cause in self.ranges:
            yield range(start, stop, step), cause


def count(seqs: range) -> int:
    """Count a range that a forged seal may have made longer than ``len`` can say."""
    return max(0, (seqs.stop - seqs.start + seqs.step - 1) // seqs.step)


class StreamSequence(msgspec.Struct, array_like=True):
    """Follows one stream, frame by frame. It can be encoded, and gone on with when it is decoded.

    Attributes:
        room: what it may hold; shared with the other streams of the log.
        expected: the lowest seq that the stream is not known to have given.
        step: from one of its seqs to the next.
        missing: seqs of which nothing was seen.
        known: exchanges of which at least one sound frame was seen.
        done: those whose end was seen.
        unfinished: opened in the run that is being read and not done; the value tells how many unexplained damages
            had been met when it was opened.
        most: how many those may be.
        interrupted: opened in a run that is over and not done.
        gave_up: some of those were no longer waited for, for want of room.
        unlisted: further exchanges that were opened and for whose end there was no room to wait.
        touched: (seq, cause) of exchanges that lack their request or their end because of damage.
        unexplained: the gaps of which nobody knows whose frames they took.
        cause: the last of them since the last number that was given, or NO_CAUSE.
        run: of the segment that is being read.
        begun: a segment was begun.
        sealed: the last frame is a seal; with ``closed`` it is the stream's final one.
    """

    room: Room
    expected: int
    step: int
    missing: MissingRanges
    known: int = 0
    done: int = 0
    unfinished: dict[int, int] = msgspec.field(default_factory=dict)
    most: int = msgspec.field(default_factory=lambda: UNFINISHED)
    interrupted: set[int] = msgspec.field(default_factory=set)
    unlisted: int = 0
    gave_up: bool = False
    touched: list[tuple[int, int]] = msgspec.field(default_factory=list)
    unexplained: list[int] = msgspec.field(default_factory=list)
    cause: int = NO_CAUSE
    run: int | None = None
    begun: bool = False
    sealed: bool = False
    closed: bool = False

    @classmethod
    def of(cls, stream: int, step: int, room: Room | None = None) -> StreamSequence:
        """Return the sequence of a stream of which nothing was read yet."""
        room = room if room is not None else Room()
        return cls(room, min(stream + 1, IMPOSSIBLE_FROM), step, MissingRanges(room))

    def share(self, room: Room) -> None:
        """Take ``room`` for the one that is shared, after decoding."""
        self.room = self.missing.room = room

    def leave_room_for(self, others: int) -> None:
        """Wait for so many ends at once that, with those that other streams wait for, the bound is kept."""
        self.most = max(0, UNFINISHED - others)

    def knows(self, seq: int) -> bool:
        """Return whether a frame of this exchange was seen."""
        return seq < self.expected and seq not in self.missing

    # -- segments -----------------------------------------------------------------------------------------------

    def begin_segment(self, head: SegmentHead | None, cause: int) -> None:
        """Go on in the next segment.

        Args:
            head: what it says of itself, None where that is damaged.
            cause: index of the gap that stands for segments missing just before it, or NO_CAUSE.
        """
        if cause != NO_CAUSE:
            self.cause = cause
            self._leave_unexplained(cause)
        same_run = self.sealed and not self.closed if head is None else head.run == self.run
        if self.begun and not same_run:
            self._end_run()
        if head is not None:
            self._enter(head)
        self.sealed = self.closed = False
        self.begun = True

    def _enter(self, head: SegmentHead) -> None:
        step = min(MAX_STREAMS, max(1, head.streams))
        steady = step == self.step
        self.step = step
        self.run = head.run
        if steady:
            self._advance(head.first_seq)
        else:  # another number of streams: where this one begins says nothing about what was given before
            self.expected = max(self.expected, min(head.first_seq, IMPOSSIBLE_FROM))

    def leaves_out(self, head: SegmentHead) -> bool:
        """Return whether numbers are missing between the last segment, which has no seal, and this one, for no known
        reason.

        A writer goes on with the number after the last that its log holds, so that segment has become shorter since, or
        its last frames could not be written.
        """
        unsealed = self.begun and not self.sealed and self.cause == NO_CAUSE
        return unsealed and head.streams == self.step and head.first_seq > self.expected

    def ends_lost(self) -> list[tuple[int, int]]:
        """Return (seq, cause) of the unfinished whose end damage took, if the run is over.

        The recorder ended every exchange before it sealed the stream, so damage took the ends that are not there.
        """
        if not self.closed:
            return []
        met = len(self.unexplained)
        return [(seq, self.unexplained[at]) for seq, at in self.unfinished.items() if at < met]

    def _end_run(self) -> None:
        for seq, cause in self.ends_lost():
            self._touch(seq, cause)
        for seq in self.unfinished:
            self._interrupt(seq)
        self.unfinished.clear()

    def _interrupt(self, seq: int) -> None:
        if self.room.interrupted > 0:
            self.room.interrupted -= 1
            self.interrupted.add(seq)
        else:
            self.unlisted += 1

    def _wait_for(self, seq: int) -> None:
        """Wait for an exchange's end, and no longer for that of the oldest, if there is no room for more."""
        if len(self.unfinished) >= self.most:
            self.gave_up = True
            oldest = list(islice(self.unfinished, len(self.unfinished) // 8 + 1))
            for old in oldest:
                del self.unfinished[old]
                self._interrupt(old)
        if len(self.unfinished) >= self.most:  # other streams have it all
            self._interrupt(seq)
            return
        self.unfinished[seq] = len(self.unexplained)

    def _touch(self, seq: int, cause: int) -> None:
        if self.room.touched > 0:
            self.room.touched -= 1
            self.touched.append((seq, cause))

    def _leave_unexplained(self, gap: int) -> None:
        if not self.unexplained or self.unexplained[-1] != gap:  # those that are not listed have one number
            self.unexplained.append(gap)

    def seal(self, seal: Seal, final: bool) -> None:
        """Take the seal at a segment's end."""
        self._advance(seal.next_seq)
        self.sealed, self.closed = True, final

    # -- frames -------------------------------------------------------------------------------------------------

    def open(self, seq: int) -> None:
        """Take an OPENED frame."""
        expected = self.expected
        if seq >= expected:
            if seq > expected:
                self._advance(seq)
            self.expected = seq + self.step
            if self.cause != NO_CAUSE:
                self.cause = NO_CAUSE
        elif self.missing.fill(seq) is None:
            return  # a copy
        self.known += 1
        unfinished = self.unfinished
        if len(unfinished) < self.most:
            unfinished[seq] = len(self.unexplained)
        else:
            self._wait_for(seq)

    def see(self, seq: int) -> None:
        """Take any other frame of an exchange; without its OPENED, the damage before it took that one."""
        if seq in self.unfinished or seq in self.interrupted:
            return
        if seq >= self.expected:
            cause = self.cause
            self._advance(seq)
            self.expected = seq + self.step
            self.cause = NO_CAUSE
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
        unfinished = self.unfinished
        if unfinished.pop(seq, None) is None:
            self.see(seq)
            if unfinished.pop(seq, None) is None:
                if seq not in self.interrupted:
                    return
                self.interrupted.discard(seq)
                self.room.interrupted += 1
        self.done += 1

    def damage(self, kind: int, seqs: Collection[int], gap: int) -> None:
        """Take a damaged range, reported as gap number ``gap``.

        Args:
            kind: of the frame that it was, 0 where unknown.
            seqs: the exchanges that it certainly touches.
            gap: its number in the report.
        """
        if not seqs:
            self._leave_unexplained(gap)
            self.cause = gap
        for seq in seqs:
            if kind == FrameType.OPENED and seq >= self.expected:
                self._advance(seq)
                self.missing.add(seq, seq + 1, self.step, gap)
                self.expected = seq + self.step
                self.cause = NO_CAUSE
            elif kind == FrameType.DONE and self.unfinished.pop(seq, None) is not None:
                self._interrupt(seq)  # it ended; how, nobody knows any more

    def _advance(self, seq: int) -> None:
        """All numbers before ``seq`` have been given; one that no writer gives tells nothing."""
        seq = min(seq, IMPOSSIBLE_FROM)
        if seq > self.expected:
            self.missing.add(self.expected, seq, self.step, self.cause)
            self.expected = seq
            self.cause = NO_CAUSE
