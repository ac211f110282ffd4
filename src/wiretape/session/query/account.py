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
BINARY: Final = "image, sound, font or archive"
CUT: Final = "a message is damaged, cut or very long"

_NAMED: Final = 20
"""Exchanges that are named for one reason."""
_IN_A_NOTE: Final = 10
"""And those of them that stand in a sentence."""


class Unsearched:
    """Which exchanges could not be decided, and why.

    Attributes:
        counts: bodies, by reason.
        seqs: the first exchanges of each reason.
    """

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.seqs: dict[str, list[int]] = {}

    def skipped(self, reason: str, seq: int) -> None:
        """Take note of a body that was not searched to its end."""
        self.counts[reason] = self.counts.get(reason, 0) + 1
        named = self.seqs.setdefault(reason, [])
        if len(named) < _NAMED and seq not in named[-1:]:
            named.append(seq)

    def add(self, seq: int, reasons: Iterable[str]) -> None:
        """Take note of an exchange; a reason that comes twice is two bodies."""
        for reason in reasons:
            self.skipped(reason, seq)

    def __bool__(self) -> bool:
        return bool(self.counts)

    def notes(self) -> list[str]:
        """Say what was not searched, one sentence for each reason."""
        return [self._note(reason, count) for reason, count in sorted(self.counts.items())]

    def _note(self, reason: str, count: int) -> str:
        what = "1 body was" if count == 1 else f"{count} bodies were"
        seqs = sorted(self.seqs[reason][:_IN_A_NOTE])
        more = ", ..." if count > len(seqs) == _IN_A_NOTE else ""
        return f"{what} not searched to the end: {reason} (seq {', '.join(map(str, seqs))}{more})."
