"""Single exchanges by their seq: from the index where they lie, from the log what they are."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from wiretape.errors import DamagedError, NotFoundError
from wiretape.log.assembly import LEFT_OUT, REQUEST, RESPONSE, ExchangeTape, LogFrames, Pieces, Place, Side
from wiretape.log.format import FrameType, TlsSeen
from wiretape.model import ExchangeDetail
from wiretape.session.detail import certificates, exchange_detail, handshake
from wiretape.session.fingerprints import fingerprints
from wiretape.session.index.database import Index
from wiretape.session.index.exchanges import EXCHANGE_COLUMNS
from wiretape.session.messages import MessageLog, RecordedMessage
from wiretape.session.query.coverage import Reach

_SELECT: Final = (
    f"SELECT {', '.join(f'e.{name}' for name in EXCHANGE_COLUMNS)}, o.name, d.name FROM exchanges AS e "  # noqa: S608
    "LEFT JOIN segments AS o ON o.id = e.opened_in LEFT JOIN segments AS d ON d.id = e.done_in WHERE e.seq"
)
_EXCHANGE: Final = f"{_SELECT} = ?"
_EXCHANGES: Final = f"{_SELECT} IN (SELECT value FROM json_each(?))"  # noqa: S608 - constants
_IN_PIECES: Final = "SELECT DISTINCT seq FROM pieces WHERE seq IN (SELECT value FROM json_each(?))"
_PLACES: Final = (
    "SELECT s.name, p.offset, p.kind, p.position FROM pieces AS p JOIN segments AS s ON s.id = p.segment "
    "WHERE p.seq = ? ORDER BY p.position, s.stream, s.number, p.offset"
)
_HANDSHAKE: Final = (
    "SELECT s.name, h.offset FROM handshakes AS h JOIN segments AS s ON s.id = h.segment"
    " WHERE h.run = ? AND h.connection = ? AND h.side = ? ORDER BY s.number DESC, h.offset DESC LIMIT 1"
)


MAX_MESSAGE: Final = 16 * 1024 * 1024
_FRAMES: Final = 1_000
"""Frames other than body that are looked at of one exchange; a recorder writes a handful."""
_BODIES: Final = {int(FrameType.REQUEST_BODY): REQUEST, int(FrameType.RESPONSE_BODY): RESPONSE}


class _Pieces:
    """Where the frames of an exchange stand that are neither its first nor its last, in bounded memory."""

    def __init__(self, db: sqlite3.Connection, seq: int) -> None:
        self.places: list[Place] = []
        self.bodies = {side: Pieces(kind) for kind, side in _BODIES.items()}
        self.left_out = False
        for name, offset, kind, position in db.execute(_PLACES, (seq,)):
            if kind in _BODIES:
                self.left_out |= not self.bodies[_BODIES[kind]].put(position, name, offset)
            elif len(self.places) < _FRAMES:
                self.places.append(Place(name, offset, kind))
            else:
                self.left_out = True


Handshakes = dict[tuple[int, int, str], dict[str, Any] | None]
"""Handshakes by run, connection and side, as JSON types; None where there is none."""


class Lookup:
    """Finds exchanges of one session; its index has been followed."""

    def __init__(self, index: Index, session_id: str) -> None:
        self._index = index
        self._session_id = session_id
        self._frames = LogFrames(index.log_dir)
        self._messages = MessageLog(index)

    def find(self, seq: int) -> tuple[dict[str, Any], ExchangeTape] | None:
        """Return an exchange's row of the index and its frames; None when the index knows none."""
        found = self._index.one(_EXCHANGE, (seq,)) if 0 < seq < 2**53 else None
        return None if found is None else self._made(seq, found, self._index.run(lambda db: _Pieces(db, seq)))

    def _made(self, seq: int, found: tuple[Any, ...], pieces: _Pieces | None) -> tuple[dict[str, Any], ExchangeTape]:
        *values, opened_in, done_in = found
        row = dict(zip(EXCHANGE_COLUMNS, values, strict=True))
        places = pieces.places if pieces is not None else []
        if done_in is not None:
            places.insert(0, Place(done_in, row["done_at"], FrameType.DONE))
        if opened_in is not None:
            places.insert(0, Place(opened_in, row["opened_at"], FrameType.OPENED))
        tape = ExchangeTape(self._frames, seq, places, pieces.bodies if pieces is not None else None)
        tape.messages = row["client_messages"] + row["server_messages"]
        if pieces is not None and pieces.left_out:
            tape.notes.append(LEFT_OUT)
        return row, tape

    def several(self, seqs: Sequence[int]) -> Iterator[tuple[dict[str, Any], ExchangeTape] | None]:
        """Yield for each number what ``find`` returns, in their order; the index is read once for all of them."""
        encoded = (msgspec.json.encode(seqs).decode(),)
        rows = {row[0]: row for row in self._index.rows(_EXCHANGES, encoded)}
        in_pieces = {row[0] for row in self._index.rows(_IN_PIECES, encoded)}
        for seq in seqs:
            row = rows.get(seq)
            yield self.find(seq) if row is None or seq in in_pieces else self._made(seq, row, None)

    def messages(self, seq: int, side: Side) -> Iterator[RecordedMessage]:
        """Return the messages that one side of an upgraded connection sent, each up to ``MAX_MESSAGE`` bytes."""
        return self._messages.each(seq, side, most=MAX_MESSAGE)

    def detail(
        self, row: dict[str, Any], tape: ExchangeTape, max_body: int, known: Handshakes | None = None
    ) -> ExchangeDetail:
        """Return an exchange whole, with at most ``max_body`` bytes of each body.

        ``known`` keeps handshakes for the exchanges that are asked for next.
        """
        tls = self._tls(row, {} if known is None else known)
        return exchange_detail(self._session_id, tape, row, tls, max_body=max_body)

    def missing(self, seq: int, reach: Reach) -> NotFoundError:
        """Return the error that says why there is no such exchange."""
        if seq in reach.log.partial:
            why = "passed while the log could not be written"
        elif 0 < seq <= reach.through_seq:
            why = "is lost to damage" if reach.log.lost_exchanges else "is not in the log"
        elif reach.unread:
            why = f"is not in the index, which is still being made: it goes to {reach.through_seq} so far"
        else:
            why = f"does not exist: the log goes to {reach.through_seq}"
        return NotFoundError(
            f"Exchange {seq} of session {self._session_id} {why}", hint="`wiretape query` lists what there is"
        )

    def _tls(self, row: dict[str, Any], known: Handshakes) -> dict[str, Any] | None:
        found: dict[str, Any] = {}
        for side, connection in (("client", row["connection"]), ("server", row["upstream"])):
            if not connection:
                continue
            key = (row["run"], connection, side)
            if key not in known:
                known[key] = self._handshake(key)
            one = known[key]
            if one is not None:
                found[side] = dict(one)
        return found or None

    def _handshake(self, key: tuple[int, int, str]) -> dict[str, Any] | None:
        place = self._index.one(_HANDSHAKE, key)
        if place is None:
            return None
        with contextlib.suppress(DamagedError):
            frame = self._frames.frame(Place(place[0], place[1], FrameType.TLS))
            record = frame.record()
            if isinstance(record, TlsSeen):
                found = handshake(record)
                prints = fingerprints(record, frame.data)
                found |= {name: value for name, value in prints.short().items() if value is not None}
                if record.certificates:
                    found["certificates"] = certificates(bytes(frame.data))
                return found
        return None
