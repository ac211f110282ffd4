"""Reading the log into the index, one bounded transaction at a time; any number of processes may do it.

One follower drives all projections. Those that have come equally far are given the same reading; one that is behind,
because it is new or of another version, is brought up after the others have reached the log's end.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator, Sequence
from itertools import groupby, islice
from pathlib import Path
from typing import Any, Final

import msgspec

from wiretape.log.format import SegmentHead
from wiretape.log.inventory import Inventory, Placed
from wiretape.log.items import Damage, Frame, decode_all
from wiretape.log.locks import writer_alive
from wiretape.log.scan import SegmentScan, scan_segment
from wiretape.log.store import fingerprint, list_segments, stream_locks
from wiretape.log.verify import settled, written_streams
from wiretape.session.index.audits import read_audit
from wiretape.session.index.projection import Memory, Projection, Segment, Sink, storable
from wiretape.session.index.schema import start_again

BATCH_FRAMES: Final = 16_384
BATCH_BYTES: Final = 32 * 1024 * 1024
_HELD_FRAMES: Final = 256
_HELD_BYTES: Final = 1024 * 1024
"""What is read before it is applied: many frames at a time cost less than one by one."""
_AT_ONCE: Final = 8
"""Frames after which the bytes are looked at; a body's have up to 256 KiB."""
_BUSY_SECONDS: Final = 30.0
_POLL_SECONDS: Final = 0.0005
_SEEN: Final = "SELECT DISTINCT seen FROM projections WHERE name IN (SELECT value FROM json_each(?))"
_SEE: Final = "UPDATE projections SET seen = ? WHERE name IN (SELECT value FROM json_each(?))"

Place = tuple[int, int]
"""How far a segment was read, in bytes, and whether its seal is behind that."""


class _Stock(msgspec.Struct, frozen=True):
    """The log at one moment: ``state`` tells it from other moments, ``live`` are the streams that are being written."""

    state: str
    inventory: Inventory
    live: frozenset[int]
    holder: dict[str, Any] | None


class Follower:
    """Brings projections of one log to its end."""

    def __init__(self, log_dir: Path, session_id: str, projections: Sequence[Projection]) -> None:
        self.log_dir = log_dir
        self.session_id = session_id
        self.projections = projections
        self.batch_frames = BATCH_FRAMES
        self.batch_bytes = BATCH_BYTES
        self._stock: _Stock | None = None
        self._memory: Memory = {}
        self._remembered: tuple[sqlite3.Connection, int] | None = None

    def step(self, db: sqlite3.Connection) -> bool:
        """Read on for one transaction; return whether the end is reached.

        Raises:
            sqlite3.DatabaseError: the index is broken.
            NotFoundError, StorageError, LogVersionError: the log cannot be read.
        """
        if self.nothing_new(db):
            return True
        _begin(db)
        try:
            self._remember(db)
            done = self._read_on(db)
            db.execute("COMMIT")
        except BaseException:
            self._memory.clear()
            with contextlib.suppress(sqlite3.Error):
                db.execute("ROLLBACK")
            raise
        return done

    def _remember(self, db: sqlite3.Connection) -> None:
        """Forget what projections keep, if anybody else has written since the last transaction."""
        now = (db, db.execute("PRAGMA data_version").fetchone()[0])
        if now != self._remembered:
            self._memory.clear()
            self._remembered = now

    def nothing_new(self, db: sqlite3.Connection) -> bool:
        """Return whether all projections are at the log's end; raises as ``step``."""
        seen = db.execute(_SEEN, (self._names(),)).fetchall()
        return seen == [(self._state(),)]

    def progress(self, db: sqlite3.Connection) -> tuple[int, int]:
        """Return (bytes read, bytes of the log); of the projection that is furthest behind."""
        read = dict(db.execute("SELECT projection, sum(position) FROM places GROUP BY projection"))
        behind = min((read.get(projection.name, 0) for projection in self.projections), default=0)
        return behind, max(behind, sum(ref.size for ref in list_segments(self.log_dir)))

    def restart(self, db: sqlite3.Connection) -> None:
        """Forget everything, to read the log again from its beginning."""
        _begin(db)
        try:
            self._start_again(db)
            db.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                db.execute("ROLLBACK")
            raise

    def _start_again(self, db: sqlite3.Connection) -> None:
        self._memory.clear()
        start_again(db, self.session_id, self.projections)

    def _names(self) -> str:
        return msgspec.json.encode([projection.name for projection in self.projections]).decode()

    def _state(self) -> str:
        """Return what tells this moment of the log from others: its segments, and who writes.

        Locks are asked after the listing, so that what is listed before its writer is found dead cannot grow any more.
        """
        segments = list_segments(self.log_dir)
        writers = [(stream, writer_alive(self.log_dir, stream)) for stream, _ in stream_locks(self.log_dir)]
        alive = [f"{stream} {writer.get('nonce')}" for stream, writer in writers if writer is not None]
        return "; ".join([fingerprint(segments), *alive])

    # -- the log ------------------------------------------------------------------------------------------------

    def _read_on(self, db: sqlite3.Connection) -> bool:
        stock, fresh = self._stock, False
        while True:
            # The index is read first, so that what it knows cannot be ahead of the listing.
            known = _known(db)
            if stock is None:
                stock, fresh = self._take_stock(known), True
            if _fits(known, stock.inventory, _step_of(db)):
                break
            if fresh:
                self._start_again(db)
            stock = None
        done = self._read(db, stock)
        self._stock = None if done else stock
        if not done or not fresh:
            return False
        self._end(db, stock)
        return True

    def _take_stock(self, known: dict[str, _Known]) -> _Stock:
        state = self._state()
        heads = {name: one.head for name, one in known.items() if one.head is not None}
        inventory, holders = settled(self.log_dir, self.session_id, heads=heads)
        live = written_streams(inventory, holders)
        return _Stock(state, inventory, live, next(iter(holders.values()), None))

    def _end(self, db: sqlite3.Connection, stock: _Stock) -> None:
        audit = read_audit(db)
        report = audit.report(self.session_id, stock.inventory, live=stock.live, holder=stock.holder)
        for projection in self.projections:
            projection.end(db, report)
        db.execute(_SEE, (stock.state, self._names()))

    def _read(self, db: sqlite3.Connection, stock: _Stock) -> bool:
        """Read on for all projections, the foremost first; return whether all are at the end."""
        budget = Budget(self.batch_frames, max(self.batch_bytes, _least_bytes(db)))
        places = {projection.name: _places(db, projection.name) for projection in self.projections}
        foremost = sorted(self.projections, key=lambda one: _distance(places[one.name]), reverse=True)
        front: dict[int, Place] | None = None
        for _, group in groupby(foremost, key=lambda one: places[one.name]):
            members = list(group)
            pass_ = _Pass(db, stock, members, self._memory, places[members[0].name], budget, front)
            done = pass_.run()
            if not done:
                return False
            front = front if front is not None else pass_.places
        return True


class _Pass:
    """A reading of the log for projections that have come equally far."""

    def __init__(
        self,
        db: sqlite3.Connection,
        stock: _Stock,
        projections: Sequence[Projection],
        memory: Memory,
        places: dict[int, Place],
        budget: Budget,
        front: dict[int, Place] | None,
    ) -> None:
        """Begin where the projections are; they end at ``front`` if others are there already, and go on together."""
        self.places = dict(places)
        self._db = db
        self._stock = stock
        self._names = [projection.name for projection in projections]
        self._sinks: list[Sink] = [projection.open(db, memory) for projection in projections]
        self._budget = budget
        self._front = front
        self._known = _known(db)
        self._moved: set[int] = set()

    def run(self) -> bool:
        """Read until the budget is used up; return whether the end was reached."""
        last = {segment.stream: segment for segment in self._stock.inventory.segments}
        done = True
        for placed in self._stock.inventory.segments:
            live = placed is last[placed.stream] and placed.stream in self._stock.live
            if not self._read_segment(placed, live=live):
                done = False
                break
        for sink in self._sinks:
            sink.write()
        self._db.executemany(
            "INSERT OR REPLACE INTO places VALUES (?, ?, ?, ?)",
            [(name, segment, *self.places[segment]) for name in self._names for segment in self._moved],
        )
        return done

    def _read_segment(self, placed: Placed, *, live: bool) -> bool:
        """Read on in one segment; False when the budget was used up before its end."""
        known = self._known.get(placed.ref.name)
        segment = Segment(known.id, known.run, placed) if known is not None else None
        begun = segment is not None and segment.id in self.places
        position, sealed = self.places[segment.id] if segment is not None and begun else (0, 0)
        end = None if live else placed.ref.size
        if self._front is not None:
            end = self._front[segment.id][0] if segment is not None and segment.id in self._front else 0
        if end is not None and position >= end and (begun or self._front is not None):
            return True
        scan = scan_segment(placed.ref.path, start=position, end=end, live=live, salt=placed.salt)
        scan.sealed = bool(sealed)
        for items in _together(scan, self._budget, position):
            if not begun:
                segment, begun = self._begin(placed, segment), True
            assert segment is not None
            decoded, kinds = decode_all(items), {item.kind for item in items}
            for sink in self._sinks:
                if sink.kind is None or sink.kind in kinds:
                    sink.take(segment, decoded)
        if not begun:
            if live:
                return True  # just made: whose it is is not yet written
            segment = self._begin(placed, segment)  # one without any frame counts once its writer is gone
        assert segment is not None
        self.places[segment.id] = (scan.position, int(scan.sealed))
        self._moved.add(segment.id)
        for sink in self._sinks:
            sink.reached(segment, scan.position)
        finished = not self._budget.spent
        self._budget.next_segment()
        return finished

    def _begin(self, placed: Placed, segment: Segment | None) -> Segment:
        inventory = self._stock.inventory
        if segment is None:
            segment = _new_segment(self._db, placed, inventory.step)
        missing = inventory.missing_before(placed)
        for sink in self._sinks:
            sink.begin(segment, missing, inventory.step)
        return segment


def _together(scan: SegmentScan, budget: Budget, start: int) -> Iterator[list[Frame | Damage]]:
    """Yield what stands in a segment from ``start`` on, some at a time, until the budget is used up."""
    held: list[Frame | Damage] = []
    read = iter(scan)
    most, until = budget.next(start)
    while some := list(islice(read, min(_AT_ONCE, most - len(held)))):
        held += some
        if len(held) < most and scan.position < until:
            continue
        spent = budget.used(len(held), scan.position - start)
        yield held
        if spent:
            return
        held = []
        most, until = budget.next(scan.position)
    if held:
        budget.used(len(held), scan.position - start)
        yield held


class Budget:
    """How much one transaction may still read."""

    def __init__(self, frames: int, size: int) -> None:
        self._frames = frames
        self._size = size
        self._here = 0
        self.spent = False

    def next(self, position: int) -> tuple[int, int]:
        """Return how many frames to read at once, and the offset from which on they are enough."""
        return min(_HELD_FRAMES, self._frames), position + min(_HELD_BYTES, self._size - self._here)

    def used(self, frames: int, here: int) -> bool:
        """Count frames; ``here`` is bytes read in this segment so far. Return whether that was enough."""
        self._frames -= frames
        self._here = here
        self.spent = self._frames <= 0 or here >= self._size
        return self.spent

    def next_segment(self) -> None:
        """Go on to the next segment."""
        self._size -= self._here
        self._here = 0


# -- what the index knows of the log ------------------------------------------------------------------------------


class _Known(msgspec.Struct, frozen=True):
    """A segment that was begun to be read; ``read`` is how far any projection has come in it."""

    id: int
    run: int
    stream: int
    number: int
    head: SegmentHead | None
    healed: bool
    read: int


_HEAD: Final = msgspec.msgpack.Decoder(SegmentHead)
_KNOWN: Final = "SELECT name, id, run, stream, number, head, healed FROM segments"
_READ: Final = "SELECT segment, max(position) FROM places GROUP BY segment"


def _known(db: sqlite3.Connection) -> dict[str, _Known]:
    found, read = {}, dict(db.execute(_READ))
    for name, segment, run, stream, number, head, healed in db.execute(_KNOWN):
        try:
            decoded = _HEAD.decode(head) if head is not None else None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise sqlite3.DatabaseError(f"the head of a segment in the index cannot be read: {error}") from error
        found[name] = _Known(segment, run, stream, number, decoded, bool(healed), read.get(segment, 0))
    return found


def _step_of(db: sqlite3.Connection) -> int | None:
    found = db.execute("SELECT value FROM meta WHERE key = 'step'").fetchone()
    return int(found[0]) if found is not None else None


def _fits(known: dict[str, _Known], inventory: Inventory, step: int | None) -> bool:
    """Return whether what was read is still the beginning of each stream: a log only grows, but files can be moved.

    Where it is not, everything is read again; so the index always says what reading the log as it is would say.
    """
    if step is not None and step != inventory.step:
        return False
    begun: dict[int, int] = {}
    for one in known.values():
        begun[one.stream] = max(begun.get(one.stream, one.number), one.number)
    left = dict(known)
    for placed in inventory.segments:
        stream, number = storable(placed.stream), storable(placed.number)
        if placed.ref.name not in left:
            if stream in begun and number < begun[stream]:
                return False
            continue
        one = left.pop(placed.ref.name)
        here = (stream, number, placed.head, placed.ref.healed)
        if (one.stream, one.number, one.head, one.healed) != here or one.read > placed.ref.size:
            return False
    return not left


def _new_segment(db: sqlite3.Connection, placed: Placed, step: int) -> Segment:
    stream, number = storable(placed.stream), storable(placed.number)
    new = db.execute("SELECT ifnull(max(id), 0) + 1 FROM segments").fetchone()[0]
    run = new
    before = db.execute(
        "SELECT run, head FROM segments WHERE stream = ? AND number < ? ORDER BY number DESC LIMIT 1",
        (stream, number),
    ).fetchone()
    if before is not None and (placed.head is None or (before[1] and _HEAD.decode(before[1]).run == placed.head.run)):
        run = before[0]  # until its head says otherwise, a segment belongs to the run of the one before
    head = msgspec.msgpack.encode(placed.head) if placed.head is not None else None
    db.execute(
        "INSERT INTO segments VALUES (?, ?, ?, ?, ?, ?, ?)",
        (new, placed.ref.name, stream, number, placed.ref.healed, run, head),
    )
    db.execute("INSERT OR IGNORE INTO meta VALUES ('step', ?)", (str(step),))
    return Segment(new, run, placed)


def _places(db: sqlite3.Connection, projection: str) -> dict[int, Place]:
    found = db.execute("SELECT segment, position, sealed FROM places WHERE projection = ?", (projection,))
    return {segment: (position, sealed) for segment, position, sealed in found}


def _distance(places: dict[int, Place]) -> int:
    return sum(position for position, _ in places.values())


def _least_bytes(db: sqlite3.Connection) -> int:
    """Return the bytes that a transaction reads at least: several times those of the audit, which it writes."""
    found = db.execute("SELECT length(state) FROM audit").fetchone()
    return 8 * found[0] if found is not None else 0


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
