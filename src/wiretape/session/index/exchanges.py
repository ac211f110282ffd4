"""The projection ``exchanges``: a row for each exchange, and where its frames stand."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Container, Iterable, Sequence
from typing import Any, Final

import msgspec

from wiretape.errors import DamagedError
from wiretape.heads import content_facts, full_url, is_coded, origin, start_line, status_line
from wiretape.log.assembly import counted
from wiretape.log.format import (
    BodyChunk,
    Done,
    EndState,
    Flag,
    FrameType,
    MessageSeen,
    Opened,
    Record,
    ResponseBegun,
    SentOn,
    TrailersSeen,
)
from wiretape.log.items import IMPOSSIBLE_FROM, OF_AN_EXCHANGE, Damage, Frame
from wiretape.log.report import LogReport
from wiretape.model import Gap
from wiretape.session.index import urls
from wiretape.session.index.projection import Item, Memory, Segment, storable

PARTS_MISSING: Final = 1
"""In ``damaged``: the log was given more of it than is there. Other bits: a frame of that kind was damaged."""


class ExchangeRow(msgspec.Struct, gc=False):
    """One row of ``exchanges``; the fields are its columns, in order.

    A msgspec struct because each exchange of a log is one for a moment: made and taken apart again in C.
    """

    seq: int
    run: int
    state: str = "inFlight"
    ts: int = 0
    method: str = ""
    host: str = ""
    url: str = ""
    status: int | None = None
    duration: int | None = None
    request_size: int = 0
    response_size: int = 0
    request_seen: int = 0
    response_seen: int = 0
    content_type: str | None = None
    error: str | None = None
    damaged: int = 0
    special: int = 0
    source: str = ""
    connection: int = 0
    upstream: int = 0
    opened_in: int | None = None
    opened_at: int | None = None
    done_in: int | None = None
    done_at: int | None = None
    rules: str | None = None
    changed: int = 0
    client_messages: int = 0
    server_messages: int = 0


EXCHANGE_COLUMNS: Final = ExchangeRow.__struct_fields__

_SCHEMA: Final = """
CREATE TABLE exchanges (
    seq INTEGER PRIMARY KEY,
    run INTEGER NOT NULL,
    state TEXT NOT NULL,
    ts INTEGER NOT NULL,         -- ms
    method TEXT NOT NULL,
    host TEXT NOT NULL,
    url TEXT NOT NULL,
    status INTEGER,
    duration INTEGER,            -- ns
    request_size INTEGER NOT NULL,
    response_size INTEGER NOT NULL,
    request_seen INTEGER NOT NULL,   -- bytes of body in the log, as far as read
    response_seen INTEGER NOT NULL,
    content_type TEXT,
    error TEXT,
    damaged INTEGER NOT NULL,    -- bits: 0 a part is missing, k a frame of kind k was damaged
    special INTEGER NOT NULL,    -- its text is not all there as plain bytes of single frames: coded, in pieces, cut
    source TEXT NOT NULL,
    connection INTEGER NOT NULL,
    upstream INTEGER NOT NULL,
    opened_in INTEGER, opened_at INTEGER,
    done_in INTEGER, done_at INTEGER,
    rules TEXT,                  -- ids of the rules that acted, a space before and after each; NULL for none
    changed INTEGER NOT NULL,    -- 1 a rule changed the request, 2 the response
    client_messages INTEGER NOT NULL,  -- with frames of their own: of a WebSocket
    server_messages INTEGER NOT NULL
);
CREATE INDEX ruled ON exchanges (seq) WHERE rules IS NOT NULL;
CREATE INDEX running ON exchanges (seq) WHERE state = 'inFlight';
CREATE INDEX damaged ON exchanges (seq) WHERE damaged;
CREATE TABLE pieces (            -- further frames of exchanges that have more than OPENED and DONE
    seq INTEGER, segment INTEGER, offset INTEGER, kind INTEGER, position INTEGER,
    PRIMARY KEY (seq, segment, offset)
) WITHOUT ROWID;
CREATE TABLE clocks (            -- the time (ms) to which a stream was read, for exchanges whose beginning is lost
    stream INTEGER PRIMARY KEY, ts INTEGER NOT NULL
);
"""

KEPT_SORTED: Final = ("method", "host", "status", "state", "ts", "content_type")
"""Columns with an index that is kept up while the log grows: new entries go to few places of it. Every index ends with
the row's number, so exchanges that are equal in the column come out in the order of their seqs."""
SORTED_AT_REST: Final = ("duration", "request_size", "response_size")
"""Columns whose values lie anywhere. Keeping an index of them up would write most of it again with each transaction, so
there is one only while nobody writes the log, and only once somebody asked for one or had the time: making all three
was most of what a first question waited for after a crash."""

_END_STATES: Final[dict[int, str]] = {
    EndState.COMPLETE: "complete",
    EndState.ABORTED: "aborted",
    EndState.FAILED: "failed",
    EndState.MOCKED: "mocked",
    EndState.BLOCKED: "blocked",
    EndState.DROPPED: "dropped",
}
_PUT: Final = f"INSERT OR REPLACE INTO exchanges VALUES ({', '.join('?' * len(EXCHANGE_COLUMNS))})"  # noqa: S608
_SELECT: Final = f"SELECT {', '.join(EXCHANGE_COLUMNS)} FROM exchanges WHERE seq = ?"  # noqa: S608 - constants
_OVER: Final = (
    "UPDATE exchanges SET state = 'interrupted', damaged = damaged |"
    " (opened_in IS NULL OR request_seen < request_size OR response_seen < response_size)"
    " WHERE state = 'inFlight' AND seq NOT IN (SELECT value FROM json_each(?))"
)
_TOUCHED: Final = (
    "UPDATE exchanges SET damaged = damaged | 1 WHERE damaged = 0 AND seq IN (SELECT value FROM json_each(?))"
)
_UNWRITTEN: Final = (
    "UPDATE exchanges SET error = 'the log could not be written: its end is not recorded'"
    " WHERE seq IN (SELECT value FROM json_each(?)) AND state = 'interrupted'"
)
_HAS_RESPONSE: Final = int(Flag.HAS_RESPONSE)
_NS_PER_MS: Final = 1_000_000
_MAX_WORD: Final = 1_000
"""Characters of a method, host or media type that are kept; a forged head may be one word of 2 MiB."""
_MAX_RULES: Final = 20
_MAX_ORIGINS: Final = 1_000
_MAX_DETAIL: Final = 16 * 1024
_HELD_TEXT: Final = 4 * 1024 * 1024
"""Characters of URLs that are gathered before they are written, within the same transaction."""


class Exchanges:
    """The projection."""

    name = "exchanges"
    version = 6
    tables = ("exchanges", "pieces", "clocks", "url_blocks")
    schema = _SCHEMA + urls.SCHEMA

    def open(self, db: sqlite3.Connection, _memory: Memory) -> ExchangeSink:
        """Begin a transaction's work."""
        return ExchangeSink(db)

    def end(self, db: sqlite3.Connection, report: LogReport) -> None:
        """Say of what does not run any more, by the audit, that it will not end."""
        db.execute(_OVER, (msgspec.json.encode(report.in_flight).decode(),))
        if report.damaged:
            db.execute(_TOUCHED, (msgspec.json.encode(report.damaged).decode(),))
        if report.partial:
            db.execute(_UNWRITTEN, (msgspec.json.encode(report.partial).decode(),))
        # Made when the end is first reached: that takes a third of what keeping them up from the beginning would.
        _sort(db, KEPT_SORTED)
        if report.holder is not None:
            for column in SORTED_AT_REST:
                db.execute(f"DROP INDEX IF EXISTS by_{column}")


def sort_at_rest(db: sqlite3.Connection, columns: Container[str]) -> None:
    """Make the indexes of those columns of ``SORTED_AT_REST``; the caller knows that nobody writes the log.

    Where that cannot be done at once, on a full disk or while another process is at it, rows will be read instead.
    """
    before = db.execute("PRAGMA busy_timeout").fetchone()[0]
    db.execute("PRAGMA busy_timeout = 0")
    try:
        with contextlib.suppress(sqlite3.OperationalError):
            _sort(db, [column for column in SORTED_AT_REST if column in columns])
    finally:
        db.execute(f"PRAGMA busy_timeout = {int(before)}")


def _sort(db: sqlite3.Connection, columns: Iterable[str]) -> None:
    for column in columns:
        db.execute(f"CREATE INDEX IF NOT EXISTS by_{column} ON exchanges ({column})")


class ExchangeSink:
    """Applies frames of segments, in order, to rows in memory; ``write`` puts them into the database.

    What it holds is bounded: more than that is written before the caller says so.
    """

    kind = None

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._text = 0
        self._rows: dict[int, ExchangeRow] = {}
        self._pieces: list[tuple[int, int, int, int, int]] = []
        self._urls = urls.UrlBlocks()
        self._clocks: dict[int, int] = dict(db.execute("SELECT stream, ts FROM clocks"))
        self._clock = 0
        self._known = db.execute("SELECT ifnull(max(seq), 0) FROM exchanges").fetchone()[0]
        self._origins: dict[tuple[str, str, int], tuple[str, str]] = {}
        """Host in lower case, and what URLs begin with, by what OPENED says; some servers have most exchanges."""
        self._takers: dict[type | None, Callable[[Segment, Frame, Any], None]] = {
            Opened: self._opened,
            Done: self._done,
            BodyChunk: self._body,
            ResponseBegun: self._head,
            TrailersSeen: self._piece,
            MessageSeen: self._message,
            SentOn: self._sent,
        }

    # -- frames -------------------------------------------------------------------------------------------------

    def begin(self, segment: Segment, missing: Sequence[Gap], step: int) -> None:  # noqa: ARG002
        """Begin a segment."""
        head, stream = segment.placed.head, segment.stream
        begun = head.wall_ns // _NS_PER_MS if head is not None else 0
        self._clocks[stream] = max(self._clocks.get(stream, 0), begun)

    def take(self, segment: Segment, items: Sequence[Item]) -> None:
        """Take frames and damaged ranges of one segment, in their order."""
        takers = self._takers
        self._clock = self._clocks[segment.stream]
        item: Any  # a record's type says which kind of frame it stands in
        for item, record in items:
            take = takers.get(record.__class__)
            if take is not None:
                take(segment, item, record)
            elif item.__class__ is Damage:
                self._damage(item)
            elif record.__class__ is DamagedError and item.kind in OF_AN_EXCHANGE:
                self._nonsense(segment, item)
        self._clocks[segment.stream] = self._clock

    def reached(self, segment: Segment, position: int) -> None:
        """Keep nothing of it."""

    def _nonsense(self, segment: Segment, frame: Frame) -> None:
        """Take a frame whose checksum agrees and whose record means nothing: written by a program with a fault.

        It says that there was this exchange, and counts as any other frame of it: so it does for the audit, which
        decodes no records of exchanges.
        """
        if 0 < frame.seq < IMPOSSIBLE_FROM:
            self._row(frame.seq, segment).damaged |= 1 << frame.kind

    def _damage(self, damage: Damage) -> None:
        for seq in damage.seqs_hint if not damage.is_tail else ():
            row = self._find(seq)
            if row is not None:
                row.damaged |= 1 << damage.kind

    def _opened(self, segment: Segment, frame: Frame, record: Opened) -> None:
        row = self._row(frame.seq, segment)
        if row.opened_in is not None:
            # Written once more after a failed sync (P9): the first copy may be gone from the disk, any copy serves.
            self._pieces.append((frame.seq, segment.id, frame.offset, frame.kind, 0))
            return
        payload, begin = frame.payload, frame.head_length
        end = begin + record.head_size
        head = payload[begin:end]
        method, target, _ = start_line(head)
        if is_coded(head):
            row.special = 1
        row.run = segment.run
        row.ts = now = record.wall_ns // _NS_PER_MS
        self._clock = max(self._clock, now)
        row.method = method if len(method) <= _MAX_WORD else method[:_MAX_WORD]
        server = (record.scheme, record.host, record.port)
        known = self._origins.get(server)
        if known is None:
            known = record.host[:_MAX_WORD].lower(), origin(*server)
            if len(self._origins) < _MAX_ORIGINS and len(known[1]) <= _MAX_WORD:
                self._origins[server] = known
        row.host = known[0]
        plain = target[:1] == "/" and method != "CONNECT"
        row.url = url = known[1] + target if plain else full_url(method, target, *server)
        row.source = record.source[:_MAX_WORD]
        row.connection = record.connection
        row.opened_in, row.opened_at = segment.id, frame.offset
        seen = len(payload) - end
        row.request_seen = max(row.request_seen, seen)
        if row.done_in is None:
            row.request_size = row.request_seen
        self._urls.add(row.seq, url)
        self._text += len(url)
        if self._text > _HELD_TEXT:
            self._flush()

    def _piece(self, segment: Segment, frame: Frame, record: Record | None) -> None:  # noqa: ARG002
        self._row(frame.seq, segment)
        self._pieces.append((frame.seq, segment.id, frame.offset, frame.kind, 0))

    def _sent(self, segment: Segment, frame: Frame, record: SentOn) -> None:
        """Note which rule acted, and what the client got of a response that one changed."""
        row = self._row(frame.seq, segment)
        self._pieces.append((frame.seq, segment.id, frame.offset, frame.kind, record.position))
        known = (row.rules or " ").split()
        if record.rule and record.rule not in known and len(known) < _MAX_RULES:
            row.rules = f" {' '.join([*known, record.rule[:_MAX_WORD]])} "
        if record.head_size:
            row.changed, row.special = 1, 1
            if frame.flags & Flag.RESPONSE:
                row.changed = 2
                begin = frame.head_length
                head = frame.payload[begin : begin + record.head_size]
                self._response_head(row, head)
                said = status_line(head)[1]
                row.status = int(said) if said.isascii() and said.isdigit() else row.status

    def _message(self, segment: Segment, frame: Frame, record: MessageSeen) -> None:
        """Count a message; where it stands is kept by the projection of messages."""
        row = self._row(frame.seq, segment)
        row.special = 1
        if frame.flags & Flag.RESPONSE:
            row.server_messages = max(row.server_messages, record.number)
        else:
            row.client_messages = max(row.client_messages, record.number)

    def _body(self, segment: Segment, frame: Frame, record: BodyChunk) -> None:
        row = self._row(frame.seq, segment)
        size = len(frame.payload) - frame.head_length
        if size:
            self._pieces.append((frame.seq, segment.id, frame.offset, frame.kind, record.position))
        row.special = 1
        if frame.kind == FrameType.REQUEST_BODY:
            row.request_seen, row.request_size = counted(row.request_seen, row.request_size, record.position, size)
        else:
            row.response_seen, row.response_size = counted(row.response_seen, row.response_size, record.position, size)

    def _head(self, segment: Segment, frame: Frame, record: ResponseBegun) -> None:
        row = self._row(frame.seq, segment)
        self._pieces.append((frame.seq, segment.id, frame.offset, frame.kind, 0))
        if frame.flags & Flag.INTERIM:
            return
        begin = frame.head_length
        row.status = record.status or None
        self._response_head(row, frame.payload[begin : begin + record.head_size])
        size = len(frame.payload) - begin - record.head_size
        row.response_seen, row.response_size = counted(row.response_seen, row.response_size, 0, size)

    @staticmethod
    def _response_head(row: ExchangeRow, head: bytes) -> None:
        found, coded = content_facts(head)
        row.content_type = None if found is None else found[:_MAX_WORD]
        if coded:
            row.special = 1

    def _done(self, segment: Segment, frame: Frame, record: Done) -> None:
        row = self._row(frame.seq, segment)
        if row.done_in is not None:
            self._pieces.append((frame.seq, segment.id, frame.offset, frame.kind, 0))
            return
        row.done_in, row.done_at = segment.id, frame.offset
        row.state = _END_STATES.get(record.state, "failed")
        row.duration = elapsed = record.elapsed_ns
        now = row.ts + elapsed // _NS_PER_MS
        self._clock = max(self._clock, now)
        row.upstream = record.upstream_connection
        error = record.error or record.error_code
        row.error = error[:_MAX_DETAIL] if error else None
        if record.status:
            row.status = record.status
        if frame.flags & _HAS_RESPONSE:
            payload, begin = frame.payload, frame.head_length
            end = begin + record.head_size
            self._response_head(row, payload[begin:end])
            row.response_seen = len(payload) - end
        row.request_size, row.response_size = record.request_size, record.response_size
        missing = row.request_seen < record.request_recorded or row.response_seen < record.response_recorded
        if missing or row.opened_in is None:
            row.damaged |= PARTS_MISSING
        if record.request_recorded < record.request_size or record.response_recorded < record.response_size:
            row.special = 1

    # -- rows ---------------------------------------------------------------------------------------------------

    def _find(self, seq: int) -> ExchangeRow | None:
        row = self._rows.get(seq)
        if row is None and seq <= self._known:
            stored = self._db.execute(_SELECT, (seq,)).fetchone()
            if stored is not None:
                row = self._rows[seq] = ExchangeRow(*stored)
        return row

    def _row(self, seq: int, segment: Segment) -> ExchangeRow:
        row = self._rows.get(seq)
        if row is None and (seq > self._known or (row := self._find(seq)) is None):
            row = self._rows[seq] = ExchangeRow(seq, segment.run)
            row.ts = self._clock  # of an exchange whose beginning is lost: when, roughly
        return row

    def _flush(self) -> None:
        db = self._db
        rows = [msgspec.structs.astuple(row) for row in self._rows.values()]
        try:
            db.executemany(_PUT, rows)
        except OverflowError:  # a forged record; SQLite's integers have 64 bits with a sign
            db.executemany(_PUT, [_clamped(row) for row in rows])
        db.executemany("INSERT OR IGNORE INTO pieces VALUES (?, ?, ?, ?, ?)", self._pieces)
        self._urls.write(db)
        self._known = max(self._known, max(self._rows, default=0))
        self._text = 0
        self._rows.clear()
        self._pieces.clear()

    def write(self) -> None:
        """Put everything into the database."""
        self._flush()
        clocks = [_clamped(clock) for clock in self._clocks.items()]
        self._db.executemany("INSERT OR REPLACE INTO clocks VALUES (?, ?)", clocks)


def _clamped(row: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(storable(value) if isinstance(value, int) else value for value in row)
