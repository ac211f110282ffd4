"""A read-only check of a whole log: every byte, every number, every gap. Safe on a log that is being written (P6)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from wiretape.log.audit import IMPOSSIBLE_SEQ, Account
from wiretape.log.files import REAL, Files
from wiretape.log.inventory import Inventory, Placed, take_inventory
from wiretape.log.items import Damage, Frame
from wiretape.log.locks import writer_alive
from wiretape.log.report import LogReport
from wiretape.log.scan import SegmentScan, scan_segment
from wiretape.log.store import list_segments, stream_locks

__all__ = ["IMPOSSIBLE_SEQ", "LogReport", "Watch", "is_written", "settled", "verify_log"]

_PROGRESS_FRAMES: Final = 4_000

Progress = Callable[[int, int], None]
"""Called with bytes read and bytes in all."""
Watch = Callable[[Iterator[Frame | Damage]], Iterator[Frame | Damage]]
"""Sees, and passes on, what is read of a segment."""


def verify_log(
    log_dir: Path,
    session_id: str,
    progress: Progress | None = None,
    *,
    watch: Watch | None = None,
    files: Files = REAL,
) -> LogReport:
    """Read a session's log from end to end and account for every byte and every exchange.

    Nothing is written. What a living writer has not finished is no damage.

    Args:
        progress: called with bytes read and bytes in all.
        watch: sees everything that is read, segment by segment.
        files: the file system.

    Raises:
        LogVersionError: a segment has a newer format.
        NotFoundError: there is no such folder.
        StorageError: it cannot be read.
    """
    inventory, holders = settled(log_dir, session_id, files)
    check = _Check(inventory, holders, progress, watch, files)
    return check.run(session_id)


def settled(log_dir: Path, session_id: str, files: Files) -> tuple[Inventory, dict[int, dict[str, Any]]]:
    """Take the inventory and the living writers of one moment.

    Locks are asked after the listing: a writer found dead cannot have written more than was listed, unless it ended a
    segment and died in between, so the listing must still be true then.
    """
    while True:
        inventory = take_inventory(log_dir, session_id, files)
        holders = {}
        for stream, _ in stream_locks(log_dir, files):
            holder = writer_alive(log_dir, stream, files)
            if holder is not None:
                holders[stream] = holder
        listed = {segment.ref.name for segment in inventory.segments}
        dead = [ref for ref in list_segments(log_dir, files) if ref.stream not in holders and ref.name not in listed]
        known_strangers = {gap.segment for gap in inventory.gaps}
        if all(ref.name in known_strangers for ref in dead):
            return inventory, holders


def is_written(segment: Placed, holders: dict[int, dict[str, Any]]) -> bool:
    """Tell whether a living writer made this segment; in doubt it did, which can only hide a torn tail."""
    holder = holders.get(segment.stream)
    if holder is None:
        return False
    return segment.head is None or holder.get("nonce", segment.head.run) == segment.head.run


class _Check:
    """One pass over all segments."""

    def __init__(
        self,
        inventory: Inventory,
        holders: dict[int, dict[str, Any]],
        progress: Progress | None,
        watch: Watch | None,
        files: Files,
    ) -> None:
        self._inventory = inventory
        self._holders = holders
        self._progress = progress
        self._watch = watch
        self._files = files
        self._total = sum(segment.ref.size for segment in inventory.segments)
        self._read = 0

    def run(self, session_id: str) -> LogReport:
        """Read everything."""
        segments = self._inventory.segments
        last = {segment.stream: segment for segment in segments}
        steps = [segment.head.streams for segment in segments if segment.head is not None]
        account = Account(max(1, steps[0]) if steps else 1, self._inventory.gaps, self._inventory.notes)
        for segment in segments:
            account.begin(segment, self._inventory.missing_before(segment))
            live = segment is last[segment.stream] and is_written(segment, self._holders)
            self._read_segment(segment, account, live)
        for stream, segment in last.items():
            if not is_written(segment, self._holders):
                account.end(stream)
        holder = next(iter(self._holders.values()), None)
        return account.report(session_id, size=self._total, segments=len(segments), holder=holder)

    def _read_segment(self, segment: Placed, account: Account, live: bool) -> None:
        scan = scan_segment(segment.ref.path, live=live, salt=segment.salt, files=self._files)
        items = iter(scan) if self._progress is None else self._items(scan, self._progress)
        account.read(segment.stream, items if self._watch is None else self._watch(items))
        account.reached(segment.stream, segment.ref.size)
        self._read += segment.ref.size
        if self._progress is not None:
            self._progress(self._read, self._total)

    def _items(self, scan: SegmentScan, progress: Progress) -> Iterator[Frame | Damage]:
        for number, item in enumerate(scan, 1):
            yield item
            if number % _PROGRESS_FRAMES == 0:
                progress(self._read + scan.position, self._total)
