"""Frames put together to exchanges, and the one count of a body's bytes.

Bodies are not held: their frames are known by where they stand and read one by one, so a body of any size costs some
bytes for each of its pieces. An exchange is made of frames whose places are known (an index has them), or of the frames
of a stream as they are read (``Assembler``): what is held of it then is where its frames stand; the frames with heads
themselves only as far as there is room for all that run at once. It is ready when its end is read. One that damage
touched waits until its recorder's run is over: after a failed sync frames are written again, and a copy may make it
whole.
"""

from __future__ import annotations

from array import array
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from wiretape.errors import DamagedError
from wiretape.log import acts
from wiretape.log.files import REAL, Files
from wiretape.log.format import BodyChunk, Done, Flag, FrameType, Opened, Record, ResponseBegun, SentOn
from wiretape.log.items import Damage, Frame, sound_record
from wiretape.log.scan import frame_in, read_block, read_frame, segment_info
from wiretape.log.store import healed_names, segment_path

Side = str
REQUEST: Final = "request"
RESPONSE: Final = "response"
"""What the client sent, and what it got."""
SENT_REQUEST: Final = "sent request"
RECEIVED_RESPONSE: Final = "received response"
"""What went to the server, and what came from it: the same as the client's side where no rule changed it."""


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
_NOTES: Final = 100
"""Sentences about one exchange; and about all at once:"""
_SENTENCES: Final = 20_000
_AND_MORE: Final = "More of it is damaged than is told here."
_KINDS: Final = frozenset(map(int, FrameType))


class Place(NamedTuple):
    """Where a frame stands."""

    segment: str
    offset: int
    kind: int


_NEAR: Final = 1024 * 1024
"""Bytes within which the next frame has to lie for a block to be read with it: who goes through a log reads it once."""
_BLOCK: Final = 512 * 1024


class LogFrames:
    """Random access to the frames of a log; remembers where segments are and their salts, and the block read last."""

    def __init__(self, log_dir: Path, files: Files = REAL) -> None:
        self._dir = log_dir
        self._files = files
        self._segments: dict[str, tuple[Path, int]] = {}
        self._healed = healed_names(log_dir, files)
        self._block = ("", 0, b"")
        self._last = ("", 0)

    def frame(self, place: Place) -> Frame:
        """Read one frame.

        Raises:
            DamagedError: it does not check. NotFoundError, StorageError: the segment is gone or unreadable.
        """
        known = self._segments.get(place.segment)
        if known is None:
            path = segment_path(self._dir, place.segment, self._healed)
            salt = segment_info(path, self._files).salt
            if salt is None:
                raise DamagedError(f"{place.segment} has no sound frame", hint="run `wiretape verify` on the session")
            known = self._segments[place.segment] = (path, salt)
        path, salt = known
        return self._nearby(path, place, salt) or read_frame(path, place.offset, salt, self._files)

    def _nearby(self, path: Path, place: Place, salt: int) -> Frame | None:
        """Return a frame from a block, where the one before lay a little in front of it."""
        segment, base, block = self._block
        last, self._last = self._last, (place.segment, place.offset)
        at = place.offset - base
        if segment == place.segment and 0 <= at < len(block):
            found = frame_in(block, at, base, salt, place.segment)
            if found is not None:
                return found
        if last[0] != place.segment or not 0 <= place.offset - last[1] <= _NEAR:
            return None
        block = read_block(path, place.offset, _BLOCK, self._files)
        self._block = (place.segment, place.offset, block)
        return frame_in(block, 0, place.offset, salt, place.segment)


class Part(msgspec.Struct, frozen=True):
    """A piece of a body: bytes, or (``data`` None) a range that damage took.

    ``end`` is where it ends in the body; ``elapsed_ns`` when it had arrived since the exchange began, -1 where unknown.
    """

    start: int
    end: int
    data: bytes | None
    elapsed_ns: int = -1


LEFT_OUT: Final = "It is in more pieces than can be followed; the rest is in the log and is not given."
MAX_PIECES: Final = 700_000
"""Frames of one body that are followed, 24 bytes of memory for each. Pieces of 256 KiB make 180 GB; a stream of small
events, each a piece, is longer than that after 700,000 of them."""
_PIECES: Final = MAX_PIECES
"""Frames of bodies that are kept of all exchanges that run at once."""


def counted(seen: int, end: int, position: int, length: int) -> tuple[int, int]:
    """Count a piece of a body: what comes twice counts once, and what was jumped over is missing.

    Args:
        seen: bytes of the body that are there, of those before ``end``.
        end: how far the body goes, as far as it was read.
        position: where the piece belongs.
        length: its bytes.

    Returns:
        ``seen`` and ``end`` with the piece. The body is whole so far where they are equal.
    """
    after = position + length
    return seen + max(0, after - max(position, end)), max(end, after)


class Pieces:
    """Where the frames of one body stand, in 24 bytes each; given in the order of their positions."""

    def __init__(self, kind: int) -> None:
        self._kind = kind
        self._segments: list[str] = []
        self._numbers = array("Q")
        self._sorted = True
        self.end = 0
        self.seen = 0

    def add(self, position: int, length: int, frame: Frame) -> bool:
        """Note one frame, and how much of the body is there; what comes twice counts once.

        Returns:
            Whether there was room for it.
        """
        if length and not self.put(position, frame.segment, frame.offset):
            return False
        self.count(position, length)
        return True

    def put(self, position: int, segment: str, offset: int) -> bool:
        """Note where a frame stands, and return whether there was room for it."""
        if len(self._numbers) >= 3 * MAX_PIECES:
            return False
        if not self._segments or self._segments[-1] != segment:
            self._segments.append(segment)
        if self._numbers and position < self._numbers[-3]:
            self._sorted = False
        self._numbers.extend((position, len(self._segments) - 1, offset))
        return True

    def count(self, position: int, length: int) -> None:
        """Count bytes of the body that are there: ``seen`` of those before ``end``."""
        self.seen, self.end = counted(self.seen, self.end, position, length)

    def __len__(self) -> int:
        return len(self._numbers) // 3

    def __iter__(self) -> Iterator[Place]:
        numbers = self._numbers
        order: Iterable[int] = range(0, len(numbers), 3)
        if not self._sorted:  # frames that were written again stand behind later ones
            order = sorted(order, key=numbers.__getitem__)
        for at in order:
            yield Place(self._segments[numbers[at + 1]], numbers[at + 2], self._kind)


class ExchangeTape:
    """The frames of one exchange. Bodies are read piece by piece, as they are asked for.

    Attributes:
        opened, done: the first and last frame with their records, None where missing or damaged.
        begun: the frame with the final response's head, where it has one of its own.
        interim: interim answers (1xx), each its record and its raw head.
        messages: how many messages of an upgraded connection there are.
        trailers: raw trailer sections by side.
        acts: what rules did.
        notes: what could not be read, one sentence each.
    """

    def __init__(
        self,
        log: LogFrames,
        seq: int,
        frames: Iterable[Place | Frame],
        bodies: Mapping[Side, Pieces] | None = None,
    ) -> None:
        """Take the exchange's frames, in the order of the log; of copies the first that can be read counts.

        Args:
            log: where bodies, and frames of which only the place is given, are read from.
            seq: the exchange.
            frames: all of them; those of the bodies by their places, in the order of their positions.
            bodies: the bodies' frames where they are not among ``frames``.
        """
        self._log = log
        self.seq = seq
        self.notes: list[str] = []
        self.opened: tuple[Frame, Opened] | None = None
        self.done: tuple[Frame, Done] | None = None
        self.begun: tuple[Frame, ResponseBegun] | None = None
        self.interim: list[tuple[ResponseBegun, bytes]] = []
        self.messages = 0
        self.trailers: dict[Side, bytes] = {}
        self.acts = acts.Acts()
        listed: dict[Side, list[Place]] = {REQUEST: [], RESPONSE: []}
        self._bodies: Mapping[Side, list[Place] | Pieces] = listed if bodies is None else bodies
        for frame in frames:
            if isinstance(frame, Place) and frame.kind == FrameType.REQUEST_BODY:
                listed[REQUEST].append(frame)
            elif isinstance(frame, Place) and frame.kind == FrameType.RESPONSE_BODY:
                listed[RESPONSE].append(frame)
            elif frame.kind == FrameType.MESSAGE:
                self.messages += 1
            else:
                self._take(frame)

    def _take(self, place: Place | Frame) -> None:
        read = self._read(place)
        if read is None:
            return
        frame, record = read
        if isinstance(record, Opened):
            self.opened = self.opened or (frame, record)
        elif isinstance(record, Done):
            self.done = self.done or (frame, record)
        elif isinstance(record, ResponseBegun):
            if not frame.flags & Flag.INTERIM:
                self.begun = self.begun or (frame, record)
            elif all(record != other for other, _ in self.interim):
                self.interim.append((record, bytes(frame.data[: record.head_size])))
        elif isinstance(record, SentOn):
            self.acts.take(frame, record)
        elif frame.kind == FrameType.TRAILERS:
            self.trailers.setdefault(RESPONSE if frame.flags & Flag.RESPONSE else REQUEST, bytes(frame.data))

    def changed(self, side: Side) -> bool:
        """Return whether a rule changed what came: of REQUEST what went to the server, of RESPONSE what the client got.

        What went on is there as far as its head is.
        """
        return self.acts.head(response=side == RESPONSE) is not None

    def _changed_body(self, side: Side) -> acts.Parts | None:
        """Return the frames of a body that is another than the one that came; None for that one."""
        if side in (SENT_REQUEST, RESPONSE):
            return self.acts.body(response=side == RESPONSE)
        return None

    def _read(self, place: Place | Frame) -> tuple[Frame, Record] | None:
        try:
            frame = place if isinstance(place, Frame) else self._log.frame(place)
            record = sound_record(frame)
        except DamagedError as error:
            self.notes.append(error.message)
            return None
        if frame.seq != self.seq or frame.kind != place.kind:
            # The index is of another log: it says so rather than showing a stranger's bytes.
            self.notes.append(f"{place.segment} has another frame at {place.offset} than the index says")
            return None
        return frame, record

    @property
    def request_head(self) -> bytes | None:
        """The raw request head."""
        if self.opened is None:
            return None
        frame, record = self.opened
        return bytes(frame.data[: record.head_size])

    @property
    def sent_head(self) -> bytes | None:
        """The raw head that went to the server, its target the whole URL, where a rule changed the request."""
        return self.acts.head(response=False)

    @property
    def response_head(self) -> bytes | None:
        """The raw head of the final response, as the client got it."""
        changed = self.acts.head(response=True)
        return self.received_head if changed is None else changed

    @property
    def received_head(self) -> bytes | None:
        """The raw head of the final response, as it came."""
        found = self._response_frame()
        return bytes(found[0].data[: found[1]]) if found else None

    @property
    def unparsed(self) -> bool:
        """Whether what stands where the response's head should be is no head (FORMAT.md)."""
        found = self._response_frame()
        return (
            found is not None
            and self.begun is not None
            and found[0] is self.begun[0]
            and bool(found[0].flags & Flag.UNPARSED)
        )

    def _response_frame(self) -> tuple[Frame, int] | None:
        if self.done is not None and self.done[0].flags & Flag.HAS_RESPONSE:
            return self.done[0], self.done[1].head_size
        if self.begun is not None:
            return self.begun[0], self.begun[1].head_size
        return None

    def recorded(self, side: Side) -> int | None:
        """Return how many bytes of the body the log was given; None when that is not known."""
        frames = self._changed_body(side)
        if frames is not None:
            return acts.length(frames)
        if self.done is None:
            return None
        return self.done[1].request_recorded if _came(side) == REQUEST else self.done[1].response_recorded

    def size(self, side: Side) -> int | None:
        """Return how long the body was on the wire; None when that is not known."""
        frames = self._changed_body(side)
        if frames is not None:
            return acts.length(frames)
        if self.done is None:
            return None
        return self.done[1].request_size if _came(side) == REQUEST else self.done[1].response_size

    def has_body(self, side: Side) -> bool:
        """Return whether any byte of the body was recorded."""
        frames = self._changed_body(side)
        if frames is not None:
            return acts.length(frames) > 0
        side = _came(side)
        return len(self._bodies[side]) > 0 or bool(self._inline(side))

    def body(self, side: Side) -> Iterator[Part]:
        """Yield the body as it was on the wire, in order, what is missing as parts without data."""
        frames = self._changed_body(side)
        if frames is None:
            yield from self._body_that_came(_came(side))
            return
        for start, data, end in acts.pieces(frames):
            yield Part(start, end, data)

    def _body_that_came(self, side: Side) -> Iterator[Part]:
        at = 0
        inline = self._inline(side)
        if inline:
            at = len(inline)
            yield Part(0, at, inline)
        for place in self._bodies[side]:
            read = self._read(place)
            if read is None:
                continue
            frame, record = read
            assert isinstance(record, BodyChunk)
            data = frame.data
            end = record.position + len(data)
            if end <= at:
                continue  # written twice
            if record.position > at:
                yield Part(at, record.position, None)
                at = record.position
            yield Part(at, end, bytes(data[at - record.position :]), record.elapsed_ns)
            at = end
        done = self.done[1] if self.done is not None else None
        recorded = 0 if done is None else done.request_recorded if side == REQUEST else done.response_recorded
        if recorded > at:
            yield Part(at, recorded, None)

    def _inline(self, side: Side) -> bytes:
        if side == REQUEST:
            return bytes(self.opened[0].data[self.opened[1].head_size :]) if self.opened else b""
        found = self._response_frame()
        return bytes(found[0].data[found[1] :]) if found else b""


def _came(side: Side) -> Side:
    """Return whose frames hold what came."""
    return REQUEST if side in (REQUEST, SENT_REQUEST) else RESPONSE


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
        """Return the places of a body."""
        found = self.pieces.get(side)
        if found is None:
            kind = FrameType.REQUEST_BODY if side == REQUEST else FrameType.RESPONSE_BODY
            found = self.pieces[side] = Pieces(kind)
        return found

    def whole(self) -> bool:
        """Return whether everything that was recorded of it is there."""
        done = self.done
        if done is None or not self.opened or self.notes:
            return False
        return self._seen(REQUEST) >= done.request_recorded and self._seen(RESPONSE) >= done.response_recorded

    def _seen(self, side: Side) -> int:
        return self.pieces[side].seen if side in self.pieces else 0


class Assembler:
    """Takes the frames of one stream in their order, and returns exchanges."""

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
        """Return whether the exchange was begun and not yet given."""
        return seq in self._running or seq in self._waiting

    def take(self, frame: Frame) -> ExchangeTape | None:
        """Take one frame of an exchange, and return an exchange that is ready, if one is."""
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
        """Yield what is left, by ``seq``: its recorder is gone."""
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
            running.messages += bool(frame.flags & Flag.LAST)
            return
        record = sound_record(frame)
        if isinstance(record, BodyChunk):
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
