"""The frames of one stream gathered to exchanges as they are read, in bounded memory.

What is held of an exchange is where its frames stand; the frames with heads themselves only as far as there is room for
all that run at once. An exchange is ready when its end is read. One that damage touched waits until its recorder's run
is over: after a failed sync frames are written again, and a copy may make it whole.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Final

from wiretape.errors import DamagedError
from wiretape.log.assembly import LEFT_OUT, MAX_PIECES, REQUEST, RESPONSE, ExchangeTape, LogFrames, Pieces, Place, Side
from wiretape.log.format import BodyChunk, Done, Flag, FrameType, Opened, ResponseBegun
from wiretape.log.items import Damage, Frame

_ROOM: Final = 8 * 1024 * 1024
"""Bytes of frames that are held; those beyond are read again when their exchange ends."""
_OBJECT: Final = 300
"""Bytes that holding a frame takes beside its own."""
_RUNNING: Final = 20_000
"""Exchanges followed at once; of more, the oldest are given as they are."""
_WAITING: Final = 5_000
"""Damaged exchanges that wait for copies at once; likewise."""
_FRAMES: Final = 1_000
"""Frames other than body that are kept of one exchange; a recorder writes a handful."""
_PLACES: Final = 100_000
"""Frames other than body that are kept of all exchanges."""
_PIECES: Final = MAX_PIECES
"""Frames of bodies that are kept of all exchanges."""
_NOTES: Final = 100
"""Sentences about one exchange; and about all at once:"""
_SENTENCES: Final = 20_000
_AND_MORE: Final = "More of it is damaged than is told here."
_KINDS: Final = frozenset(map(int, FrameType))


class _Running:
    """An exchange whose frames are still coming."""

    __slots__ = ("done", "frames", "messages", "notes", "opened", "pieces", "seq")

    def __init__(self, seq: int) -> None:
        self.seq = seq
        self.frames: list[Place | Frame] = []
        self.pieces: dict[Side, Pieces] = {}
        self.notes: list[str] = []
        self.messages = 0
        self.opened = False
        self.done: Done | None = None

    def body(self, side: Side) -> Pieces:
        """Give the places of a body."""
        found = self.pieces.get(side)
        if found is None:
            kind = FrameType.REQUEST_BODY if side == REQUEST else FrameType.RESPONSE_BODY
            found = self.pieces[side] = Pieces(kind)
        return found

    def whole(self) -> bool:
        """Tell whether everything that was recorded of it is there."""
        done = self.done
        if done is None or not self.opened or self.notes:
            return False
        return self._seen(REQUEST) >= done.request_recorded and self._seen(RESPONSE) >= done.response_recorded

    def _seen(self, side: Side) -> int:
        return self.pieces[side].seen if side in self.pieces else 0


class Gatherer:
    """Takes the frames of one stream in their order; gives exchanges."""

    def __init__(self, log: LogFrames) -> None:
        """Begin.

        Args:
            log: where frames that are not held are read from.
        """
        self._log = log
        self._running: OrderedDict[int, _Running] = OrderedDict()
        self._waiting: OrderedDict[int, _Running] = OrderedDict()
        self._damaged: OrderedDict[int, list[str]] = OrderedDict()
        self._room = _ROOM
        self._places = _PLACES
        self._pieces = _PIECES
        self._sentences = _SENTENCES

    def follows(self, seq: int) -> bool:
        """Tell whether the exchange was begun and not yet given."""
        return seq in self._running or seq in self._waiting

    def take(self, frame: Frame) -> ExchangeTape | None:
        """Take one frame of an exchange; gives an exchange that is ready, if one is."""
        seq = frame.seq
        running = self._running.get(seq) or self._waiting.get(seq)
        given = None
        if running is None:
            if len(self._running) >= _RUNNING:
                given = self._give_up(self._running, "more exchanges were running at once than can be followed")
            running = self._running[seq] = _Running(seq)
            running.notes = self._damaged.pop(seq, [])
        try:
            self._add(running, frame)
        except DamagedError as error:
            self._note(running.notes, error.message)
        if running.done is None or seq in self._waiting:
            return given
        del self._running[seq]
        if running.whole():
            return self._finish(running)
        if len(self._waiting) >= _WAITING:
            given = self._give_up(self._waiting, "")
        self._let_go(running)
        self._waiting[seq] = running
        return given

    def take_damage(self, damage: Damage) -> None:
        """Note that frames of exchanges are damaged."""
        what = FrameType(damage.kind).name if damage.kind in _KINDS else "next"
        where = f"{damage.segment}, {damage.length} bytes at {damage.offset} ({damage.reason})"
        for seq in damage.seqs_hint:
            running = self._running.get(seq) or self._waiting.get(seq)
            notes = running.notes if running is not None else self._damaged.setdefault(seq, [])
            self._note(notes, f"Its {what} frame is damaged: {where}.")
        while len(self._damaged) > _WAITING:
            self._forget(self._damaged.popitem(last=False)[1])

    def _note(self, notes: list[str], sentence: str) -> None:
        """Say something about an exchange, once."""
        if sentence in notes or _AND_MORE in notes:
            return
        if len(notes) < _NOTES and self._sentences > 0:
            self._sentences -= 1
            notes.append(sentence)
        else:
            notes.append(_AND_MORE)

    def _forget(self, notes: list[str]) -> None:
        self._sentences += sum(1 for sentence in notes if sentence is not _AND_MORE)

    def end_run(self) -> Iterator[ExchangeTape]:
        """Give what is left, by ``seq``: its recorder is gone."""
        left = {**self._running, **self._waiting}
        for notes in self._damaged.values():
            self._forget(notes)
        for pool in (self._running, self._waiting, self._damaged):
            pool.clear()
        for seq in sorted(left):
            yield self._finish(left.pop(seq))

    def _add(self, running: _Running, frame: Frame) -> None:
        kind = frame.kind
        if kind == FrameType.MESSAGE:
            running.messages += 1
            return
        record = frame.record()
        if isinstance(record, BodyChunk):
            if record.position < 0:
                raise DamagedError(
                    f"{frame.segment} at {frame.offset}: a body position of {record.position} is impossible"
                )
            side = REQUEST if kind == FrameType.REQUEST_BODY else RESPONSE
            if self._pieces <= 0 or not running.body(side).add(record.position, len(frame.data), frame):
                self._note(running.notes, LEFT_OUT)
            elif frame.data:
                self._pieces -= 1
            return
        if isinstance(record, Opened):
            running.opened = True
            running.body(REQUEST).count(0, len(frame.data) - record.head_size)
        elif isinstance(record, ResponseBegun) and not frame.flags & Flag.INTERIM:
            running.body(RESPONSE).count(0, len(frame.data) - record.head_size)
        elif isinstance(record, Done):
            running.done = running.done or record
            if frame.flags & Flag.HAS_RESPONSE:
                running.body(RESPONSE).count(0, len(frame.data) - record.head_size)
        self._keep(running, frame)

    def _keep(self, running: _Running, frame: Frame) -> None:
        if len(running.frames) >= _FRAMES or self._places <= 0:
            self._note(running.notes, LEFT_OUT)
            return
        self._places -= 1
        if frame.size + _OBJECT <= self._room:
            self._room -= frame.size + _OBJECT
            running.frames.append(frame)
        else:
            running.frames.append(_place(frame))

    def _let_go(self, running: _Running) -> None:
        """Hold places instead of frames."""
        self._room += _taken(running)
        running.frames = [_place(frame) for frame in running.frames]

    def _give_up(self, pool: OrderedDict[int, _Running], why: str) -> ExchangeTape:
        running = pool.popitem(last=False)[1]
        if why:
            self._note(running.notes, f"What follows of it is left out: {why}.")
        return self._finish(running)

    def _finish(self, running: _Running) -> ExchangeTape:
        self._room += _taken(running)
        self._places += len(running.frames)
        self._pieces += sum(map(len, running.pieces.values()))
        self._forget(running.notes)
        bodies = {side: running.body(side) for side in (REQUEST, RESPONSE)}
        tape = ExchangeTape(self._log, running.seq, running.frames, bodies)
        tape.messages = running.messages
        tape.notes[:0] = running.notes
        return tape


def _taken(running: _Running) -> int:
    return sum(frame.size + _OBJECT for frame in running.frames if isinstance(frame, Frame))


def _place(frame: Place | Frame) -> Place:
    return frame if isinstance(frame, Place) else Place(frame.segment, frame.offset, frame.kind)
