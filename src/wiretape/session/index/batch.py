"""Frames to rows: what one transaction of the index gathers before it writes."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec
from google_crc32c import value as crc32c

from wiretape.errors import DamagedError
from wiretape.heads import content_type, full_url, is_coded, start_line
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
from wiretape.log.items import OF_AN_EXCHANGE, Damage, Frame
from wiretape.session.index.rows import ExchangeRow, SegmentRow, StreamRow
from wiretape.session.index.schema import EXCHANGE_COLUMNS, SELECT_EXCHANGE

_END_STATES: Final[dict[int, str]] = {
    EndState.COMPLETE: "complete",
    EndState.ABORTED: "aborted",
    EndState.FAILED: "failed",
}
_PUT: Final = f"INSERT OR REPLACE INTO exchanges VALUES ({', '.join('?' * len(EXCHANGE_COLUMNS))})"  # noqa: S608
_OF_AN_EXCHANGE: Final = frozenset(map(int, OF_AN_EXCHANGE))
_HAS_RESPONSE: Final = int(Flag.HAS_RESPONSE)
_NS_PER_MS: Final = 1_000_000
_MAX_SEQ: Final = 2**53
"""JSON's numbers are exact up to here."""
_MAX_STREAMS: Final = 10_000
_MAX_INTEGER: Final = 2**63 - 1
_MAX_WORD: Final = 1_000
"""Characters of a method, host or media type that are kept; a forged head may be one word of 2 MiB."""
_MAX_DETAIL: Final = 16 * 1024
_HELD_ROWS: Final = 65_536
_HELD_TEXT: Final = 4 * 1024 * 1024
"""What is gathered before it is written, within the same transaction."""


def _clamped(row: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(max(-_MAX_INTEGER, min(_MAX_INTEGER, value)) if isinstance(value, int) else value for value in row)


def _check_seq(frame: Frame, seq: int) -> None:
    if not 0 <= seq < _MAX_SEQ:
        raise DamagedError(f"{frame.segment} at {frame.offset}: no writer gives the number {seq}")


def _message_head(frame: Frame, size: int) -> bytes:
    """Give the raw head in a frame's data."""
    begin = frame.head_length
    end = begin + size
    if not begin <= end <= len(frame.payload):
        raise DamagedError(f"{frame.segment} at {frame.offset}: a head of {size} bytes does not fit into its frame")
    return frame.payload[begin:end]


class Batch:
    """Applies frames of segments, in order, to rows in memory; ``write`` puts them into the database.

    What it holds is bounded: more than that is written before the caller says so.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._text = 0
        self._rows: dict[int, ExchangeRow] = {}
        self._pieces: list[tuple[int, int, int, int, int]] = []
        self._unrecorded: list[tuple[int]] = []
        self._handshakes: list[tuple[Any, ...]] = []
        self._events: list[tuple[Any, ...]] = []
        self._damage: list[tuple[Any, ...]] = []
        self._known = db.execute("SELECT ifnull(max(seq), 0) FROM exchanges").fetchone()[0]
        self._streams = {row[0]: StreamRow(*row) for row in db.execute("SELECT * FROM streams")}
        self._takers: dict[int, Callable[[SegmentRow, Frame], None]] = {
            FrameType.OPENED: self._opened,
            FrameType.DONE: self._done,
            FrameType.REQUEST_BODY: self._piece,
            FrameType.RESPONSE_BODY: self._piece,
            FrameType.RESPONSE_HEAD: self._piece,
            FrameType.TRAILERS: self._piece,
            FrameType.MESSAGE: self._piece,
            FrameType.SEGMENT: self._head,
            FrameType.SEAL: self._seal,
            FrameType.TLS: self._handshake,
            FrameType.EVENT: self._event,
        }
        self._runs: dict[str, int] = dict(db.execute("SELECT run_key, min(id) FROM segments GROUP BY run_key"))

    # -- frames -------------------------------------------------------------------------------------------------

    def apply(self, segment: SegmentRow, items: Iterable[Frame | Damage]) -> None:
        """Take frames and damaged ranges of one segment into account, in their order."""
        takers = self._takers
        for item in items:
            if isinstance(item, Damage):
                self._add_damage(segment, item.offset, item.length, item.reason, item.is_tail, item.seqs_hint)
                continue
            try:
                _check_seq(item, item.seq)
                take = takers.get(item.kind)
                if take is not None:
                    take(segment, item)
            except DamagedError as error:
                self._take_nonsense(segment, item, error.message)

    def _take_nonsense(self, segment: SegmentRow, frame: Frame, reason: str) -> None:
        """Take a frame whose checksum agrees and whose record does not decode: written by a program with a fault.

        It says that there was this exchange, and counts as any other frame of it: so it does for verify, which decodes
        nothing.
        """
        seqs: tuple[int, ...] = ()
        if frame.kind in _OF_AN_EXCHANGE and 0 < frame.seq < _MAX_SEQ:
            seqs = (frame.seq,)
            self._row(frame.seq, segment)
        self._add_damage(segment, frame.offset, frame.size, reason, False, seqs)

    def _add_damage(
        self, segment: SegmentRow, offset: int, length: int, reason: str, tail: bool, seqs: tuple[int, ...]
    ) -> None:
        self._damage.append((segment.id, offset, length, reason, int(tail), ",".join(map(str, seqs))))
        for seq in seqs if not tail else ():
            row = self._find(seq)
            if row is not None:
                row.harmed = 1

    def _opened(self, segment: SegmentRow, frame: Frame) -> None:
        record = frame.record()
        assert isinstance(record, Opened)
        head = _message_head(frame, record.head_size)
        row = self._row(frame.seq, segment)
        if row.opened_in is not None:
            # Written once more after a failed sync (P9): the first copy may be gone from the disk, any copy serves.
            self._pieces.append((frame.seq, segment.id, frame.offset, frame.kind, 0))
            return
        method, target, _ = start_line(head)
        if is_coded(head):
            row.special = 1
        row.run = segment.run
        row.ts = record.wall_ns // _NS_PER_MS
        segment.ended = max(segment.ended, row.ts)
        row.method = method[:_MAX_WORD]
        row.host = record.host[:_MAX_WORD].lower()
        row.url = full_url(method, target, record.scheme, record.host, record.port)
        row.source = record.source[:_MAX_WORD]
        row.connection = record.connection
        row.opened_in, row.opened_at = segment.id, frame.offset
        row.request_seen = max(row.request_seen, len(frame.payload) - frame.head_length - len(head))
        if row.done_in is None:
            row.request_size = row.request_seen
        self._text += len(row.url)
        if self._text > _HELD_TEXT:
            self.write()

    def _piece(self, segment: SegmentRow, frame: Frame) -> None:
        record = frame.record() if frame.kind != FrameType.MESSAGE else None
        position = record.position if isinstance(record, BodyChunk) else 0
        if not 0 <= position < _MAX_SEQ:
            raise DamagedError(f"{frame.segment} at {frame.offset}: no body has a byte {position}")
        head = _message_head(frame, record.head_size) if isinstance(record, ResponseBegun) else b""
        row = self._row(frame.seq, segment)
        size = len(frame.payload) - frame.head_length
        if size or not isinstance(record, BodyChunk):
            self._pieces.append((frame.seq, segment.id, frame.offset, frame.kind, position))
        if isinstance(record, BodyChunk):
            row.special = 1
            self._body(row, frame.kind, record.position, size)
        elif isinstance(record, ResponseBegun) and not frame.flags & Flag.INTERIM:
            row.status = record.status
            self._response_head(row, head)
            self._body(row, FrameType.RESPONSE_BODY, 0, size - len(head))

    @staticmethod
    def _response_head(row: ExchangeRow, head: bytes) -> None:
        found = content_type(head)
        row.content_type = None if found is None else found[:_MAX_WORD]
        if is_coded(head):
            row.special = 1

    @staticmethod
    def _body(row: ExchangeRow, kind: int, position: int, size: int) -> None:
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
        head = _message_head(frame, record.head_size) if frame.flags & _HAS_RESPONSE else b""
        row = self._row(frame.seq, segment)
        if row.done_in is not None:
            self._pieces.append((frame.seq, segment.id, frame.offset, frame.kind, 0))
            return
        row.done_in, row.done_at = segment.id, frame.offset
        row.state = _END_STATES.get(record.state, "failed")
        row.duration = record.elapsed_ns
        row.upstream = record.upstream_connection
        row.error = (record.error or record.error_code)[:_MAX_DETAIL] or None
        if record.status:
            row.status = record.status
        if frame.flags & _HAS_RESPONSE:
            self._response_head(row, head)
            row.response_seen = len(frame.payload) - frame.head_length - len(head)
        row.request_size, row.response_size = record.request_size, record.response_size
        missing = row.request_seen < record.request_recorded or row.response_seen < record.response_recorded
        if missing or row.opened_in is None:
            row.harmed = 1
        if record.request_recorded < record.request_size or record.response_recorded < record.response_size:
            row.special = 1
        segment.ended = max(segment.ended, row.ts + record.elapsed_ns // _NS_PER_MS)

    def _handshake(self, segment: SegmentRow, frame: Frame) -> None:
        record = frame.record()
        assert isinstance(record, TlsSeen)
        place = (segment.id, frame.offset)
        failed = int(bool(record.error_code))
        row = (segment.run, record.connection, record.side[:_MAX_WORD], *place, record.host[:_MAX_WORD], failed)
        self._handshakes.append(_clamped(row))

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
        self._events.append((segment.id, frame.offset, record.kind[:_MAX_WORD], dropped, _detail(frame, record)))

    def _partial(self, seqs: object) -> None:
        """Note exchanges whose end (or all of which) was not recorded: it will not come any more."""
        for seq in seqs if isinstance(seqs, list) else []:
            if not isinstance(seq, int) or not 0 < seq < _MAX_SEQ:
                continue
            if max(len(self._unrecorded), len(self._rows)) >= _HELD_ROWS:
                self.write()
            self._unrecorded.append((seq,))
            row = self._find(seq)
            if row is not None and row.state == "inFlight":
                row.state = "interrupted"
                row.error = "the log could not be written: its end is not recorded"

    # -- rows ---------------------------------------------------------------------------------------------------

    def _find(self, seq: int) -> ExchangeRow | None:
        row = self._rows.get(seq)
        if row is None and seq <= self._known:
            stored = self._db.execute(SELECT_EXCHANGE, (seq,)).fetchone()
            if stored is not None:
                row = self._rows[seq] = ExchangeRow(*stored)
        return row

    def _row(self, seq: int, segment: SegmentRow) -> ExchangeRow:
        row = self._rows.get(seq) or self._find(seq)
        if row is None:
            if seq <= 0:
                raise DamagedError(f"{segment.name}: no writer gives the number {seq} to an exchange")
            row = self._rows[seq] = ExchangeRow(seq, segment.run)
            row.ts = segment.ended  # of an exchange whose beginning is lost: when, roughly
            stream = self._streams.get(segment.stream) or self._stream(segment.stream, 1, seq)
            stream.present += 1
            if seq >= stream.next_seq:
                stream.next_seq = seq + stream.step
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
        """Put what was gathered into the database, within the caller's transaction, and begin anew."""
        db = self._db
        rows = [msgspec.structs.astuple(row) for row in self._rows.values()]
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
        self._known = max(self._known, max(self._rows, default=0))
        self._text = 0
        for gathered in (self._rows, self._unrecorded, self._pieces, self._handshakes, self._events, self._damage):
            gathered.clear()


def _detail(frame: Frame, event: Event) -> str:
    """Give an event's detail as JSON; of one that is none, or long, what tells it from another."""
    with contextlib.suppress(TypeError, ValueError, OverflowError, RecursionError):
        detail = msgspec.json.encode(msgspec.to_builtins(event.detail, str_keys=True))
        if len(detail) <= _MAX_DETAIL:
            return detail.decode()
    return msgspec.json.encode({"bytes": frame.head_length, "crc": crc32c(frame.head)}).decode()
