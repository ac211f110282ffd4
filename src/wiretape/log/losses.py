"""What the recorder says passed while nothing could be written: how many exchanges, and the numbers of some."""

from __future__ import annotations

from bisect import bisect_left
from hashlib import blake2b
from typing import Final

import msgspec

from wiretape.log.format import Event
from wiretape.log.items import IMPOSSIBLE_FROM

_PARTIAL: Final = 100_000
_EVENTS: Final = 100_000
_DIGEST: Final = 16
_KEY: Final = 8


class DropEvents(msgspec.Struct, array_like=True):
    """Adds up the events of a log that tell of drops; an event that was written twice counts once.

    Attributes:
        exchanges: how many passed unrecorded.
        partial: seqs of those that had a number; the first 100,000.
        events: digests of the events that were counted.
    """

    exchanges: int = 0
    partial: set[int] = msgspec.field(default_factory=set)
    events: set[bytes] = msgspec.field(default_factory=set)

    @property
    def used_up(self) -> bool:
        """Whether a bound was reached: what came first is known then, and the rest not."""
        return len(self.partial) >= _PARTIAL or len(self.events) >= _EVENTS

    def take(self, stream: int, head: bytes, event: Event) -> None:
        """Take an event of a stream; ``head`` is its record, encoded."""
        if event.kind != "dropped":
            return
        # After a failed fsync the writer writes frames again to a new segment: what an event counts counts once.
        # Two recorders may tell of equal drops: those are two.
        digest = blake2b(head, digest_size=_DIGEST, key=stream.to_bytes(_KEY, "little")).digest()
        if digest in self.events:
            return
        if len(self.events) < _EVENTS:
            self.events.add(digest)
        exchanges, partial = event.detail.get("exchanges"), event.detail.get("partial")
        if isinstance(exchanges, int) and 0 < exchanges < IMPOSSIBLE_FROM:
            self.exchanges = min(self.exchanges + exchanges, IMPOSSIBLE_FROM)
        for seq in partial if isinstance(partial, list) else ():
            if isinstance(seq, int) and 0 < seq < IMPOSSIBLE_FROM and len(self.partial) < _PARTIAL:
                self.partial.add(seq)


def count_in(sorted_seqs: list[int], seqs: range) -> int:
    """Return how many of a sorted list are in a range."""
    first, last = bisect_left(sorted_seqs, seqs.start), bisect_left(sorted_seqs, seqs.stop)
    return sum(1 for seq in sorted_seqs[first:last] if seq in seqs)
