"""A read-only check of a whole log: every byte, every number, every gap. Safe on a log that is being written (P6)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, Final

from wiretape.log.audit import IMPOSSIBLE_SEQ, Audit
from wiretape.log.files import REAL, Files
from wiretape.log.format import SegmentHead
from wiretape.log.inventory import Inventory, Placed, take_inventory
from wiretape.log.items import Damage, Frame
from wiretape.log.locks import writer_alive
from wiretape.log.report import LogReport
from wiretape.log.scan import SegmentScan, scan_segment
from wiretape.log.store import list_segments, stream_locks

__all__ = ["IMPOSSIBLE_SEQ", "LogReport", "Watch", "settled", "verify_log", "written_streams"]

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


def settled(
    log_dir: Path, session_id: str, files: Files = REAL, heads: Mapping[str, SegmentHead] | None = None
) -> tuple[Inventory, dict[int, dict[str, Any]]]:
    """Take the inventory (``take_inventory``) and the notes of the living writers, by stream, of one moment.

    Locks are asked after the listing: a writer found dead cannot have written more than was listed, unless it ended a
    segment and died in between, so the listing must still be true then.
    """
    while True:
        inventory = take_inventory(log_dir, session_id, files, heads)
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


def written_streams(inventory: Inventory, holders: dict[int, dict[str, Any]]) -> frozenset[int]:
    """Return the streams whose last segment is being written.

    Args:
        inventory: the log's segments.
        holders: the notes of the living writers, by stream.
    """
    last = {segment.stream: segment for segment in inventory.segments}
    return frozenset(stream for stream, segment in last.items() if _is_written(segment, holders.get(stream)))


def _is_written(segment: Placed, holder: dict[str, Any] | None) -> bool:
    """Return whether a living writer made this segment; in doubt it did, which can only hide a torn tail."""
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
        audit = Audit(self._inventory.step)
        live = written_streams(self._inventory, self._holders)
        last = {segment.stream: segment for segment in self._inventory.segments}
        for segment in self._inventory.segments:
            self._read_segment(segment, audit, live=segment.stream in live and segment is last[segment.stream])
        holder = next(iter(self._holders.values()), None)
        return audit.report(session_id, self._inventory, live=live, holder=holder)

    def _read_segment(self, segment: Placed, audit: Audit, *, live: bool) -> None:
        scan = scan_segment(segment.ref.path, live=live, salt=segment.salt, files=self._files)
        items = iter(scan) if self._progress is None else self._items(scan, self._progress)
        first = next(items, None)
        if first is not None or not live:  # of one just made it is not yet written whose it is
            audit.begin(segment, self._inventory.missing_before(segment))
            items = items if first is None else chain([first], items)
            audit.read(segment.stream, items if self._watch is None else self._watch(items))
            audit.reached(segment.stream, segment.ref.size)
        self._read += segment.ref.size
        if self._progress is not None:
            self._progress(self._read, self._total)

    def _items(self, scan: SegmentScan, progress: Progress) -> Iterator[Frame | Damage]:
        for number, item in enumerate(scan, 1):
            yield item
            if number % _PROGRESS_FRAMES == 0:
                progress(self._read + scan.position, self._total)
