"""What a part of the proof counts, in pieces that are added up."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

_LISTED = 20


@dataclass(slots=True)
class Tally:
    """Counts by name, the largest of one thing that is measured, and a sentence for what does not hold.

    All that does not hold is counted as ``failures``; the first ones are told.
    """

    counts: Counter[str] = field(default_factory=Counter)
    most: float = 0
    failures: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Add what another has counted."""
        self.counts += other.counts
        self.most = max(self.most, other.most)
        self.failures = [*self.failures, *other.failures][:_LISTED]

    def expect(self, holds: bool, otherwise: str) -> None:
        """Count what does not hold."""
        if not holds:
            self.counts["failures"] += 1
            if len(self.failures) < _LISTED:
                self.failures.append(otherwise)
