"""The audit of a log: what it holds, what it lacks, and why; drawn up segment by segment.

A check of the whole log and an index that follows the log draw up the same audit, so that both report the same. The
report changes nothing: it can be asked for at any moment of the reading, and the reading goes on. An audit can be put
aside (``save``) and gone on with (``load``) where reading goes on later.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final

import msgspec

from wiretape.errors import DamagedError
from wiretape.log.findings import LISTED_GAPS, LISTED_IN_GAPS, Findings, Place, hint
from wiretape.log.format import Event, Flag, FrameType, Seal, SegmentHead
from wiretape.log.inventory import Inventory, Placed
from wiretape.log.items import IMPOSSIBLE_FROM, OF_AN_EXCHANGE, Damage, Frame
from wiretape.log.losses import DropEvents, count_in
from wiretape.log.report import SESSION_EVENT, LogReport
from wiretape.log.sequence import NO_CAUSE, Room, StreamSequence, count
from wiretape.model import Gap

_LISTED_SEQS: Final = 10_000
_MAX_FACTS: Final = 16 * 1024
_LATEST: Final = 2**63 - 1
"""No time in nanoseconds is later."""
_TIME: Final = b"\xcf"
"""How msgpack begins a number above 2^32: with it OPENED's first field, ``wall_ns``, is read without its record."""
_OF_AN_EXCHANGE: Final = frozenset(map(int, OF_AN_EXCHANGE))
_STRANGE: Final = (-1, -1)
"""The place of segments that do not belong to the log: told first."""

IMPOSSIBLE_SEQ: Final = "a number that no writer gives"


class Reading(msgspec.Struct, array_like=True):
    """A stream while it is read, and the segment that is being read or was read last.

    Attributes:
        sequence: its exchanges.
        number, name: the segment.
        end: how far it was read, in bytes.
        counts: its frames by kind.
        sound: no damage was met in it.
        seal: its seal, once met.
        ended_ns: the time of its seal, or else of the last exchange that began in it.
    """

    sequence: StreamSequence
    number: int = 0
    name: str = ""
    end: int = 0
    counts: dict[int, int] = msgspec.field(default_factory=dict)
    sound: bool = True
    seal: Seal | None = None
    ended_ns: int = 0

    def enter(self, number: int, name: str) -> None:
        """Begin a segment."""
        self.number, self.name, self.end = number, name, 0
        self.counts, self.sound, self.seal, self.ended_ns = {}, True, None, 0

    @property
    def met(self) -> bool:
        """Whether anything of the stream was read."""
        return bool(self.sequence.known or self.counts or not self.sound)

    def disagreement(self) -> str | None:
        """Return what the segment's seal counts otherwise than was read; None where it agrees or damage explains it.

        Frames know their offsets, so none was cut out: a difference is the writer's fault, and still to be told.
        """
        seal, counts = self.seal, self.counts
        if seal is None or not self.sound:
            return None
        found = (sum(counts.values()) - 1, counts.get(FrameType.OPENED, 0), counts.get(FrameType.DONE, 0))
        if found == (seal.frames, seal.opened, seal.done):
            return None
        return (
            f"{self.name}: its seal counts {seal.frames} frames, {seal.opened} opened and {seal.done} done;"
            f" there are {found[0]}, {found[1]} and {found[2]}"
        )


class Audit(msgspec.Struct, array_like=True):
    """The audit of one log. Segments of one stream come in the order of their numbers; streams may take turns.

    Attributes:
        step: number of streams as the log's first head says (``Inventory.step``).
        streams: what was read of each stream.
        room: what may be held of all streams together.
        found: the damage.
        losses: what the recorders say they could not write.
        begun_ns, ended_ns: the first and the last time that stands in finished segments; 0 for none.
        waiting: exchanges whose end is waited for, of all streams.
        facts: the EVENT that describes the session, its record as it is encoded, and its place.
    """

    step: int = 1
    streams: dict[int, Reading] = msgspec.field(default_factory=dict)
    room: Room = msgspec.field(default_factory=Room)
    found: Findings = msgspec.field(default_factory=Findings)
    losses: DropEvents = msgspec.field(default_factory=DropEvents)
    begun_ns: int = 0
    ended_ns: int = 0
    facts: tuple[bytes, Place] | None = None
    waiting: int = 0

    def __post_init__(self) -> None:
        for reading in self.streams.values():
            reading.sequence.share(self.room)

    # -- put aside ----------------------------------------------------------------------------------------------

    def save(self) -> bytes:
        """Return the audit as bytes."""
        return msgspec.msgpack.encode(self)

    @staticmethod
    def load(data: bytes) -> Audit:
        """Return what ``save`` gave, to be gone on with.

        Raises:
            DamagedError: it is no such thing.
        """
        try:
            return msgspec.msgpack.decode(data, type=Audit)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise DamagedError(f"the audit cannot be read: {error}") from None

    @property
    def exact(self) -> bool:
        """Whether the report is the same in whatever order the streams were read.

        It is, unless a bound was reached: what was met first is listed then, and the rest counted.
        """
        if len(self.streams) <= 1:
            return True
        gave_up = any(reading.sequence.gave_up for reading in self.streams.values())
        return not (gave_up or self.found.used_up or self.room.used_up or self.losses.used_up)

    def last(self, stream: int) -> int:
        """Return the number of the segment that was begun last in a stream, 0 for none."""
        return self.streams[stream].number if stream in self.streams else 0

    def knows(self, stream: int, seq: int) -> bool:
        """Return whether a frame of this exchange was seen in ``stream``, which was begun."""
        return self.streams[stream].sequence.knows(seq)

    # -- segments -----------------------------------------------------------------------------------------------

    def begin(self, segment: Placed, missing: Sequence[Gap] = ()) -> None:
        """Go on in a segment; ``missing`` are the ones that should lie between it and the one before it."""
        reading = self.streams.get(segment.stream)
        first = reading is None
        if reading is None:
            sequence = StreamSequence.of(segment.stream, self.step, self.room)
            reading = self.streams[segment.stream] = Reading(sequence)
        else:
            self._leave(segment.stream, reading)
        sequence, cause = reading.sequence, NO_CAUSE
        for gap in missing:
            cause = self.found.add_gap(gap, (segment.stream, segment.number))
        if cause == NO_CAUSE and segment.head is not None and not first and sequence.leaves_out(segment.head):
            reason = "ends too early: the last numbers given before the next segment are not there"
            cut_short = Gap(segment=reading.name, offset=reading.end, length=0, reason=reason)
            cause = self.found.add_gap(cut_short, (segment.stream, reading.number))
            self.found.provisional.add(cause)
        before = len(sequence.unfinished)
        sequence.begin_segment(segment.head, cause)
        self.waiting += len(sequence.unfinished) - before
        reading.enter(segment.number, segment.ref.name)

    def _leave(self, stream: int, reading: Reading) -> None:
        sentence = reading.disagreement()
        if sentence is not None:
            self.found.note(sentence, (stream, reading.number))
        self.ended_ns = max(self.ended_ns, reading.ended_ns)

    def read(self, stream: int, items: Iterable[Frame | Damage]) -> None:
        """Take what is read next of the segment that ``stream`` is in."""
        reading = self.streams[stream]
        sequence, counts = reading.sequence, reading.counts
        # Plain integers: this loop sees every frame, and looking up an enum member costs more than its other work.
        opened, done, of_an_exchange = int(FrameType.OPENED), int(FrameType.DONE), _OF_AN_EXCHANGE
        timed: Frame | None = None
        before = len(sequence.unfinished)
        sequence.leave_room_for(self.waiting - before)
        begun = ended = 0
        for item in items:
            if isinstance(item, Damage):
                self._take_damage(item, stream, reading)
                continue
            kind, seq = item.kind, item.seq
            if not 0 < seq < IMPOSSIBLE_FROM and kind in of_an_exchange:
                damage = Damage(item.segment, item.offset, item.size, IMPOSSIBLE_SEQ)
                self._take_damage(damage, stream, reading)
            elif kind == opened:
                begun += 1
                sequence.open(seq)
                if item.payload.startswith(_TIME, 1):
                    timed = item
            elif kind == done:
                ended += 1
                sequence.finish(seq)
            else:
                counts[kind] = counts.get(kind, 0) + 1
                if kind in of_an_exchange:
                    sequence.see(seq)
                else:
                    # Before a seal, whose time may be none: else it would depend on what is read at once.
                    _note_time(timed, reading)
                    self._take_other(item, stream, reading)
        for kind, met in ((opened, begun), (done, ended)):
            if met:
                counts[kind] = counts.get(kind, 0) + met
        self.waiting += len(sequence.unfinished) - before
        _note_time(timed, reading)

    def reached(self, stream: int, end: int) -> None:
        """Say how far ``stream`` was read in its segment."""
        self.streams[stream].end = end

    # -- frames -------------------------------------------------------------------------------------------------

    def _take_damage(self, damage: Damage, stream: int, reading: Reading) -> None:
        reading.sound = False
        place = (stream, reading.number)
        if damage.is_tail:
            self.found.add_tail(damage, place)
            return
        seqs = tuple(seq for seq in damage.seqs_hint if 0 < seq < IMPOSSIBLE_FROM)
        gap = self.found.add(damage, seqs, place)
        reading.sequence.damage(damage.kind, seqs, gap)

    def _take_other(self, frame: Frame, stream: int, reading: Reading) -> None:
        if frame.kind not in (FrameType.SEAL, FrameType.EVENT, FrameType.SEGMENT):
            return
        place = (stream, reading.number)
        try:
            record = frame.record()
        except DamagedError as error:
            self.found.note(error.message, place)
            return
        if isinstance(record, Event):
            self._take_event(frame, record, place)
        elif isinstance(record, SegmentHead):
            if frame.offset:
                self.found.note(f"{frame.segment} has a second head at {frame.offset}", place)
            elif 0 < record.wall_ns < _LATEST:
                self.begun_ns = min(self.begun_ns or record.wall_ns, record.wall_ns)
                reading.ended_ns = record.wall_ns
        elif isinstance(record, Seal):
            reading.sequence.seal(record, bool(frame.flags & Flag.FINAL))
            reading.seal = record
            if 0 < record.wall_ns < _LATEST:
                reading.ended_ns = record.wall_ns

    def _take_event(self, frame: Frame, event: Event, place: Place) -> None:
        self.losses.take(place[0], frame.head, event)
        first = self.facts is None or place < self.facts[1]
        if event.kind == SESSION_EVENT and first and len(frame.head) <= _MAX_FACTS:
            self.facts = (frame.head, place)

    # -- the result ---------------------------------------------------------------------------------------------

    def report(
        self,
        session_id: str,
        inventory: Inventory,
        *,
        live: Collection[int] = (),
        holder: dict[str, Any] | None = None,
    ) -> LogReport:
        """Return what the log holds and lacks, as far as it was read. Nothing is changed by it.

        Args:
            session_id: the session.
            inventory: the log's segments, and what lies beside them.
            live: streams that somebody is writing: what is unfinished there is in flight.
            holder: the note of a living writer.
        """
        return _Summing(self, live).report(session_id, inventory, holder)


class _Summing:
    """An audit summed up: what the streams say, put together, with the audit left as it is."""

    def __init__(self, audit: Audit, live: Collection[int]) -> None:
        self._audit = audit
        self._found = audit.found
        self._partial = audit.losses.partial
        self._readings = [(stream, audit.streams[stream]) for stream in sorted(audit.streams)]
        self._streams = [reading.sequence for _, reading in self._readings]
        self._over = [reading.sequence for stream, reading in self._readings if stream not in live]
        self._hints = {gap: set(seqs) for gap, seqs in audit.found.hints.items()}
        self._hinted = audit.found.hinted
        self._lost: dict[int, list[int]] = {}
        self._never_written = 0

    def report(self, session_id: str, inventory: Inventory, holder: dict[str, Any] | None) -> LogReport:
        """Return the report."""
        streams, found = self._streams, self._found
        lost_count = self._settle_missing()
        no_room = self._add_touched()
        gone = {seq for seqs in self._lost.values() for seq in seqs}
        running = {seq for stream in streams if not self._is_over(stream) for seq in stream.unfinished}
        interrupted = {seq for stream in streams for seq in stream.interrupted}
        interrupted |= {seq for stream in self._over for seq in stream.unfinished} | (running & self._partial)
        room = self._audit.room.interrupted + sum(len(stream.interrupted) for stream in streams)
        listed = sorted(interrupted)[:room]
        unlisted = sum(stream.unlisted for stream in streams) + len(interrupted) - len(listed)
        gaps, further = self._gaps(inventory.gaps)
        tails = [gap for gap, _ in sorted(found.tails, key=lambda tail: tail[1])]
        return LogReport(
            session_id=session_id,
            exchanges=sum(stream.known for stream in streams),
            done=sum(stream.done for stream in streams),
            interrupted=listed,
            interrupted_unlisted=unlisted,
            in_flight=sorted(running - self._partial),
            partial=sorted(self._partial),
            lost=sorted(gone)[:_LISTED_SEQS],
            lost_exchanges=min(lost_count, IMPOSSIBLE_FROM),
            damaged=sorted({seq for seqs in self._hints.values() for seq in seqs} - gone),
            gaps=gaps,
            tails=tails,
            torn_tail_bytes=sum(gap.length for gap in tails),
            damaged_bytes=found.damaged_bytes + sum(gap.length for gap in inventory.gaps),
            closed_cleanly=bool(streams) and all(stream.closed for stream in streams),
            unclosed=sum(not stream.closed for stream in self._over),
            holder=holder,
            dropped=self._audit.losses.exchanges,
            bytes=sum(segment.ref.size for segment in inventory.segments),
            segments=len(inventory.segments),
            next_seq={stream: reading.sequence.expected for stream, reading in self._readings if reading.met},
            notes=[*inventory.notes, *self._notes(further, unlisted, no_room=no_room)],
            begun_ns=self._audit.begun_ns,
            ended_ns=max([self._audit.ended_ns, *(reading.ended_ns for _, reading in self._readings)]),
            facts=self._facts(),
        )

    def _is_over(self, stream: StreamSequence) -> bool:
        return any(stream is other for other in self._over)

    def _settle_missing(self) -> int:
        """Sort the missing by the gap that took them; return how many are lost."""
        partial, room = sorted(self._partial), LISTED_IN_GAPS
        lost_count = sum(stream.missing.lost for stream in self._streams)
        self._never_written = sum(stream.missing.never_written for stream in self._streams)
        for stream in self._streams:
            for seqs, cause in stream.missing:
                missing = count(seqs) - count_in(partial, seqs)
                if cause == NO_CAUSE:
                    self._never_written += missing
                    continue
                lost_count += missing
                listed = self._lost.setdefault(cause, [])
                for seq in seqs if room > 0 else ():
                    if len(listed) >= _LISTED_SEQS or room <= 0:
                        break
                    if seq not in self._partial:
                        listed.append(seq)
                        room -= 1
        return lost_count

    def _add_touched(self) -> bool:
        """Blame the gaps for the exchanges that lack something; return whether there was no room for all."""
        room = self._audit.room.touched
        ended = [touched for stream in self._over for touched in stream.ends_lost()]
        for touched in (*(stream.touched for stream in self._streams), ended[:room]):
            for seq, cause in touched:
                if cause != NO_CAUSE:
                    known = self._hints.setdefault(cause, set())
                    self._hinted += hint(known, (seq,), LISTED_IN_GAPS - self._hinted)
        return len(ended) >= room or self._hinted >= LISTED_IN_GAPS

    def _gaps(self, strange: Sequence[Gap]) -> tuple[list[Gap], int]:
        """Return the gaps in the order of the log, each with its exchanges, and how many are not listed."""
        own = self._found.gaps
        gaps = [(_STRANGE, gap) for gap in strange]
        gaps += [
            (own[index][1], self._with_exchanges(index, own[index][0]))
            for index in range(len(own))
            # What the writer says it dropped explains a missing number better than a segment cut short.
            if index not in self._found.provisional or self._lost.get(index)
        ]
        gaps.sort(key=lambda placed: placed[0])
        return [gap for _, gap in gaps[:LISTED_GAPS]], self._found.unlisted + max(0, len(gaps) - LISTED_GAPS)

    def _with_exchanges(self, index: int, gap: Gap) -> Gap:
        lost = self._lost.get(index, [])
        seqs = self._hints.get(index, set()).union(lost)
        if not seqs:
            return gap
        return msgspec.structs.replace(gap, exchanges=sorted(seqs), lost=lost)

    def _notes(self, further: int, unlisted: int, *, no_room: bool) -> list[str]:
        found = list(self._found.notes)
        for stream, reading in self._readings:
            sentence = reading.disagreement()
            if sentence is not None:
                found.append((sentence, (stream, reading.number)))
        notes = [sentence for sentence, _ in sorted(found, key=lambda note: note[1])]
        if self._never_written > self._audit.losses.exchanges:
            notes.append(f"{self._never_written} numbers were given and never written, and no damage explains them")
        if self._found.unlisted_notes:
            notes.append(f"{self._found.unlisted_notes} further notes are left out")
        if further:
            notes.append(f"{further} further damaged ranges are counted and not listed")
        if unlisted:
            notes.append(
                f"{unlisted} further exchanges without an end are counted and not listed: too many were open at once"
                " for their ends to be waited for, so some of them may have one"
            )
        if self._audit.room.ranges <= 0:
            notes.append("numbers are missing in so many places that some are counted without their place")
        if no_room:
            notes.append("damage touched so many exchanges that not all of them are listed")
        return notes

    def _facts(self) -> dict[str, Any] | None:
        if self._audit.facts is None:
            return None
        return msgspec.msgpack.decode(self._audit.facts[0], type=Event).detail


def _note_time(opened: Frame | None, reading: Reading) -> None:
    """Take the time of the last exchange that began for the segment's end, until its seal says better."""
    if opened is not None and reading.seal is None:
        reading.ended_ns = min(_LATEST, int.from_bytes(opened.payload[2:10], "big"))
