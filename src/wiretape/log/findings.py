"""What was found damaged in a log, in bounded memory: ranges, tails, the exchanges they touched, and sentences."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from wiretape.log.items import Damage
from wiretape.model import Gap

# Reports stay readable and bounded: what exceeds these is counted and noted, not listed.
LISTED_GAPS: Final = 10_000
LISTED_IN_GAPS: Final = 20_000
LISTED_NOTES: Final = 1_000

Place = tuple[int, int]
"""Stream and number of a segment: the order of the log."""


class Findings(msgspec.Struct, array_like=True):
    """Damage as it is met, each thing with its place.

    Attributes:
        gaps: damaged and missing ranges; what they touched is in ``hints``, by their number in this list.
        provisional: numbers of gaps that are told only if they explain a missing exchange.
        tails: ends that a killed writer or a power cut left.
        hints: the exchanges that a gap certainly touches.
        hinted: how many those are.
        notes: sentences for the report.
        unlisted, unlisted_notes: gaps and notes for which there was no room.
        damaged_bytes: the length of all gaps.
    """

    gaps: list[tuple[Gap, Place]] = msgspec.field(default_factory=list)
    provisional: set[int] = msgspec.field(default_factory=set)
    tails: list[tuple[Gap, Place]] = msgspec.field(default_factory=list)
    hints: dict[int, set[int]] = msgspec.field(default_factory=dict)
    hinted: int = 0
    notes: list[tuple[str, Place]] = msgspec.field(default_factory=list)
    unlisted: int = 0
    unlisted_notes: int = 0
    damaged_bytes: int = 0

    @property
    def used_up(self) -> bool:
        """Whether a bound was reached: what came first is listed then, and the rest counted."""
        return bool(self.unlisted or self.unlisted_notes or self.hinted >= LISTED_IN_GAPS)

    def add(self, damage: Damage, seqs: Iterable[int], place: Place) -> int:
        """Take a damaged range that touches the exchanges ``seqs``; return its number."""
        self.damaged_bytes += damage.length
        gap = self.add_gap(as_gap(damage), place)
        known = self.hints.setdefault(gap, set())
        self.hinted += hint(known, seqs, LISTED_IN_GAPS - self.hinted)
        return gap

    def add_gap(self, gap: Gap, place: Place) -> int:
        """Take a gap; return its number. Those that are not listed have one number, of which nothing is told."""
        if len(self.gaps) >= LISTED_GAPS:
            self.unlisted += 1
            return LISTED_GAPS
        self.gaps.append((gap, place))
        return len(self.gaps) - 1

    def add_tail(self, damage: Damage, place: Place) -> None:
        """Take an unfinished end."""
        self.tails.append((as_gap(damage), place))

    def note(self, sentence: str, place: Place) -> None:
        """Take a sentence."""
        if len(self.notes) < LISTED_NOTES:
            self.notes.append((sentence, place))
        else:
            self.unlisted_notes += 1


def as_gap(damage: Damage) -> Gap:
    """Return a damaged range as the report names it."""
    return Gap(segment=damage.segment, offset=damage.offset, length=damage.length, reason=damage.reason)


def hint(known: set[int], seqs: Iterable[int], room: int) -> int:
    """Add numbers to those that are known to be touched, at most ``room``; return how many were new."""
    before = len(known)
    for seq in seqs:
        if len(known) - before >= room:
            break
        known.add(seq)
    return len(known) - before
