"""Messages of upgraded and streaming exchanges that have frames of their own: WebSocket's, as a rule."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator
from heapq import merge
from itertools import groupby
from typing import Final, NamedTuple

from wiretape.errors import DamagedError
from wiretape.heads import field_values, fields
from wiretape.log.assembly import REQUEST, RESPONSE, LogFrames, Place, Side
from wiretape.log.format import FrameType
from wiretape.session.content import as_text
from wiretape.session.index.database import Index
from wiretape.wire.permessage_deflate import InflateError, Inflater, agreed_compression
from wiretape.wire.websocket import COMPRESSED

MOST: Final = 1024 * 1024
"""Bytes of one message that are read; the size says how long it is."""
_EACH: Final = (
    "SELECT m.number, m.opcode, m.event, m.size, m.elapsed, m.reserved,"
    " s.name, m.offset, m.position, m.bytes, m.last, m.fault"
    " FROM messages AS m JOIN segments AS s ON s.id = m.segment"
    " WHERE m.seq = ? AND m.side = ? AND (m.number, m.position) > (?, ?) ORDER BY m.number, m.position LIMIT ?"
)
_PAGE: Final = 5_000
_BETWEEN: Final = (
    # From each exchange to the next: those in between have any number of messages.
    "WITH RECURSIVE found (seq) AS (SELECT min(seq) FROM messages WHERE seq >= ?1 UNION ALL"
    " SELECT (SELECT min(seq) FROM messages WHERE seq > found.seq) FROM found WHERE found.seq < ?2)"
    " SELECT seq FROM found WHERE seq BETWEEN ?1 AND ?2"
)
_STREAMS: Final = (
    "SELECT seq FROM exchanges WHERE seq >= ? AND (content_type LIKE 'text/event-stream%'"
    " OR content_type LIKE 'application/grpc%') UNION SELECT DISTINCT seq FROM messages WHERE seq >= ? ORDER BY seq"
)
_SILENT: Final = (
    "SELECT seq FROM exchanges WHERE status = 101 AND seq NOT IN (SELECT seq FROM messages) ORDER BY seq LIMIT ?"
)
_SILENT_MOST: Final = 100
_HEADS: Final = (
    "SELECT s.name, p.offset FROM pieces AS p JOIN segments AS s ON s.id = p.segment"
    " WHERE p.seq = ? AND p.kind = ? ORDER BY s.stream, s.number, p.offset LIMIT 100"
)
_MAX_POSITION: Final = 2**63 - 1
_SIDES: Final[tuple[Side, Side]] = (REQUEST, RESPONSE)
_TEXT: Final = 1
_NOT_UTF8: Final = "its text is not UTF-8 (RFC 6455 section 8.1)"

_Part = tuple[str, int, int, int, int, str]
"""A frame of a message: segment, offset, position in the message, bytes, whether it ends it, what was wrong with it."""
_First = tuple[int, int, str, int, int, int]
"""What a message's first frame says: number, opcode, event, size, elapsed, reserved bits."""


class RecordedMessage(NamedTuple):
    """One message.

    Attributes:
        from_server: whose it is.
        number: of that side's messages, from 1.
        opcode: WebSocket's; 0 elsewhere.
        event: type of a server-sent event, empty elsewhere.
        size: bytes of the whole message, inflated; -1 where nobody knows.
        elapsed_ns: when it came, from the exchange's beginning.
        data: its bytes, inflated, as many as were asked for at most.
        missing: what is not in ``data`` besides its end, in a sentence; empty where nothing is.
        fault: what is wrong with it, in a sentence; empty where nothing is.
        packed: bytes that it had on the wire where it was compressed, else -1.
        lost_before: messages of that side that should stand before it, and are not in the log.
    """

    from_server: bool
    number: int
    opcode: int
    event: str
    size: int
    elapsed_ns: int
    data: bytes
    missing: str
    fault: str = ""
    packed: int = -1
    lost_before: int = 0

    @property
    def whole(self) -> bool:
        """Return whether ``data`` is all of it."""
        return not self.missing and len(self.data) >= self.size


class MessageLog:
    """Reads messages of one session; its index has been followed."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._frames = LogFrames(index.log_dir)

    def of(self, seq: int, *, after: tuple[int, int] = (0, 0), most: int = MOST) -> Iterator[RecordedMessage]:
        """Yield the messages of one exchange in the order in which they came, however many there are.

        Args:
            seq: the exchange.
            after: the numbers, of the client's and of the server's messages, behind which to begin.
            most: bytes of each that are read.
        """
        sides = (self.each(seq, side, most=most, after=number) for side, number in zip(_SIDES, after, strict=True))
        yield from merge(*sides, key=lambda one: one.elapsed_ns)

    def each(self, seq: int, side: Side, *, most: int = MOST, after: int = 0) -> Iterator[RecordedMessage]:
        """Yield the messages that one side of an exchange sent, in their order, however many there are.

        Args:
            seq: the exchange.
            side: ``request`` gives the client's, ``response`` the server's.
            most: bytes of each that are read.
            after: the number behind which to begin.
        """
        from_server = side == RESPONSE
        inflater = self._inflater(seq, from_server) if after else None
        # What is compressed refers to the messages before it.
        start = 0 if inflater is not None and not inflater.fresh else after
        before = start
        for first, parts in groupby(self._parts(seq, from_server, start), lambda one: one[0]):
            number, opcode, event, size, elapsed, reserved = first
            if reserved & COMPRESSED and inflater is None:
                inflater = self._inflater(seq, from_server)
            reading = _Reading(self._frames, most)
            packed = reserved & COMPRESSED and inflater is not None
            reading.read((part for _, part in parts), inflater if packed else None)
            lost, before = number - before - 1, number
            if number > after:
                yield reading.message(from_server, number, opcode, event, size, elapsed, max(0, lost))

    def _inflater(self, seq: int, from_server: bool) -> Inflater | None:
        """Return what inflates the messages of a side; None where client and server did not agree on compression."""
        for name, offset in self._index.rows(_HEADS, (seq, int(FrameType.RESPONSE_HEAD))):
            with contextlib.suppress(DamagedError):
                frame = self._frames.frame(Place(name, offset, FrameType.RESPONSE_HEAD))
                agreed = agreed_compression(field_values(fields(bytes(frame.data)), "sec-websocket-extensions"))
                if agreed is not None:
                    return Inflater(fresh=agreed.server_fresh if from_server else agreed.client_fresh)
        return None

    def _parts(self, seq: int, from_server: bool, after: int) -> Iterator[tuple[_First, _Part]]:
        """Yield the frames of messages, each with what its message's first one says; equal ones belong together."""
        number, position = after, _MAX_POSITION
        first: _First = (-2, 0, "", 0, 0, 0)
        while rows := self._index.rows(_EACH, (seq, int(from_server), number, position, _PAGE)):
            for number, opcode, event, size, elapsed, reserved, *part in rows:
                if number != first[0]:
                    first = (number, opcode, event, size, elapsed, reserved)
                position = part[2]
                yield first, tuple(part)

    def between(self, first: int, last: int) -> list[int]:
        """Return the exchanges from ``first`` to ``last`` that have messages with frames of their own."""
        return self._index.run(lambda db: _numbers(db, _BETWEEN, (first, last)))

    def streams(self, start: int) -> list[int]:
        """Return the exchanges from ``start`` on that have messages or are streams of them, by their content type."""
        return self._index.run(lambda db: _numbers(db, _STREAMS, (start, start)))

    def silent(self) -> list[int]:
        """Return upgraded exchanges of which no message is recorded, the first hundred."""
        return self._index.run(lambda db: _numbers(db, _SILENT, (_SILENT_MOST,)))


class _Reading:
    """One message, read from its frames."""

    def __init__(self, frames: LogFrames, most: int) -> None:
        self._frames = frames
        self._most = most
        self._data = bytearray()
        self._missing = ""
        self._faults: list[str] = []
        self._ended = False
        self._sent = 0  # bytes on the wire, as far as there are any
        self._inflated = 0
        self._packed = False

    def read(self, parts: Iterable[_Part], inflater: Inflater | None) -> None:
        """Read its frames; those behind what is wanted only where they have to be inflated."""
        self._packed = inflater is not None
        for name, offset, position, size, last, fault in parts:
            if fault and fault not in self._faults:
                self._faults.append(fault)
            if position > self._sent:
                self._missing = self._missing or f"Its bytes {self._sent} to {position} are lost to damage."
            self._sent, self._ended = max(self._sent, position + size), bool(last)
            if self._missing or (inflater is None and len(self._data) >= self._most):
                continue
            try:
                frame = self._frames.frame(Place(name, offset, FrameType.MESSAGE))
            except DamagedError as error:
                self._missing = f"{error.message}."
                continue
            if inflater is None:
                self._data += frame.data[: self._most - len(self._data)]
            else:
                self._inflate(inflater, bytes(frame.data))
        if not self._ended:
            self._missing = self._missing or "Its end is not recorded."
        if inflater is not None:
            self._finish(inflater)

    def _inflate(self, inflater: Inflater, data: bytes | None) -> None:
        try:
            for piece in inflater.feed(data) if data is not None else inflater.finish():
                self._inflated += len(piece)
                self._data += piece[: self._most - len(self._data)]
        except InflateError as error:
            self._missing = f"It is compressed, and {error}."

    def _finish(self, inflater: Inflater) -> None:
        if not self._missing:
            self._inflate(inflater, None)
        if self._missing:
            inflater.lose(self._missing)
        inflater.next()

    def message(
        self, from_server: bool, number: int, opcode: int, event: str, size: int, elapsed: int, lost: int
    ) -> RecordedMessage:
        """Return it."""
        if size < 0 and self._ended:
            size = self._sent
        shown = size
        if self._packed:
            shown = -1 if self._missing else self._inflated
        data = bytes(self._data)
        whole = not self._missing and len(data) >= shown
        if opcode == _TEXT and as_text(data, None, cut=not whole) is None:
            self._faults.append(_NOT_UTF8)
        fault = "; ".join(self._faults)
        packed = max(size, self._sent) if self._packed else -1
        return RecordedMessage(
            from_server, number, opcode, event, shown, elapsed, data, self._missing, fault, packed, lost
        )


def _numbers(db: sqlite3.Connection, query: str, values: tuple[int, ...]) -> list[int]:
    return [seq for (seq,) in db.execute(query, values)]
