"""What a check of a whole log reports."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from wiretape.model import Gap

SESSION_EVENT: Final = "session"
"""``kind`` of the EVENT that describes the session; every recorder writes it at the beginning of its stream."""


class LogReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a log holds and what it lacks, as far as it was read. Lists of seqs are sorted.

    Attributes:
        exchanges: exchanges of which at least one frame is there.
        done: those whose end is there.
        interrupted: begun and no end is there, nor will it come: their run is over, or the disk refused it.
        interrupted_unlisted: further ones, of a log with so many that they are not listed.
        in_flight: begun by the writer that is alive, and not ended.
        partial: passed while the disk refused; recorded in part or not at all (they count in ``dropped``).
        lost: seqs of which damage left nothing; the first 10,000, ``lost_exchanges`` counts all.
        damaged: exchanges that damage touched and left something of.
        gaps: damaged, missing, foreign and doubled ranges; tails are not among them.
        tails: the unfinished ends that killed writers or power cuts left; ``torn_tail_bytes`` is their length.
        closed_cleanly: every stream ends with its final seal.
        unclosed: streams without one that nobody writes.
        holder: the note of a living writer (pid, bootId, nonce, stream), None when there is none.
        dropped: exchanges that passed unrecorded, as the recorder counted them.
        next_seq: a seq above every one seen, per stream of which anything was read.
        begun_ns, ended_ns: the first and the last time that stands in the log, since the epoch; 0 for none.
        facts: what the log says of the session itself (EVENT ``session``), None where it says nothing.
    """

    session_id: str
    exchanges: int
    done: int
    interrupted: list[int]
    interrupted_unlisted: int
    in_flight: list[int]
    partial: list[int]
    lost: list[int]
    lost_exchanges: int
    damaged: list[int]
    gaps: list[Gap]
    tails: list[Gap]
    torn_tail_bytes: int
    damaged_bytes: int
    closed_cleanly: bool
    unclosed: int
    holder: dict[str, Any] | None
    dropped: int
    bytes: int
    segments: int
    next_seq: dict[int, int]
    notes: list[str]
    begun_ns: int
    ended_ns: int
    facts: dict[str, Any] | None
