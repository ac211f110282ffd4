"""What the recorder says passed while nothing could be written: how many exchanges, and the numbers of some."""

from __future__ import annotations

from bisect import bisect_left
from hashlib import blake2b
from typing import Final

import msgspec

from wiretape.log.format import Event

IMPOSSIBLE_SEQ_FROM: Final = 2**53
"""No writer comes this far, and JSON's numbers are exact only up to here."""
_PARTIAL: Final = 100_000
_EVENTS: Final = 100_000
_DIGEST: Final = 16


class DropsState(msgspec.Struct, array_like=True):
    """What was told so far, put aside."""

    exchanges: int
    partial: list[int]
    events: list[bytes]


class Drops:
    """Adds up the events of a log that tell of drops; an event that was written twice counts once.

    Attributes:
        exchanges: how many passed unrecorded.
        partial: seqs of those that had a number; the first 100,000.
    """

    def __init__(self, state: DropsState | None = None) -> None:
        self.exchanges = state.exchanges if state is not None else 0
        self.partial = set(state.partial if state is not None else ())
        self._events = set(state.events if state is not None else ())

    def take(self, head: bytes, event: Event) -> None:
        """Take an event; ``head`` is its record, encoded."""
        if event.kind != "dropped":
            return
        # After a failed fsync the writer writes frames again to a new segment: what an event counts counts once.
        digest = blake2b(head, digest_size=_DIGEST).digest()
        if digest in self._events:
            return
        if len(self._events) < _EVENTS:
            self._events.add(digest)
        exchanges, partial = event.detail.get("exchanges"), event.detail.get("partial")
        if isinstance(exchanges, int) and 0 < exchanges < IMPOSSIBLE_SEQ_FROM:
            self.exchanges += exchanges
        for seq in partial if isinstance(partial, list) else ():
            if isinstance(seq, int) and 0 < seq < IMPOSSIBLE_SEQ_FROM and len(self.partial) < _PARTIAL:
                self.partial.add(seq)

    def save(self) -> DropsState:
        """Give everything that is needed to go on."""
        return DropsState(self.exchanges, sorted(self.partial), sorted(self._events))


def count_in(sorted_seqs: list[int], seqs: range) -> int:
    """Count those of a sorted list that are in a range."""
    first, last = bisect_left(sorted_seqs, seqs.start), bisect_left(sorted_seqs, seqs.stop)
    return sum(1 for seq in sorted_seqs[first:last] if seq in seqs)
