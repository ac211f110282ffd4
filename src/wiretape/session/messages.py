"""Messages of upgraded and streaming exchanges that have frames of their own: WebSocket's, as a rule."""

from __future__ import annotations

import sqlite3
from functools import partial
from typing import Final, NamedTuple

from wiretape.errors import DamagedError
from wiretape.log.assembly import LogFrames, Place
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


class RecordedMessage(NamedTuple):
    """One message.

    Attributes:
        from_server: whose it is.
        number: of that side's messages, from 1.
        opcode: WebSocket's; 0 elsewhere.
        event: type of a server-sent event, empty elsewhere.
        size: bytes of the whole message; -1 where nobody knows.
        elapsed_ns: when it came, from the exchange's beginning.
        data: its bytes, MOST at most.
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
            data, whole, missing = self._read(frames)
            length = size if size >= 0 else whole
            found.append(RecordedMessage(bool(side), number, opcode, event, length, elapsed, data, missing))
            room -= len(data)
            if room <= 0:
                break
        return found

    def _read(self, frames: list[tuple[str, int, int, int, int]]) -> tuple[bytes, int, str]:
        """Return a message's bytes as far as they are read, its size as far as known, and what is missing."""
        data, at, missing = bytearray(), 0, ""
        for name, offset, position, size, _ in frames:
            if position > at:
                missing = missing or f"Its bytes {at} to {position} are lost to damage."
            at = max(at, position + size)
            if missing or len(data) >= MOST:
                continue
            try:
                frame = self._frames.frame(Place(name, offset, FrameType.MESSAGE))
            except DamagedError as error:
                missing = f"{error.message}."
                continue
            data += frame.data[: MOST - len(data)]
        ended = bool(frames and frames[-1][4])
        return bytes(data), at if ended else -1, missing or ("" if ended else "Its end is not recorded.")

    def streams(self, start: int) -> list[int]:
        """Return the exchanges from ``start`` on that have messages or are streams of them, by their content type."""
        return self._index.run(lambda db: _numbers(db, _STREAMS, (start, start)))

    def silent(self) -> list[int]:
        """Return upgraded exchanges of which no message is recorded, the first hundred."""
        return self._index.run(lambda db: _numbers(db, _SILENT, (_SILENT_MOST,)))


def _frames_of(db: sqlite3.Connection, *, seq: int, side: int, number: int) -> list[tuple[str, int, int, int, int]]:
    return db.execute(_FRAMES, (seq, side, number)).fetchmany(_MOST_FRAMES)


def _numbers(db: sqlite3.Connection, query: str, values: tuple[int, ...]) -> list[int]:
    return [seq for (seq,) in db.execute(query, values)]
