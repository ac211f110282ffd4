"""What the index knows about the state of a log: counts, what was lost, whether it was closed cleanly."""

from __future__ import annotations

import zlib
from typing import Final

import msgspec

from wiretape.log.store import SegmentRef
from wiretape.model import Coverage, RecoveryState
from wiretape.session.index.database import Index

_COUNTS: Final = """
SELECT (SELECT ifnull(max(seq), 0) FROM exchanges),
       (SELECT ifnull(sum(present), 0) FROM streams),
       (SELECT count(*) FROM exchanges WHERE state = 'inFlight'),
       (SELECT count(*) FROM exchanges WHERE harmed),
       (SELECT ifnull(sum(dropped), 0) FROM (SELECT DISTINCT stream, dropped, detail
           FROM events JOIN segments ON segments.id = segment WHERE kind = 'dropped')),
       (SELECT ifnull(sum(max((next_seq - first_seq + step - 1) / step, present) - present), 0) FROM streams),
       (SELECT count(*) FROM unrecorded WHERE seq NOT IN (SELECT seq FROM exchanges)),
       (SELECT count(*) FROM damage WHERE NOT tail) +
           (SELECT ifnull(sum(absent), 0) FROM
               (SELECT max(number) - count(*) AS absent FROM segments WHERE closed >= 0 GROUP BY stream)),
       (SELECT count(*) FROM damage WHERE tail),
       (SELECT count(*) FROM exchanges WHERE state = 'interrupted'),
       (SELECT count(*) FROM segments AS s WHERE closed IN (0, 1) AND number =
           (SELECT max(number) FROM segments AS t WHERE t.stream = s.stream AND t.closed >= 0))
"""


class Health(msgspec.Struct, frozen=True):
    """Counts of one moment. ``unclosed`` are streams without the seal that a clean end gives the last segment."""

    through_seq: int
    exchanges: int
    in_flight: int
    harmed: int
    dropped: int
    missing: int
    unrecorded: int
    damages: int  # ranges, and whole segments that are absent
    tails: int
    interrupted: int
    unclosed: int
    found_lost: int | None = None
    unread: int = 0  # bytes of the log that are not in the index, because reading them would have taken too long
    size: int = 0  # bytes of the log, where some are unread

    @property
    def lost(self) -> int:
        """Exchanges that were given a number and of which damage left nothing.

        Where there is no damage, a number that is missing was never written.
        """
        if self.found_lost is not None:
            return self.found_lost
        return max(0, self.missing - self.unrecorded) if self.damages else 0

    @property
    def damaged(self) -> int:
        """Exchanges lost or harmed by damage."""
        return self.harmed + self.lost

    def recovery_state(self, *, live: int) -> RecoveryState:
        """Say what the state of the log is; the ``live`` streams being written are not expected to be closed."""
        if self.damages or self.damaged:
            return "damaged"
        if self.tails or self.interrupted or self.unclosed > live:
            return "recovered"
        return "clean"


def read_health(index: Index) -> Health:
    """Read the counts; the index has followed the log before."""
    row = index.one(_COUNTS)
    assert row is not None
    return Health(*row)


def coverage(health: Health, *, empty: bool = False, notes: list[str] | None = None) -> Coverage:
    """Say what an answer was made from; an empty one over incomplete data gets a sentence (P11)."""
    found = list(notes or [])
    unread = unread_note(health)
    if unread is not None:
        found.append(unread)
    if health.dropped:
        found.append(f"{_many(health.dropped)} passed while nothing could be recorded and cannot be found.")
    if health.lost:
        found.append(f"{_many(health.lost)} lost to damage and cannot be found.")
    if health.harmed:
        found.append(f"{_many(health.harmed)} harmed by damage: parts may be missing.")
    if empty and health.in_flight:
        found.append(f"{_many(health.in_flight)} still running: what has not arrived cannot match.")
    if empty and health.damages and not health.damaged:
        found.append("Parts of the log are damaged.")
    return Coverage(
        through_seq=health.through_seq,
        in_flight=health.in_flight,
        dropped=health.dropped,
        damaged=health.damaged,
        notes=found,
    )


def unread_note(health: Health) -> str | None:
    """Say how far an index that is still being made goes; None when it goes to the log's end."""
    if not health.unread:
        return None
    read, size = ((count / 1_000_000) for count in (health.size - health.unread, health.size))
    return (
        f"The index is still being made: {read:,.0f} of {size:,.0f} MB of the log are read, up to exchange"
        f" {health.through_seq}; what follows cannot be found yet. Ask again."
    )


def _many(count: int) -> str:
    return "1 exchange" if count == 1 else f"{count} exchanges"


def fingerprint(segments: list[SegmentRef]) -> str:
    """Give what tells one state of a log from another: a log only grows, so names and sizes do."""
    text = "".join(f"{ref.name} {ref.size}{' healed' if ref.healed else ''}\n" for ref in segments)
    return f"{len(segments)} segments, {sum(ref.size for ref in segments)} bytes, {zlib.crc32(text.encode()):08x}"
