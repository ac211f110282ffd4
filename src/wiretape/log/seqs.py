"""Sets of seqs in memory that follows the gaps between them, not their number."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import Final

_RANGES: Final = 50_000
"""Ranges that are kept, 100 bytes each; seqs beyond are counted only."""


class Seqs:
    """Seqs of one stream, each once. Those of exchanges that ended lie nearly all side by side.

    Attributes:
        note: adds a seq that is not in the set, in constant time; for the way that every exchange takes.
        unlisted: how many are in the set and not listed, for want of room.
    """

    def __init__(self, step: int = 1, seqs: Iterable[int] = ()) -> None:
        """Begin.

        Args:
            step: the difference between two seqs of the stream that follow each other.
            seqs: what is in the set.
        """
        self._step = step
        self._noted = list(seqs)
        self.note = self._noted.append
        self._ranges: list[tuple[int, int]] = []
        self.unlisted = 0

    def __len__(self) -> int:
        step = self._step
        return sum((last - first) // step + 1 for first, last in self._folded()) + self.unlisted

    def __bool__(self) -> bool:
        return bool(self._noted or self._ranges or self.unlisted)

    def __iter__(self) -> Iterator[int]:
        """Yield those that are listed, in order."""
        for first, last in self._folded():
            yield from range(first, last + 1, self._step)

    def __contains__(self, seq: int) -> bool:
        at = bisect_right(self._folded(), (seq, 1 << 62)) - 1
        return at >= 0 and seq <= self._ranges[at][1] and (seq - self._ranges[at][0]) % self._step == 0

    def discard(self, seq: int) -> None:
        """Remove a seq, if it is there."""
        if seq not in self:
            return
        at = bisect_right(self._ranges, (seq, 1 << 62)) - 1
        first, last = self._ranges[at]
        parts = ((first, seq - self._step), (seq + self._step, last))
        self._ranges[at : at + 1] = [part for part in parts if part[0] <= part[1]]

    def clear(self) -> None:
        """Remove all."""
        self._noted.clear()
        self._ranges = []
        self.unlisted = 0

    def take(self, *, keep_noted: int = 0) -> Seqs:
        """Move all to another set, except those that were noted last."""
        kept = self._noted[len(self._noted) - keep_noted :]
        del self._noted[len(self._noted) - keep_noted :]
        taken = Seqs(self._step)
        taken._ranges, taken.unlisted = self._folded(), self.unlisted
        self.clear()
        self._noted.extend(kept)
        return taken

    def take_first(self, count: int) -> list[int]:
        """Remove the lowest that are listed, at most ``count``, and return them."""
        taken: list[int] = []
        ranges = self._folded()
        while ranges and len(taken) < count:
            first, last = ranges[0]
            some = range(first, last + 1, self._step)[: count - len(taken)]
            taken.extend(some)
            ranges[0:1] = [(some[-1] + self._step, last)] if some[-1] < last else []
        return taken

    def add(self, other: Seqs) -> None:
        """Put in what another set has and this one has not."""
        missing = other.without(self)
        self._ranges = self._bounded(_merged([*self._folded(), *missing._ranges], self._step))
        self.unlisted += missing.unlisted

    def without(self, other: Seqs) -> Seqs:
        """Return what is in this set and not in another."""
        step, left = self._step, Seqs(self._step)
        taken = other._folded()
        at = 0
        for first, last in self._folded():
            while at < len(taken) and taken[at][1] < first:
                at += 1
            beyond = at
            while beyond < len(taken) and taken[beyond][0] <= last:
                if taken[beyond][0] > first:
                    left._ranges.append((first, taken[beyond][0] - step))
                first = taken[beyond][1] + step
                beyond += 1
            if first <= last:
                left._ranges.append((first, last))
        left.unlisted = max(0, self.unlisted - other.unlisted)
        return left

    def fold(self) -> None:
        """Spend the memory of what was noted."""
        self._folded()

    def _folded(self) -> list[tuple[int, int]]:
        if self._noted:
            noted = [(seq, seq) for seq in self._noted]
            self._noted.clear()
            self._ranges = self._bounded(_merged([*self._ranges, *noted], self._step))
        return self._ranges

    def _bounded(self, ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
        self.unlisted += sum((last - first) // self._step + 1 for first, last in ranges[_RANGES:])
        return ranges[:_RANGES]


def _merged(ranges: list[tuple[int, int]], step: int) -> list[tuple[int, int]]:
    """Put ranges in order, and those that touch or overlap together."""
    ranges.sort()
    merged: list[tuple[int, int]] = []
    for first, last in ranges:
        if merged and first <= merged[-1][1] + step:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return merged
