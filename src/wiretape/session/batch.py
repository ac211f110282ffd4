"""Frames to rows: what one transaction of the index gathers before it writes."""

from __future__ import annotations

import sqlite3
from operator import attrgetter
from typing import Any, Final

import msgspec

from wiretape.errors import DamagedError
from wiretape.log.format import (
    BodyChunk,
    Done,
    EndState,
    Event,
    Flag,
    FrameType,
    Opened,
    ResponseBegun,
    Seal,
    SegmentHead,
    TlsSeen,
)
from wiretape.log.heads import content_type, full_url, is_coded, start_line
from wiretape.log.items import Damage, Frame
from wiretape.session.schema import EXCHANGE_COLUMNS, SELECT_EXCHANGE

_END_STATES: Final = {EndState.COMPLETE: "complete", EndState.ABORTED: "aborted", EndState.FAILED: "failed"}
_PUT: Final = f"INSERT OR REPLACE INTO exchanges VALUES ({', '.join('?' * len(EXCHANGE_COLUMNS))})"  # noqa: S608
_NS_PER_MS: Final = 1_000_000
_MAX_SEQ: Final = 2**53
"""JSON's numbers are exact up to here."""
_MAX_STREAMS: Final = 10_000
_MAX_INTEGER: Final = 2**63 - 1


def _clamped(row: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(max(-_MAX_INTEGER, min(_MAX_INTEGER, value)) if isinstance(value, int) else value for value in row)


def _check_seq(frame: Frame, seq: int) -> None:
    if not 0 <= seq < _MAX_SEQ:
        raise DamagedError(f"{frame.segment} at {frame.offset}: no writer gives the number {seq}")


def _check_head(frame: Frame, size: int) -> None:
    if not 0 <= size <= len(frame.payload) - frame.head_length:
        raise DamagedError(f"{frame.segment} at {frame.offset}: a head of {size} bytes does not fit into its frame")


class SegmentRow:
    """One row of ``segments`` while frames of that segment are applied."""

    __slots__ = ("begun", "closed", "ended", "id", "name", "number", "position", "run", "run_key", "stream")

    def __init__(self, row: tuple[Any, ...]) -> None:
        (
            self.id,
            self.name,
            self.stream,
            self.number,
            self.position,
            self.run,
            self.run_key,
            self.begun,
            self.ended,
            self.closed,
        ) = row


class StreamRow:
    """One row of ``streams``."""

    __slots__ = ("first_seq", "next_seq", "present", "step", "stream")

    def __init__(self, stream: int, step: int, first_seq: int, next_seq: int, present: int) -> None:
        self.stream = stream
        self.step = step
        self.first_seq = first_seq
        self.next_seq = next_seq
        self.present = present


class _Row:
    """One row of ``exchanges``; the slots are its columns, in order."""

    __slots__ = EXCHANGE_COLUMNS

    seq: int
    run: int
    state: str
    ts: int
    method: str
    host: str
    url: str
    status: int | None
    duration: int | None
    request_size: int
    response_size: int
    request_seen: int
    response_seen: int
    content_type: str | None
    error: str | None
    harmed: int
    special: int
    source: str
    connection: int
    upstream: int
    opened_in: int | None
    opened_at: int | None
    done_in: int | None
    done_at: int | None

    def __init__(self, seq: int, run: int) -> None:
        self.seq = seq
        self.run = run
        self.state = "inFlight"
        self.ts = 0
        self.method = self.host = self.url = self.source = ""
        self.status = self.duration = self.content_type = self.error = None
        self.request_size = self.response_size = self.request_seen = self.response_seen = 0
        self.harmed = self.special = self.connection = self.upstream = 0
        self.opened_in = self.opened_at = self.done_in = self.done_at = None


_values: Final = attrgetter(*EXCHANGE_COLUMNS)


class Batch:
    """Applies frames of segments, in order, to rows in memory; ``write`` puts them into the database.

    What it holds is bounded by the number of frames that are applied before ``write``.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._rows: dict[int, _Row] = {}
        self._pieces: list[tuple[int, int, int, int, int]] = []
        self._unrecorded: list[tuple[int]] = []
        self._handshakes: list[tuple[Any, ...]] = []
        self._events: list[tuple[Any, ...]] = []
        self._damage: list[tuple[Any, ...]] = []
        self._known = db.execute("SELECT ifnull(max(seq), 0) FROM exchanges").fetchone()[0]
        self._streams = {row[0]: StreamRow(*row) for row in db.execute("SELECT * FROM streams")}
        self._runs: dict[str, int] = dict(db.execute("SELECT run_key, min(id) FROM segments GROUP BY run_key"))

    # -- frames -------------------------------------------------------------------------------------------------

    def apply(self, segment: SegmentRow, item: Frame | Damage) -> None:
        """Take one frame or damaged range into account."""
        if isinstance(item, Damage):
            self._add_damage(segment, item.offset, item.length, item.reason, item.is_tail, item.seqs_hint)
            return
        try:
            _check_seq(item, item.seq)
            self._apply_frame(segment, item)
        except DamagedError as error:
            # The checksum agrees and the record does not decode: written by a program with a fault.
            seqs = (item.seq,) if 0 < item.seq < _MAX_SEQ else ()
            self._add_damage(segment, item.offset, item.size, error.message, False, seqs)

    def _add_damage(
        self, segment: SegmentRow, offset: int, length: int, reason: str, tail: bool, seqs: tuple[int, ...]
    ) -> None:
        self._damage.append((segment.id, offset, length, reason, int(tail), ",".join(map(str, seqs))))
        for seq in seqs if not tail else ():
            row = self._find(seq)
            if row is not None:
                row.harmed = 1

    def _apply_frame(self, segment: SegmentRow, frame: Frame) -> None:
        kind = frame.kind
        if kind == FrameType.OPENED:
            self._opened(segment, frame)
        elif kind == FrameType.DONE:
            self._done(segment, frame)
        elif kind in {
            FrameType.REQUEST_BODY,
            FrameType.RESPONSE_BODY,
            FrameType.RESPONSE_HEAD,
            FrameType.TRAILERS,
            FrameType.MESSAGE,
        }:
            self._piece(segment, frame)
        elif kind == FrameType.SEGMENT:
            self._head(segment, frame)
        elif kind == FrameType.SEAL:
            self._seal(segment, frame)
        elif kind == FrameType.TLS:
            record = frame.record()
            assert isinstance(record, TlsSeen)
            failed = int(bool(record.error_code))
            place = (segment.id, frame.offset)
            row = (segment.run, record.connection, record.side, *place, record.host, failed)
            self._handshakes.append(_clamped(row))
        elif kind == FrameType.EVENT:
            self._event(segment, frame)

    def _opened(self, segment: SegmentRow, frame: Frame) -> None:
        record = frame.record()
        assert isinstance(record, Opened)
        _check_head(frame, record.head_size)
        row = self._row(frame.seq, segment)
        if row.opened_in is not None:
            # Written once more after a failed sync (P9): the first copy may be gone from the disk, any copy serves.
            self._pieces.append((frame.seq, segment.id, frame.offset, frame.kind, 0))
            return
        data = frame.data
        head = bytes(data[: record.head_size])
        method, target, _ = start_line(head)
        if is_coded(head):
            row.special = 1
        row.run = segment.run
        row.ts = record.wall_ns // _NS_PER_MS
        segment.ended = max(segment.ended, row.ts)
        row.method = method
        row.host = record.host.lower()
        row.url = full_url(method, target, record.scheme, record.host, record.port)
        row.source = record.source
        row.connection = record.connection
        row.opened_in, row.opened_at = segment.id, frame.offset
        row.request_seen = max(row.request_seen, len(data) - record.head_size)
        if row.done_in is None:
            row.request_size = row.request_seen

    def _piece(self, segment: SegmentRow, frame: Frame) -> None:
        record = frame.record() if frame.kind != FrameType.MESSAGE else None
        position = record.position if isinstance(record, BodyChunk) else 0
        if not 0 <= position < _MAX_SEQ:
            raise DamagedError(f"{frame.segment} at {frame.offset}: no body has a byte {position}")
        if isinstance(record, ResponseBegun):
            _check_head(frame, record.head_size)
        row = self._row(frame.seq, segment)
        self._pieces.append((frame.seq, segment.id, frame.offset, frame.kind, position))
        data = frame.data
        if isinstance(record, BodyChunk):
            row.special = 1
            self._body(row, frame.kind, record.position, len(data))
        elif isinstance(record, ResponseBegun) and not frame.flags & Flag.INTERIM:
            row.status = record.status
            self._response_head(row, bytes(data[: record.head_size]))
            self._body(row, FrameType.RESPONSE_BODY, 0, len(data) - record.head_size)

    @staticmethod
    def _response_head(row: _Row, head: bytes) -> None:
        row.content_type = content_type(head)
        if is_coded(head):
            row.special = 1

    @staticmethod
    def _body(row: _Row, kind: int, position: int, size: int) -> None:
        """Count bytes of body; a range that comes twice counts once, one that was jumped over is missing."""
        request = kind == FrameType.REQUEST_BODY
        end = row.request_size if request else row.response_size
        new = max(0, position + size - max(position, end))
        end = max(end, position + size)
        if request:
            row.request_seen += new
            row.request_size = end
        else:
            row.response_seen += new
            row.response_size = end

    def _done(self, segment: SegmentRow, frame: Frame) -> None:
        record = frame.record()
        assert isinstance(record, Done)
        _check_head(frame, record.head_size if frame.flags & Flag.HAS_RESPONSE else 0)
        row = self._row(frame.seq, segment)
        if row.done_in is not None:
            self._pieces.append((frame.seq, segment.id, frame.offset, frame.kind, 0))
            return
        row.done_in, row.done_at = segment.id, frame.offset
        row.state = _END_STATES.get(EndState(record.state), "failed") if record.state in _END_STATES else "failed"
        row.duration = record.elapsed_ns
        row.upstream = record.upstream_connection
        row.error = record.error or record.error_code or None
        if record.status:
            row.status = record.status
        if frame.flags & Flag.HAS_RESPONSE:
            data = frame.data
            self._response_head(row, bytes(data[: record.head_size]))
            row.response_seen = len(data) - record.head_size
        row.request_size, row.response_size = record.request_size, record.response_size
        missing = row.request_seen < record.request_recorded or row.response_seen < record.response_recorded
        if missing or row.opened_in is None:
            row.harmed = 1
        if record.request_recorded < record.request_size or record.response_recorded < record.response_size:
            row.special = 1
        segment.ended = max(segment.ended, row.ts + record.elapsed_ns // _NS_PER_MS)

    def _head(self, segment: SegmentRow, frame: Frame) -> None:
        record = frame.record()
        assert isinstance(record, SegmentHead)
        segment.run_key = f"{record.run:x}"
        segment.run = self._runs.setdefault(segment.run_key, segment.id)
        segment.begun = record.wall_ns // _NS_PER_MS
        segment.ended = max(segment.ended, segment.begun)
        _check_seq(frame, record.first_seq)
        stream = self._stream(segment.stream, min(record.streams, _MAX_STREAMS), record.first_seq)
        stream.next_seq = max(stream.next_seq, record.first_seq)

    def _seal(self, segment: SegmentRow, frame: Frame) -> None:
        record = frame.record()
        assert isinstance(record, Seal)
        segment.closed = 2 if frame.flags & Flag.FINAL else 1
        segment.ended = record.wall_ns // _NS_PER_MS
        _check_seq(frame, record.next_seq)
        stream = self._streams.get(segment.stream)
        if stream is not None:
            stream.next_seq = max(stream.next_seq, record.next_seq)

    def _event(self, segment: SegmentRow, frame: Frame) -> None:
        record = frame.record()
        assert isinstance(record, Event)
        dropped = record.detail.get("exchanges", 0) if record.kind == "dropped" else 0
        if not isinstance(dropped, int) or not 0 <= dropped < 2**53:
            dropped = 0
        if record.kind == "dropped":
            self._partial(record.detail.get("partial"))
        detail = msgspec.json.encode(msgspec.to_builtins(record.detail, str_keys=True)).decode()
        self._events.append((segment.id, frame.offset, record.kind, dropped, detail))

    def _partial(self, seqs: object) -> None:
        """Note exchanges whose end (or all of which) was not recorded: it will not come any more."""
        for seq in seqs if isinstance(seqs, list) else []:
            if not isinstance(seq, int) or not 0 < seq < _MAX_SEQ:
                continue
            self._unrecorded.append((seq,))
            row = self._find(seq)
            if row is not None and row.state == "inFlight":
                row.state = "interrupted"
                row.error = "the log could not be written: its end is not recorded"

    # -- rows ---------------------------------------------------------------------------------------------------

    def _find(self, seq: int) -> _Row | None:
        row = self._rows.get(seq)
        if row is None and seq <= self._known:
            stored = self._db.execute(SELECT_EXCHANGE, (seq,)).fetchone()
            if stored is not None:
                row = self._rows[seq] = _Row(seq, 0)
                for name, value in zip(EXCHANGE_COLUMNS, stored, strict=True):
                    setattr(row, name, value)
        return row

    def _row(self, seq: int, segment: SegmentRow) -> _Row:
        row = self._find(seq)
        if row is None:
            row = self._rows[seq] = _Row(seq, segment.run)
            row.ts = segment.ended  # of an exchange whose beginning is lost: when, roughly
            stream = self._stream(segment.stream, 1, seq)
            stream.present += 1
            stream.next_seq = max(stream.next_seq, seq + stream.step)
        return row

    def _stream(self, number: int, step: int, first_seq: int) -> StreamRow:
        stream = self._streams.get(number)
        if stream is None:
            # Streams count from their own number on, so that a lost beginning is known to be lost.
            first = min(number + 1, first_seq)
            stream = self._streams[number] = StreamRow(number, max(1, step), first, first_seq, 0)
        elif step > stream.step:
            stream.step = step
        return stream

    def write(self) -> None:
        """Put everything into the database, within the caller's transaction."""
        db = self._db
        rows = [_values(row) for row in self._rows.values()]
        try:
            db.executemany(_PUT, rows)
        except OverflowError:  # a forged record; SQLite's integers have 64 bits with a sign
            db.executemany(_PUT, [_clamped(row) for row in rows])
        db.executemany("INSERT OR IGNORE INTO unrecorded VALUES (?)", self._unrecorded)
        db.executemany("INSERT OR IGNORE INTO pieces VALUES (?, ?, ?, ?, ?)", self._pieces)
        db.executemany("INSERT OR REPLACE INTO handshakes VALUES (?, ?, ?, ?, ?, ?, ?)", self._handshakes)
        db.executemany("INSERT OR REPLACE INTO events VALUES (?, ?, ?, ?, ?)", self._events)
        db.executemany("INSERT OR REPLACE INTO damage VALUES (?, ?, ?, ?, ?, ?)", self._damage)
        db.executemany(
            "INSERT OR REPLACE INTO streams VALUES (?, ?, ?, ?, ?)",
            [(s.stream, s.step, s.first_seq, s.next_seq, s.present) for s in self._streams.values()],
        )
