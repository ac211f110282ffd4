"""The projection ``endpoints``: what each exchange asked for, and counts by that, kept while the log is read.

An overview of a million exchanges is read from these counts. Bodies are looked at only in answers that may say that
something went wrong, and in requests to paths that serve many operations.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, Final

from wiretape.heads import field_values, fields
from wiretape.log.format import BodyChunk, Done, EndState, Flag, FrameType, Opened, ResponseBegun
from wiretape.log.items import IMPOSSIBLE_FROM, Damage, Frame
from wiretape.log.report import LogReport
from wiretape.model import Gap
from wiretape.session.content import ContentError, content_codings, decode
from wiretape.session.index.endpoint_names import EndpointNames, sound
from wiretape.session.index.projection import Item, Memory, Segment
from wiretape.views.problems import may_be_problem, problem_of

ERRONEOUS: Final = 1 << 10
"""In ``outcome``: the answer says that something went wrong though its status does not."""
_STATE: Final = 11
_OUTCOMES: Final = 14
_BUCKETS: Final = 11
"""Bits of an outcome, and of a class of durations (``bucket_of`` of 2^63)."""
_STATES: Final[dict[int, int]] = {state: number for number, state in enumerate(EndState)}
STATE_NAMES: Final = ("complete", "aborted", "failed", "mocked", "blocked", "dropped")
SLOWEST: Final = 10
"""Slowest exchanges that are kept by name."""
_HELD: Final = 16 * 1024
_HELD_GRAPHQL: Final = 256 * 1024
"""Bytes of an answer's body that are held to look for what went wrong."""
_HELD_IN_ALL: Final = 16 * 1024 * 1024
_CODED_SUSPECT: Final = 2_048
"""An answer of success that is coded is decoded up to this size: ``{"success":false}`` is short."""
_BEGINNING: Final = 512
_HAS_RESPONSE: Final = int(Flag.HAS_RESPONSE)
_REQUEST_COMPLETE: Final = int(Flag.REQUEST_COMPLETE)
_MS: Final = 1_000_000
_MINUTE: Final = 60_000 * _MS
_MAX_INTEGER: Final = 2**63 - 1

_SCHEMA: Final = """
CREATE TABLE endpoints (
    id INTEGER PRIMARY KEY, method TEXT NOT NULL, host TEXT NOT NULL, template TEXT NOT NULL,
    UNIQUE (method, host, template)
);
CREATE TABLE endpoint_of (seq INTEGER PRIMARY KEY, endpoint INTEGER NOT NULL);
CREATE TABLE endpoint_counts (   -- of exchanges that have ended
    endpoint INTEGER, outcome INTEGER, bucket INTEGER,
    n INTEGER NOT NULL, bytes INTEGER NOT NULL, first_seq INTEGER NOT NULL,
    slowest_ns INTEGER NOT NULL, slowest_seq INTEGER NOT NULL,
    PRIMARY KEY (endpoint, outcome, bucket)
) WITHOUT ROWID;
CREATE TABLE endpoint_minutes (minute INTEGER PRIMARY KEY, n INTEGER NOT NULL, errors INTEGER NOT NULL);
CREATE TABLE endpoint_slowest (seq INTEGER PRIMARY KEY, ns INTEGER NOT NULL, endpoint INTEGER NOT NULL);
CREATE TABLE problems (          -- a row for each exchange that went wrong
    seq INTEGER PRIMARY KEY, endpoint INTEGER NOT NULL, outcome INTEGER NOT NULL, message TEXT NOT NULL
);
CREATE INDEX problems_of ON problems (endpoint, outcome);
CREATE TABLE unended (           -- exchanges whose end was not read yet
    seq INTEGER PRIMARY KEY, endpoint INTEGER NOT NULL, wall_ns INTEGER NOT NULL, head BLOB, body BLOB, trailers BLOB,
    request BLOB
);
CREATE TABLE endpoint_tops (stream INTEGER PRIMARY KEY, seq INTEGER NOT NULL);
"""


def bucket_of(ns: int) -> int:
    """Return the class of a duration; classes are at most 3 % wide."""
    if ns < 64:
        return max(0, ns)
    shift = ns.bit_length() - 6
    return (shift << 5) + (ns >> shift)


def bucket_ns(bucket: int) -> float:
    """Return the middle of a class of durations."""
    if bucket < 64:
        return float(bucket)
    shift = (bucket >> 5) - 1
    return (((bucket & 31) | 32) + 0.5) * (1 << shift)


def status_of(outcome: int) -> int:
    """Return the status in an outcome, 0 for none."""
    return outcome & (ERRONEOUS - 1)


def state_of(outcome: int) -> str:
    """Return the state in an outcome."""
    return STATE_NAMES[min(outcome >> _STATE, len(STATE_NAMES) - 1)]


def is_error(outcome: int) -> bool:
    """Return whether an outcome counts as an error: 4xx, 5xx, failed, or an answer that says so itself."""
    return outcome & (ERRONEOUS - 1) >= 400 or outcome & ERRONEOUS != 0 or outcome >> _STATE == 2


class Endpoints:
    """The projection."""

    name = "endpoints"
    version = 2
    tables = (
        "endpoints",
        "endpoint_of",
        "endpoint_counts",
        "endpoint_minutes",
        "endpoint_slowest",
        "problems",
        "unended",
        "endpoint_tops",
    )
    schema = _SCHEMA

    def open(self, db: sqlite3.Connection, memory: Memory) -> EndpointSink:
        """Begin a transaction's work."""
        names = memory.get(self.name)
        if not isinstance(names, EndpointNames) or names.too_many:
            names = memory[self.name] = EndpointNames(db)
        return EndpointSink(db, names)

    def end(self, db: sqlite3.Connection, report: LogReport) -> None:
        """Need nothing of it: what has not ended has its state in ``exchanges``."""


class _Kept:
    """As much of a running exchange as may be looked at when it ends; most have ended before anything need be kept."""

    __slots__ = ("body", "head", "request", "trailers")

    def __init__(self) -> None:
        self.head = b""
        self.body: bytearray | None = None
        self.trailers = b""
        self.request = b""
        """Host, NUL, head and as much of the body as there is, where the body is still to say what it asks for."""


class EndpointSink:
    """One transaction's work."""

    kind = None

    def __init__(self, db: sqlite3.Connection, names: EndpointNames) -> None:
        self._db = db
        self._names = names
        self._manifold = names.manifold
        self._running: dict[int, tuple[int, int]] = {}
        """The endpoint of each, and when it began (ns)."""
        self._kept: dict[int, _Kept] = {}
        self._held = 0
        for seq, endpoint, wall_ns, head, body, trailers, request in db.execute("SELECT * FROM unended"):
            self._running[seq] = (endpoint, wall_ns)
            if head or body is not None or trailers or request:
                kept = self._kept[seq] = _Kept()
                kept.head, kept.trailers, kept.request = head or b"", trailers or b"", request or b""
                kept.body = bytearray(body) if body is not None else None
                self._held += len(body or b"")
        self._stored = set(self._running)
        self._tops: dict[int, int] = dict(db.execute("SELECT stream, seq FROM endpoint_tops"))
        self._new: dict[int, int] = {}
        self._counts: dict[int, list[int]] = {}
        """By endpoint, outcome and bucket in one number: that is looked up and sorted faster than three."""
        self._minutes: dict[int, list[int]] = {}
        self._minute, self._in_minute = -1, [0, 0]
        self._problems: list[tuple[int, int, int, str]] = []
        self._slowest: list[tuple[int, int, int]] = [
            (ns, seq, endpoint) for seq, ns, endpoint in db.execute("SELECT seq, ns, endpoint FROM endpoint_slowest")
        ]
        self._bar = min((one[0] for one in self._slowest), default=0) if len(self._slowest) >= SLOWEST else -1
        self._stream = self._top = 0

    # -- frames -------------------------------------------------------------------------------------------------

    def begin(self, segment: Segment, missing: Sequence[Gap], step: int) -> None:
        """Do nothing: each exchange stands for itself."""

    def reached(self, segment: Segment, position: int) -> None:
        """Do nothing: the follower keeps the place."""

    def take(self, segment: Segment, items: Sequence[Item]) -> None:
        """Take frames of one segment, in their order."""
        stream = self._stream = segment.stream
        self._top = self._tops.get(stream, 0)
        item: Any  # a record's type says which kind of frame it stands in
        record: Any
        for item, record in items:
            if item.__class__ is Damage or not 0 < item.seq < IMPOSSIBLE_FROM:
                continue
            made = record.__class__
            if made is Opened:
                self._opened(item, record)
            elif made is Done:
                self._done(item, record)
            elif made is ResponseBegun:
                self._head(item, record)
            elif made is BodyChunk:
                self._body(item, record)
            elif item.kind == FrameType.TRAILERS:
                if self._is_running(item.seq) and item.flags & Flag.RESPONSE:
                    self._keep(item.seq).trailers = item.payload[item.head_length :][:_HELD]
            elif item.kind in _OTHERS:
                self._is_running(item.seq)
        self._tops[stream] = self._top

    def _is_known(self, seq: int) -> bool:
        """Return whether there was a frame of this exchange before."""
        if seq > self._top:
            return False
        if seq in self._running or seq in self._new:
            return True
        return self._db.execute("SELECT 1 FROM endpoint_of WHERE seq = ?", (seq,)).fetchone() is not None

    def _start(self, seq: int, endpoint: int, wall_ns: int) -> None:
        self._new[seq] = endpoint
        self._top = max(self._top, seq)
        self._running[seq] = (endpoint, wall_ns)

    def _is_running(self, seq: int) -> bool:
        """Return whether an exchange of which a frame came has not ended; one whose beginning is lost begins here."""
        if seq in self._running:
            return True
        if self._is_known(seq):
            return False
        self._start(seq, 0, 0)
        return True

    def _keep(self, seq: int) -> _Kept:
        found = self._kept.get(seq)
        if found is None:
            found = self._kept[seq] = _Kept()
        return found

    def _opened(self, frame: Frame, record: Opened) -> None:
        seq, payload, begin = frame.seq, frame.payload, frame.head_length
        if seq <= self._top and self._is_known(seq):
            one = self._running.get(seq)
            if one is None or one[0]:
                return  # written once more after a failed sync (P9)
        endpoint = self._names.find(record.host, payload, begin, begin + record.head_size)
        # Kept in three places at once, without a call: this is done for each exchange.
        self._new[seq] = endpoint
        self._running[seq] = (endpoint, record.wall_ns)
        self._top = max(self._top, seq)
        if not frame.flags & _REQUEST_COMPLETE and self._names.is_manifold(endpoint):
            self._keep(seq).request = record.host.encode("utf-8", "replace") + b"\0" + payload[begin:][:_HELD]

    def _body(self, frame: Frame, record: BodyChunk) -> None:
        seq = frame.seq
        kept = self._kept.get(seq) if self._is_running(seq) else None
        if kept is None:
            return
        if frame.kind == FrameType.RESPONSE_BODY:
            self._hold(seq, kept, frame.payload[frame.head_length :], record.position)
        elif kept.request:
            kept.request += frame.payload[frame.head_length :][:_HELD]
            host, _, request = kept.request.partition(b"\0")
            end = request.find(b"\r\n\r\n") + 4
            endpoint = self._names.find(host.decode("utf-8", "replace"), request, 0, end)
            self._new[seq], self._running[seq] = endpoint, (endpoint, self._running[seq][1])
            if len(kept.request) > 2 * _HELD:
                kept.request = b""

    def _head(self, frame: Frame, record: ResponseBegun) -> None:
        if not self._is_running(frame.seq) or frame.flags & Flag.INTERIM:
            return
        begin = frame.head_length
        end = begin + record.head_size
        head = frame.payload[begin:end]
        manifold = self._names.is_manifold(self._running[frame.seq][0])
        if record.status >= 400 or manifold or b"json" in head or b"grpc" in head:
            kept = self._keep(frame.seq)
            kept.head, kept.body = head[:_HELD], bytearray()
            self._hold(frame.seq, kept, frame.payload[end:], 0)

    def _hold(self, seq: int, kept: _Kept, data: bytes, position: int) -> None:
        """Keep the beginning of a body, as far as it came in order and there is room."""
        body = kept.body
        if body is None or len(body) != position:
            return
        most = _HELD_GRAPHQL if self._names.is_manifold(self._running[seq][0]) else _HELD
        room = min(most - len(body), _HELD_IN_ALL - self._held)
        if room > 0:
            body += data[:room]
            self._held += min(room, len(data))

    def _done(self, frame: Frame, record: Done) -> None:
        seq = frame.seq
        one = self._running.pop(seq, None)
        if one is None:
            if self._is_known(seq):
                return  # the same end once more
            self._start(seq, 0, 0)
            one = self._running.pop(seq)
        endpoint, began = one
        kept = self._kept.pop(seq, None) if self._kept else None
        if kept is not None and kept.body:
            self._held -= len(kept.body)
        outcome = status = record.status if 0 < record.status < ERRONEOUS else 0
        message = None
        if record.state:
            outcome |= _STATES.get(record.state, 2) << _STATE
        if status >= 400 or outcome >> _STATE == 2:
            message = self._said(frame, record, kept, status) or record.error or record.error_code
        elif self._is_suspect(frame, record, kept, endpoint):
            message = self._said(frame, record, kept, status)
            outcome |= ERRONEOUS if message is not None else 0
        self._count(seq, endpoint, outcome, record.elapsed_ns, record.response_size)
        number = began // _MINUTE
        if number != self._minute:
            self._minute, self._in_minute = number, self._minutes.setdefault(number, [0, 0])
        self._in_minute[0] += 1
        if message is not None:
            self._in_minute[1] += 1
            self._problems.append((seq, endpoint, outcome, sound(message[:300])))

    def _is_suspect(self, frame: Frame, record: Done, kept: _Kept | None, endpoint: int) -> bool:
        """Return whether an answer of success is worth a closer look; this is asked of nearly each exchange."""
        manifold = self._manifold.get(endpoint)
        if manifold is None:
            manifold = self._names.is_manifold(endpoint)
        if not frame.flags & _HAS_RESPONSE:
            return manifold or (
                kept is not None and bool(kept.head) and _may_say_more(kept.head, bytes(kept.body or b""))
            )
        payload, begin = frame.payload, frame.head_length
        end = begin + record.head_size
        if not manifold and payload.find(b"json", begin, end) < 0:
            return payload.find(b"grpc", begin, end) >= 0
        stop = len(payload) if manifold else end + _BEGINNING
        if payload.find(b'"error', end, stop) >= 0 or payload.find(b"false", end, stop) >= 0:
            return True
        if payload.find(b"ontent-Encoding", begin, end) < 0 and payload.find(b"ontent-encoding", begin, end) < 0:
            return payload.find(b"grpc", begin, end) >= 0
        return manifold or _may_say_more(payload[begin:end], payload[end:])

    @staticmethod
    def _said(frame: Frame, record: Done, kept: _Kept | None, status: int) -> str | None:
        """Return in one line what an answer says that went wrong; None where it says nothing of the kind."""
        if frame.flags & _HAS_RESPONSE:
            end = frame.head_length + record.head_size
            head, body = frame.payload[frame.head_length : end], frame.payload[end:]
        elif kept is not None:
            head, body = kept.head, bytes(kept.body or b"")
        else:
            return None
        headers = fields(head)
        if b"ncoding" in head:
            body = _decoded(headers, body)
        if kept is not None and kept.trailers:
            headers = [*headers, *fields(kept.trailers, skip_first=False)]
        found = problem_of(status, headers, body)
        return None if found is None else found.message()

    def _count(self, seq: int, endpoint: int, outcome: int, elapsed_ns: int, size: int) -> None:
        ns = elapsed_ns if 0 <= elapsed_ns <= _MAX_INTEGER else _int(elapsed_ns)
        key = (endpoint << _OUTCOMES | outcome) << _BUCKETS | bucket_of(ns)
        found = self._counts.get(key)
        if found is None:
            self._counts[key] = [1, size, seq, ns, seq]
        else:
            found[0] += 1
            found[1] += size
            if ns > found[3]:
                found[3], found[4] = ns, seq
        if ns > self._bar:
            self._slowest.append((ns, seq, endpoint))
            if len(self._slowest) > SLOWEST:
                self._slowest.sort(key=lambda one: (-one[0], one[1]))
                self._slowest.pop()
                self._bar = self._slowest[-1][0]

    # -- writing ------------------------------------------------------------------------------------------------

    def write(self) -> None:
        """Put everything into the database."""
        db, nothing = self._db, _Kept()
        db.executemany("INSERT OR REPLACE INTO endpoint_of VALUES (?, ?)", sorted(self._new.items()))
        db.executemany(
            "INSERT INTO endpoint_counts VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
            " n = n + excluded.n, bytes = min(bytes + excluded.bytes, 4611686018427387904),"
            " first_seq = min(first_seq, excluded.first_seq),"
            " slowest_seq = iif(excluded.slowest_ns > slowest_ns, excluded.slowest_seq, slowest_seq),"
            " slowest_ns = max(slowest_ns, excluded.slowest_ns)",
            [
                (*_apart(key), n, min(size, 2**62), first, slowest_ns, slowest)
                for key, (n, size, first, slowest_ns, slowest) in sorted(self._counts.items())
            ],
        )
        db.executemany(
            "INSERT INTO endpoint_minutes VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET"
            " n = n + excluded.n, errors = errors + excluded.errors",
            [(minute, *counted) for minute, counted in self._minutes.items()],
        )
        db.executemany("INSERT OR REPLACE INTO problems VALUES (?, ?, ?, ?)", self._problems)
        db.execute("DELETE FROM endpoint_slowest")
        db.executemany(
            "INSERT OR REPLACE INTO endpoint_slowest VALUES (?, ?, ?)",
            [(seq, ns, endpoint) for ns, seq, endpoint in self._slowest],
        )
        db.executemany(
            "DELETE FROM unended WHERE seq = ?", [(seq,) for seq in self._stored if seq not in self._running]
        )
        db.executemany(
            "INSERT OR REPLACE INTO unended VALUES (?, ?, ?, ?, ?, ?, ?)",
            [
                (seq, endpoint, _int(wall_ns), kept.head, kept.body, kept.trailers, kept.request)
                for seq, (endpoint, wall_ns) in self._running.items()
                for kept in (self._kept.get(seq, nothing),)
            ],
        )
        db.executemany("INSERT OR REPLACE INTO endpoint_tops VALUES (?, ?)", self._tops.items())


def _apart(key: int) -> tuple[int, int, int]:
    """Return endpoint, outcome and bucket of a key of counts."""
    rest = key >> _BUCKETS
    return rest >> _OUTCOMES, rest & ((1 << _OUTCOMES) - 1), key & ((1 << _BUCKETS) - 1)


def _int(value: int) -> int:
    return min(max(value, 0), _MAX_INTEGER)


_OTHERS: Final = frozenset(
    {
        FrameType.OPENED,
        FrameType.DONE,
        FrameType.REQUEST_BODY,
        FrameType.RESPONSE_BODY,
        FrameType.RESPONSE_HEAD,
        FrameType.MESSAGE,
        FrameType.SENT,
    }
)
"""Kinds of frames that say that there was an exchange, also where their records mean nothing."""


def _may_say_more(head: bytes, body: bytes) -> bool:
    """Return whether an answer of success may say that something went wrong, once its content coding is taken off."""
    if b"grpc" in head:
        return True
    if b"json" not in head:
        return False
    if len(body) <= _CODED_SUSPECT and b"content-encoding" in head.lower():
        body = _decoded(fields(head), body)
    return may_be_problem(body)


def _decoded(headers: list[tuple[str, str]], body: bytes) -> bytes:
    """Return a body without its content codings, as far as it decodes and is looked at."""
    codings = content_codings(field_values(headers, "content-encoding"))
    if not codings:
        return body
    pieces = bytearray()
    try:
        for piece in decode([body], codings, limit=_HELD_GRAPHQL):
            pieces += piece
    except ContentError:
        pass  # it was cut here, or is broken: its beginning is enough
    return bytes(pieces)
