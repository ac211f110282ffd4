"""Messages of upgraded and streaming exchanges that have frames of their own: WebSocket's, as a rule."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import groupby, islice
from typing import Final, NamedTuple

from wiretape.errors import DamagedError
from wiretape.log.assembly import RESPONSE, LogFrames, Place, Side
from wiretape.log.format import FrameType
from wiretape.session.index.database import Index

MOST: Final = 1024 * 1024
"""Bytes of one message that are read; the size says how long it is."""
_FIRST: Final = (
    "SELECT side, number, opcode, event, size, elapsed FROM messages WHERE seq = ? AND position = ("
    "SELECT min(position) FROM messages AS m WHERE m.seq = messages.seq AND m.side = messages.side"
    " AND m.number = messages.number) ORDER BY elapsed, side, number LIMIT ? OFFSET ?"
)
_FRAMES: Final = (
    "SELECT s.name, m.offset, m.position, m.bytes, m.last FROM messages AS m JOIN segments AS s ON s.id = m.segment"
    " WHERE m.seq = ? AND m.side = ? AND m.number = ? ORDER BY m.position"
)
_EACH: Final = (
    "SELECT m.side, m.number, m.opcode, m.event, m.size, m.elapsed, s.name, m.offset, m.position, m.bytes, m.last"
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
_MOST_FRAMES: Final = 1_000
_ROOM: Final = 8 * 1024 * 1024

_Part = tuple[str, int, int, int, int]
"""A frame of a message: segment, offset, position in the message, bytes, whether it ends it."""


class RecordedMessage(NamedTuple):
    """One message.

    Attributes:
        from_server: whose it is.
        number: of that side's messages, from 1.
        opcode: WebSocket's; 0 elsewhere.
        event: type of a server-sent event, empty elsewhere.
        size: bytes of the whole message; -1 where nobody knows.
        elapsed_ns: when it came, from the exchange's beginning.
        data: its bytes, as many as were asked for at most.
        missing: what is not in ``data`` besides its end, in a sentence; empty where nothing is.
    """

    from_server: bool
    number: int
    opcode: int
    event: str
    size: int
    elapsed_ns: int
    data: bytes
    missing: str

    @property
    def whole(self) -> bool:
        """Return whether ``data`` is all of it."""
        return not self.missing and len(self.data) >= self.size


class MessageLog:
    """Reads messages of one session; its index has been followed."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._frames = LogFrames(index.log_dir)

    def of(self, seq: int, *, skip: int = 0, most: int = 1_000) -> list[RecordedMessage]:
        """Return messages of one exchange in the order in which they came.

        Args:
            seq: the exchange.
            skip: messages to leave out first.
            most: messages to return at most; fewer where they are long.
        """
        found: list[RecordedMessage] = []
        room = _ROOM
        rows = self._index.run(lambda db: db.execute(_FIRST, (seq, most, skip)).fetchall())
        for side, number, opcode, event, size, elapsed in rows:
            frames = self._index.run(partial(_frames_of, seq=seq, side=side, number=number))
            data, whole, missing = self._read(frames, MOST)
            length = size if size >= 0 else whole
            found.append(RecordedMessage(bool(side), number, opcode, event, length, elapsed, data, missing))
            room -= len(data)
            if room <= 0:
                break
        return found

    def each(self, seq: int, side: Side, *, most: int = MOST) -> Iterator[RecordedMessage]:
        """Yield the messages that one side of an exchange sent, in their order, however many there are.

        Args:
            seq: the exchange.
            side: ``request`` gives the client's, ``response`` the server's.
            most: bytes of each that are read.
        """
        from_server = side == RESPONSE
        for (number, opcode, event, size, elapsed), parts in groupby(self._parts(seq, from_server), lambda one: one[0]):
            data, whole, missing = self._read([part for _, part in islice(parts, _MOST_FRAMES)], most)
            length = size if size >= 0 else whole
            yield RecordedMessage(from_server, number, opcode, event, length, elapsed, data, missing)

    def _parts(self, seq: int, from_server: bool) -> Iterator[tuple[tuple[int, int, str, int, int], _Part]]:
        """Yield the frames of messages, each with what its message's first one says; equal ones belong together."""
        number, position = -2, -2
        message = (-2, 0, "", 0, 0)
        while rows := self._index.rows(_EACH, (seq, int(from_server), number, position, _PAGE)):
            for _, number, opcode, event, size, elapsed, name, offset, position, count, last in rows:
                if number != message[0]:
                    message = (number, opcode, event, size, elapsed)
                yield message, (name, offset, position, count, last)

    def _read(self, frames: Iterable[_Part], most: int) -> tuple[bytes, int, str]:
        """Return a message's bytes as far as they are read, its size as far as known, and what is missing."""
        data, at, missing, ended = bytearray(), 0, "", False
        for name, offset, position, size, last in frames:
            if position > at:
                missing = missing or f"Its bytes {at} to {position} are lost to damage."
            at, ended = max(at, position + size), bool(last)
            if missing or len(data) >= most:
                continue
            try:
                frame = self._frames.frame(Place(name, offset, FrameType.MESSAGE))
            except DamagedError as error:
                missing = f"{error.message}."
                continue
            data += frame.data[: most - len(data)]
        return bytes(data), at if ended else -1, missing or ("" if ended else "Its end is not recorded.")

    def between(self, first: int, last: int) -> list[int]:
        """Return the exchanges from ``first`` to ``last`` that have messages with frames of their own."""
        return self._index.run(lambda db: _numbers(db, _BETWEEN, (first, last)))

    def streams(self, start: int) -> list[int]:
        """Return the exchanges from ``start`` on that have messages or are streams of them, by their content type."""
        return self._index.run(lambda db: _numbers(db, _STREAMS, (start, start)))

    def silent(self) -> list[int]:
        """Return upgraded exchanges of which no message is recorded, the first hundred."""
        return self._index.run(lambda db: _numbers(db, _SILENT, (_SILENT_MOST,)))


def _frames_of(db: sqlite3.Connection, *, seq: int, side: int, number: int) -> list[_Part]:
    return db.execute(_FRAMES, (seq, side, number)).fetchmany(_MOST_FRAMES)


def _numbers(db: sqlite3.Connection, query: str, values: tuple[int, ...]) -> list[int]:
    return [seq for (seq,) in db.execute(query, values)]
