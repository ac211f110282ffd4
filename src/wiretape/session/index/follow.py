"""Reading the log into the index, one bounded transaction at a time; any number of processes may do it."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from wiretape.log.format import segment_name
from wiretape.log.items import Damage, Frame
from wiretape.log.locks import writer_alive
from wiretape.log.scan import SegmentScan, scan_segment, segment_info
from wiretape.log.store import SegmentRef, list_segments
from wiretape.session.index.batch import Batch
from wiretape.session.index.rows import SegmentRow
from wiretape.session.index.tally import Tally

BATCH_FRAMES: Final = 16_384
BATCH_BYTES: Final = 32 * 1024 * 1024
_HELD_FRAMES: Final = 256
_HELD_BYTES: Final = 1024 * 1024
"""What is read before it is applied: many frames at a time cost less than one by one."""
_BUSY_SECONDS: Final = 30.0
_POLL_SECONDS: Final = 0.0005
_SEGMENT_COLUMNS: Final = "id, name, stream, number, position, run, run_key, begun, ended, closed"
_STALE: Final = "state = 'inFlight' AND run NOT IN (SELECT value FROM json_each(?))"
IGNORED: Final = -1
"""``closed`` of a segment that does not belong to this log."""


class Follower:
    """Brings an index to the end of one log."""

    def __init__(self, log_dir: Path, session_id: str) -> None:
        self.log_dir = log_dir
        self.session_id = session_id
        self.batch_frames = BATCH_FRAMES
        self.batch_bytes = BATCH_BYTES

    def step(self, db: sqlite3.Connection) -> bool:
        """Read on for one transaction; give whether the end is reached.

        Raises:
            sqlite3.DatabaseError: the index is not one of this log.
            NotFoundError, StorageError, LogVersionError: the log cannot be read.
        """
        if self.nothing_new(db):
            return True
        _begin(db)
        try:
            done = self._read_on(db)
            db.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                db.execute("ROLLBACK")
            raise
        return done

    def progress(self, db: sqlite3.Connection) -> tuple[int, int]:
        """Give (bytes read, bytes of the log)."""
        read = db.execute("SELECT ifnull(sum(position), 0) FROM segments").fetchone()[0]
        return read, max(read, sum(ref.size for ref in list_segments(self.log_dir)))

    def _segments(self, known: set[str]) -> tuple[list[SegmentRef], set[str]]:
        """List the segments, and the names of those that are being written: the last of each stream with a writer.

        The index has been read before, so that what it knows cannot be ahead of the listing; and locks are asked after
        it, so that what is listed before its writer is found dead cannot grow any more.
        """
        segments = list_segments(self.log_dir)
        if known - {ref.name for ref in segments}:
            raise sqlite3.DatabaseError("a segment that the index knows is gone")
        last = {segment.stream: segment for segment in segments}
        live = {ref.name for ref in last.values() if writer_alive(self.log_dir, ref.stream) is not None}
        return segments, live

    def nothing_new(self, db: sqlite3.Connection) -> bool:
        """Tell whether the index is at the log's end; raises as ``step``."""
        known = dict(db.execute("SELECT name, position FROM segments"))
        segments, live = self._segments(set(known))
        if any(known.get(ref.name) != ref.size for ref in segments if ref.size or ref.name not in live):
            return False
        stale = db.execute(f"SELECT 1 FROM exchanges WHERE {_STALE} LIMIT 1", (_live_runs(db, live),))  # noqa: S608
        return stale.fetchone() is None

    def _read_on(self, db: sqlite3.Connection) -> bool:
        segments, live = self._segments({name for (name,) in db.execute("SELECT name FROM segments")})
        batch, tally = Batch(db), Tally(db)
        budget = Budget(self.batch_frames, self.batch_bytes)
        done = all(self._read_segment(db, batch, tally, ref, ref.name in live, budget) for ref in segments)
        batch.write()
        tally.write()
        if not done:
            return False
        # What is open in a run that is over will not end any more.
        db.execute(f"UPDATE exchanges SET state = 'interrupted' WHERE {_STALE}", (_live_runs(db, live),))  # noqa: S608
        return True

    def _read_segment(
        self, db: sqlite3.Connection, batch: Batch, tally: Tally, ref: SegmentRef, live: bool, budget: Budget
    ) -> bool:
        """Read on in one segment; False when the budget was used up before its end."""
        if live and not ref.size:
            return True  # just made: whose it is is not yet written
        row = _segment_row(db, ref, batch, self.session_id)
        if row.closed == IGNORED:
            row.position = ref.size
            tally.give_up()
        if row.position > ref.size:
            raise sqlite3.DatabaseError("a segment is shorter than the index knows it")
        if row.position == ref.size:
            tally.reached(ref, row.position, live=live)
            return True
        scan = scan_segment(ref.path, start=row.position, end=None if live else ref.size, live=live)
        scan.sealed = row.closed > 0
        for items in _together(scan, budget, row.position):
            batch.apply(row, items)
            tally.take(ref, items)
        finished = not budget.spent
        row.position = scan.position
        tally.reached(ref, row.position, live=live)
        db.execute(
            "UPDATE segments SET position = ?, run = ?, run_key = ?, begun = ?, ended = ?, closed = ? WHERE id = ?",
            (row.position, row.run, row.run_key, row.begun, row.ended, row.closed, row.id),
        )
        budget.next_segment()
        return finished


def _together(scan: SegmentScan, budget: Budget, start: int) -> Iterator[list[Frame | Damage]]:
    """Give what stands in a segment from ``start`` on, some at a time, until the budget is used up."""
    held: list[Frame | Damage] = []
    until = start + _HELD_BYTES
    for item in scan:
        held.append(item)
        spent = budget.used(scan.position - start)
        if spent or len(held) == _HELD_FRAMES or scan.position >= until:
            yield held
            held, until = [], scan.position + _HELD_BYTES
        if spent:
            return
    if held:
        yield held


def _begin(db: sqlite3.Connection) -> None:
    """Begin a transaction as soon as nobody else is in one.

    SQLite's own waiting looks ten times a second, and would hardly ever meet the moment between two transactions of a
    process that is bringing the index up.
    """
    until = time.monotonic() + _BUSY_SECONDS
    before = db.execute("PRAGMA busy_timeout").fetchone()[0]
    db.execute("PRAGMA busy_timeout = 0")
    try:
        while True:
            try:
                db.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() >= until:
                    raise
            time.sleep(_POLL_SECONDS)
    finally:
        db.execute(f"PRAGMA busy_timeout = {int(before)}")


class Budget:
    """How much one transaction may still read."""

    def __init__(self, frames: int, size: int) -> None:
        self._frames = frames
        self._size = size
        self._here = 0
        self.spent = False

    def used(self, here: int) -> bool:
        """Count one frame; ``here`` is bytes read in this segment so far. Give whether that was enough."""
        self._frames -= 1
        self._here = here
        self.spent = self._frames <= 0 or here >= self._size
        return self.spent

    def next_segment(self) -> None:
        """Go on to the next segment."""
        self._size -= self._here
        self._here = 0


def _live_runs(db: sqlite3.Connection, live: set[str]) -> str:
    """Give the runs that are being written, as a JSON array for SQLite."""
    runs = [run for name, run in db.execute("SELECT name, run FROM segments") if name in live]
    return msgspec.json.encode(runs).decode()


def _segment_row(db: sqlite3.Connection, ref: SegmentRef, batch: Batch, session_id: str) -> SegmentRow:
    select = f"SELECT {_SEGMENT_COLUMNS} FROM segments "  # noqa: S608 - constant
    row = db.execute(select + "WHERE name = ?", (ref.name,)).fetchone()
    if row is None:
        # Until its head says otherwise, a segment belongs to the run of the one before.
        before = db.execute(
            select + "WHERE stream = ? AND number < ? ORDER BY number DESC LIMIT 1", (ref.stream, ref.number)
        ).fetchone()
        new = db.execute("SELECT ifnull(max(id), 0) + 1 FROM segments").fetchone()[0]
        run, key = (before[5], before[6]) if before else (new, "")
        row = (new, ref.name, ref.stream, ref.number, 0, run, key, 0, before[8] if before else 0, 0)
        wrong = _misplaced(ref, session_id)
        if wrong is not None:
            row = (*row[:4], ref.size, *row[5:9], IGNORED)
            batch.apply(SegmentRow(row), [Damage(ref.name, 0, ref.size, wrong)])
        db.execute("INSERT INTO segments VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
    return SegmentRow(row)


def _misplaced(ref: SegmentRef, session_id: str) -> str | None:
    """Say why a segment does not belong where it lies; None when it does, or when its head is lost."""
    head = segment_info(ref.path).head
    if head is None:
        return None
    if head.session_id != session_id:
        return f"a segment of another session, {head.session_id[:80]!r}"
    name = segment_name(head.stream, head.number)
    if name != ref.name and ref.path.with_name(name).exists():
        return f"a copy of {name}"
    return None
