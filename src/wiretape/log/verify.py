"""A read-only check of a whole log: every byte, every number, every gap. Safe on a log that is being written (P6)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from wiretape.errors import DamagedError
from wiretape.log.format import Event, FrameType, Seal, SegmentHead
from wiretape.log.inventory import Inventory, Placed, take_inventory
from wiretape.log.items import OF_AN_EXCHANGE, Damage, Frame
from wiretape.log.ledger import NO_CAUSE, StreamLedger
from wiretape.log.locks import writer_alive
from wiretape.log.reader import SegmentScan, scan_segment
from wiretape.log.segments import list_segments, stream_locks
from wiretape.model import Gap

# Reports stay readable and bounded: what exceeds these is counted and noted, not listed.
_LISTED_GAPS: Final = 10_000
_LISTED_SEQS: Final = 10_000
_PROGRESS_FRAMES: Final = 50_000
_OF_AN_EXCHANGE: Final = frozenset(map(int, OF_AN_EXCHANGE))

_NO_SEQ: Final = 2**53
"""No writer comes this far, and JSON's numbers are exact only up to here."""
IMPOSSIBLE_SEQ: Final = "a number that no writer gives"

Progress = Callable[[int, int], None]
"""Called with bytes read and bytes in all."""


class LogReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a log holds and what it lacks. Lists of seqs are sorted.

    Attributes:
        exchanges: exchanges of which at least one frame is there.
        done: those whose end is there.
        interrupted: begun and no end is there, nor will it come: their run is over, or the disk refused it.
        in_flight: begun by the writer that is alive, and not ended.
        partial: passed while the disk refused; recorded in part or not at all (they count in ``dropped``).
        lost: seqs of which damage left nothing; the first 10,000, ``lost_exchanges`` counts all.
        damaged: exchanges that damage touched and left something of.
        gaps: damaged, missing, foreign and doubled ranges; tails are not among them.
        tails: the unfinished ends that killed writers or power cuts left; ``torn_tail_bytes`` is their length.
        closed_cleanly: every stream ends with its final seal.
        holder: the note of a living writer (pid, bootId, nonce, stream), None when there is none.
        dropped: exchanges that passed unrecorded, as the recorder counted them.
        next_seq: a seq above every one seen, per stream.
    """

    session_id: str
    exchanges: int
    done: int
    interrupted: list[int]
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
    holder: dict[str, Any] | None
    dropped: int
    bytes: int
    segments: int
    next_seq: dict[int, int]
    notes: list[str]


def verify_log(log_dir: Path, session_id: str, progress: Progress | None = None) -> LogReport:
    """Read a session's log from end to end and account for every byte and every exchange.

    Nothing is written. What a living writer has not finished is no damage.

    Raises:
        LogVersionError: a segment has a newer format.
        NotFoundError: there is no such folder.
        StorageError: it cannot be read.
    """
    inventory, holders = _settled(log_dir, session_id)
    check = _Check(inventory, holders, progress)
    check.run()
    return check.report(session_id)


def _settled(log_dir: Path, session_id: str) -> tuple[Inventory, dict[int, dict[str, Any]]]:
    """Take the inventory and the living writers of one moment.

    Locks are asked after the listing: a writer found dead cannot have written more than was listed, unless it ended a
    segment and died in between, so the listing must still be true then.
    """
    while True:
        inventory = take_inventory(log_dir, session_id)
        holders = {}
        for stream, _ in stream_locks(log_dir):
            holder = writer_alive(log_dir, stream)
            if holder is not None:
                holders[stream] = holder
        listed = {segment.ref.name for segment in inventory.segments}
        dead = [ref for ref in list_segments(log_dir) if ref.stream not in holders and ref.name not in listed]
        known_strangers = {gap.segment for gap in inventory.gaps}
        if all(ref.name in known_strangers for ref in dead):
            return inventory, holders


def _cut_short(segment: Placed) -> Gap:
    reason = "ends too early: the last numbers given before the next segment are not there"
    return Gap(segment=segment.ref.name, offset=segment.ref.size, length=0, reason=reason)


class _Check:
    """One pass over all segments."""

    def __init__(self, inventory: Inventory, holders: dict[int, dict[str, Any]], progress: Progress | None) -> None:
        self._inventory = inventory
        self._holders = holders
        self._progress = progress
        self._total = sum(segment.ref.size for segment in inventory.segments)
        self._read = 0
        self._gaps: list[Gap] = list(inventory.gaps)
        self._provisional: set[int] = set()
        self._unlisted = 0
        self._tails: list[Gap] = []
        self._damaged_bytes = sum(gap.length for gap in inventory.gaps)
        self._hints: dict[int, set[int]] = {}
        self._ledgers: dict[int, StreamLedger] = {}
        self._notes = list(inventory.notes)
        self._dropped = 0
        self._partial: set[int] = set()
        self._events: set[bytes] = set()
        steps = [segment.head.streams for segment in inventory.segments if segment.head is not None]
        self._step = max(1, steps[0]) if steps else 1

    def run(self) -> None:
        """Read everything."""
        segments = self._inventory.segments
        last = {segment.stream: segment for segment in segments}
        before: Placed | None = None
        for segment in segments:
            ledger = self._ledgers.get(segment.stream)
            if ledger is None:
                ledger = self._ledgers[segment.stream] = StreamLedger(segment.stream, self._step)
                before = None
            cause = NO_CAUSE
            for gap in self._inventory.missing_before.get((segment.stream, segment.number), []):
                cause = self._add_gap(gap)
            if (
                cause == NO_CAUSE
                and segment.head is not None
                and before is not None
                and ledger.leaves_out(segment.head)
            ):
                cause = self._add_gap(_cut_short(before))
                self._provisional.add(cause)
            ledger.begin_segment(segment.head, cause)
            live = segment is last[segment.stream] and self._writes(segment)
            self._read_segment(segment, ledger, live)
            before = segment
        for stream, ledger in self._ledgers.items():
            if not self._writes(last[stream]):
                ledger.end()

    def _writes(self, segment: Placed) -> bool:
        """Tell whether a living writer made this segment; in doubt it did, which can only hide a torn tail."""
        holder = self._holders.get(segment.stream)
        if holder is None:
            return False
        return segment.head is None or holder.get("nonce", segment.head.run) == segment.head.run

    def _read_segment(self, segment: Placed, ledger: StreamLedger, live: bool) -> None:
        scan = scan_segment(segment.ref.path, live=live, salt=segment.salt)
        # Plain integers: this loop sees every frame, and looking up an enum member costs more than its other work.
        opened, done, of_an_exchange = int(FrameType.OPENED), int(FrameType.DONE), _OF_AN_EXCHANGE
        counts = dict.fromkeys(map(int, FrameType), 0)
        sound = True
        seal: Seal | None = None
        for item in scan if self._progress is None else self._items(scan, self._progress):
            if isinstance(item, Damage):
                sound = False
                self._take_damage(item, ledger)
                continue
            kind = item.kind
            if item.seq >= _NO_SEQ and kind in of_an_exchange:
                sound = False
                self._take_damage(Damage(item.segment, item.offset, item.size, IMPOSSIBLE_SEQ), ledger)
                continue
            counts[kind] = counts.get(kind, 0) + 1
            if kind == opened:
                ledger.open(item.seq)
            elif kind == done:
                ledger.finish(item.seq)
            elif kind in of_an_exchange:
                ledger.see(item.seq)
            else:
                seal = self._take_other(item, ledger, scan) or seal
        if seal is not None and sound:
            self._compare(segment, seal, counts)
        self._read += segment.ref.size
        if self._progress is not None:
            self._progress(self._read, self._total)

    def _items(self, scan: SegmentScan, progress: Progress) -> Iterator[Frame | Damage]:
        for number, item in enumerate(scan, 1):
            yield item
            if number % _PROGRESS_FRAMES == 0:
                progress(self._read + scan.position, self._total)

    def _take_other(self, frame: Frame, ledger: StreamLedger, scan: SegmentScan) -> Seal | None:
        if frame.kind not in (FrameType.SEAL, FrameType.EVENT, FrameType.SEGMENT):
            return None
        try:
            record = frame.record()
        except DamagedError as error:
            self._notes.append(error.message)
            return None
        if isinstance(record, Event) and frame.head not in self._events:
            # After a failed fsync the writer writes frames again to a new segment: what an event counts counts once.
            self._events.add(frame.head)
            self._take_event(record)
        if isinstance(record, SegmentHead) and frame.offset:
            self._notes.append(f"{frame.segment} has a second head at {frame.offset}")
        if not isinstance(record, Seal):
            return None
        ledger.seal(record, scan.final)
        return record

    def _take_event(self, event: Event) -> None:
        if event.kind == "dropped":
            count = event.detail.get("exchanges")
            partial = event.detail.get("partial")
            self._dropped += count if isinstance(count, int) and count > 0 else 0
            self._partial.update(seq for seq in partial if isinstance(seq, int)) if isinstance(partial, list) else None

    def _compare(self, segment: Placed, seal: Seal, counts: dict[int, int]) -> None:
        # Frames know their offsets, so none was cut out: a difference is the writer's fault, and still to be told.
        found = (sum(counts.values()) - 1, counts[FrameType.OPENED], counts[FrameType.DONE])
        if found != (seal.frames, seal.opened, seal.done):
            self._notes.append(
                f"{segment.ref.name}: its seal counts {seal.frames} frames, {seal.opened} opened and {seal.done} done;"
                f" there are {found[0]}, {found[1]} and {found[2]}"
            )

    def _take_damage(self, damage: Damage, ledger: StreamLedger) -> None:
        gap = Gap(segment=damage.segment, offset=damage.offset, length=damage.length, reason=damage.reason)
        if damage.is_tail:
            self._tails.append(gap)
            return
        self._damaged_bytes += damage.length
        index = self._add_gap(gap)
        self._hints.setdefault(index, set()).update(damage.seqs_hint)
        ledger.damage(damage, index)

    def _add_gap(self, gap: Gap) -> int:
        if len(self._gaps) >= _LISTED_GAPS:
            self._unlisted += 1
            return _LISTED_GAPS  # the index of none: what it costs counts, and is said of no other range
        self._gaps.append(gap)
        return len(self._gaps) - 1

    # -- the result ---------------------------------------------------------------------------------------------

    def report(self, session_id: str) -> LogReport:
        """Draw up the account; call after ``run``."""
        lost, lost_count = self._settle_missing()
        for ledger in self._ledgers.values():
            for seq, cause in ledger.touched:
                if cause != NO_CAUSE:
                    self._hints.setdefault(cause, set()).add(seq)
        gone = {seq for seqs in lost.values() for seq in seqs}
        damaged = {seq for seqs in self._hints.values() for seq in seqs} - gone
        ledgers = self._ledgers.values()
        unfinished = {seq for ledger in ledgers for seq in ledger.unfinished}
        interrupted = {seq for ledger in ledgers for seq in ledger.interrupted}
        if self._unlisted:
            self._notes.append(f"{self._unlisted} further damaged ranges are counted and not listed")
        return LogReport(
            session_id=session_id,
            exchanges=sum(ledger.known for ledger in ledgers),
            done=sum(ledger.done for ledger in ledgers),
            interrupted=sorted(interrupted | (unfinished & self._partial)),
            in_flight=sorted(unfinished - self._partial),
            partial=sorted(self._partial),
            lost=sorted(gone)[:_LISTED_SEQS],
            lost_exchanges=lost_count,
            damaged=sorted(damaged),
            gaps=[
                self._with_exchanges(index, gap, lost.get(index, []))
                for index, gap in enumerate(self._gaps)
                # What the writer says it dropped explains a missing number better than a segment cut short.
                if index not in self._provisional or lost.get(index)
            ],
            tails=self._tails,
            torn_tail_bytes=sum(gap.length for gap in self._tails),
            damaged_bytes=self._damaged_bytes,
            closed_cleanly=bool(self._ledgers) and all(ledger.closed for ledger in ledgers),
            holder=next(iter(self._holders.values()), None),
            dropped=self._dropped,
            bytes=self._total,
            segments=len(self._inventory.segments),
            next_seq={stream: ledger.next_seq for stream, ledger in self._ledgers.items()},
            notes=self._notes,
        )

    def _settle_missing(self) -> tuple[dict[int, list[int]], int]:
        """Give the lost seqs of each gap (as many as are listed) and the count of all that are lost."""
        lost: dict[int, list[int]] = {}
        lost_count = never_written = 0
        for ledger in self._ledgers.values():
            for seqs, cause in ledger.missing:
                dropped = sum(1 for seq in self._partial if seq in seqs)
                if cause == NO_CAUSE:
                    never_written += _count(seqs) - dropped
                    continue
                lost_count += _count(seqs) - dropped
                listed = lost.setdefault(cause, [])
                for seq in seqs:
                    if len(listed) >= _LISTED_SEQS:
                        break
                    if seq not in self._partial:
                        listed.append(seq)
        if never_written > self._dropped:
            self._notes.append(f"{never_written} numbers were given and never written, and no damage explains them")
        return lost, lost_count

    def _with_exchanges(self, index: int, gap: Gap, lost: list[int]) -> Gap:
        seqs = self._hints.get(index, set()).union(lost)
        if not seqs:
            return gap
        return msgspec.structs.replace(gap, exchanges=sorted(seqs), lost=lost)


def _count(seqs: range) -> int:
    """Count a range that a forged seal may have made longer than ``len`` can say."""
    return max(0, (seqs.stop - seqs.start + seqs.step - 1) // seqs.step)
