"""The account of a log: what it holds, what it lacks, and why; drawn up segment by segment.

A check of the whole log and an index that follows the log draw up the same account, so that both report the same. It
can be put aside (``save``) and gone on with (``load``) where reading goes on later.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from wiretape.errors import DamagedError
from wiretape.log.format import Event, Flag, FrameType, Seal, SegmentHead
from wiretape.log.inventory import Placed
from wiretape.log.items import OF_AN_EXCHANGE, Damage, Frame
from wiretape.log.losses import IMPOSSIBLE_SEQ_FROM, Drops, DropsState, count_in
from wiretape.log.report import LogReport
from wiretape.log.sequence import NO_CAUSE, LedgerState, Room, StreamLedger, count
from wiretape.model import Gap

# Reports stay readable and bounded: what exceeds these is counted and noted, not listed.
_LISTED_GAPS: Final = 10_000
_LISTED_SEQS: Final = 10_000
_LISTED_IN_GAPS: Final = 20_000
_NOTES: Final = 1_000
_OF_AN_EXCHANGE: Final = frozenset(map(int, OF_AN_EXCHANGE))

IMPOSSIBLE_SEQ: Final = "a number that no writer gives"
_FIRST: Final = (-1, -1)


class _StreamState(msgspec.Struct, array_like=True):
    """One stream: its ledger, and the segment that is being read or was read last."""

    ledger: LedgerState
    number: int
    name: str
    end: int
    counts: dict[int, int]
    sound: bool
    seal: Seal | None


class _State(msgspec.Struct, array_like=True):
    """An account put aside."""

    step: int
    streams: dict[int, _StreamState]
    gaps: list[tuple[Gap, tuple[int, int]]]
    unlisted: int
    provisional: list[int]
    tails: list[tuple[Gap, tuple[int, int]]]
    damaged_bytes: int
    hints: dict[int, list[int]]
    notes: list[str]
    drops: DropsState
    unlisted_notes: int


class _Stream:
    """A stream while it is read."""

    __slots__ = ("counts", "end", "ledger", "name", "number", "seal", "sound")

    def __init__(self, ledger: StreamLedger) -> None:
        self.ledger = ledger
        self.number = 0
        self.name = ""
        self.end = 0
        self.enter(0, "")

    def enter(self, number: int, name: str) -> None:
        """Begin a segment."""
        self.number, self.name, self.end = number, name, 0
        self.counts: dict[int, int] = {}
        self.sound = True
        self.seal: Seal | None = None


class Account:
    """The account of one log. Segments of one stream come in the order of their numbers; streams may take turns.

    Attributes:
        step: number of streams as the log's first head says; 0 while none was read.
    """

    def __init__(self, step: int = 0, gaps: Iterable[Gap] = (), notes: Iterable[str] = ()) -> None:
        """Begin an account.

        Args:
            step: number of streams as the log's first head says; 0 takes it from the first head that is read.
            gaps: segments that do not belong to the log.
            notes: sentences for the report.
        """
        self.step = step
        self._gaps = [(gap, _FIRST) for gap in gaps]
        self._damaged_bytes = sum(gap.length for gap, _ in self._gaps)
        self._notes = list(notes)[:_NOTES]
        self._streams: dict[int, _Stream] = {}
        self._provisional: set[int] = set()
        self._unlisted = 0
        self._tails: list[tuple[Gap, tuple[int, int]]] = []
        self._hints: dict[int, set[int]] = {}
        self._drops = Drops()
        self._unlisted_notes = 0
        self._room = Room()
        self._hinted = 0

    @property
    def whole(self) -> bool:
        """Whether every damaged range is listed, so that the order of reading makes no difference to the report."""
        return not self._unlisted

    @property
    def streams(self) -> list[int]:
        """The streams that were met, in order."""
        return sorted(self._streams)

    def begins_before(self, stream: int) -> bool:
        """Tell whether ``stream`` is new and comes, in the log's order, before one that was met already."""
        return stream not in self._streams and any(stream < other for other in self._streams)

    def last(self, stream: int) -> int:
        """Give the number of the segment that was begun last in a stream, 0 for none."""
        return self._streams[stream].number if stream in self._streams else 0

    def knows(self, number: int, seq: int) -> bool:
        """Tell whether a frame of this exchange was seen in stream ``number``, which was begun."""
        return self._streams[number].ledger.knows(seq)

    # -- segments -----------------------------------------------------------------------------------------------

    def begin(self, segment: Placed, missing: Sequence[Gap] = ()) -> None:
        """Go on in a segment; ``missing`` are the ones that should lie between it and the one before it."""
        if not self.step and segment.head is not None:
            self.step = max(1, segment.head.streams)
        stream = self._streams.get(segment.stream)
        first = stream is None
        if stream is None:
            stream = self._streams[segment.stream] = _Stream(StreamLedger(segment.stream, self.step or 1, self._room))
        else:
            self._compare(stream)
        ledger, cause = stream.ledger, NO_CAUSE
        for gap in missing:
            cause = self._add_gap(gap, (segment.stream, segment.number))
        if cause == NO_CAUSE and segment.head is not None and not first and ledger.leaves_out(segment.head):
            reason = "ends too early: the last numbers given before the next segment are not there"
            cut_short = Gap(segment=stream.name, offset=stream.end, length=0, reason=reason)
            cause = self._add_gap(cut_short, (segment.stream, stream.number))
            self._provisional.add(cause)
        ledger.begin_segment(segment.head, cause)
        stream.enter(segment.number, segment.ref.name)

    def read(self, number: int, items: Iterable[Frame | Damage]) -> None:
        """Take what is read of the segment that stream ``number`` is in."""
        stream = self._streams[number]
        ledger, counts = stream.ledger, stream.counts
        # Plain integers: this loop sees every frame, and looking up an enum member costs more than its other work.
        opened, done, of_an_exchange = int(FrameType.OPENED), int(FrameType.DONE), _OF_AN_EXCHANGE
        for item in items:
            if isinstance(item, Damage):
                stream.sound = False
                self._take_damage(item, number, stream)
                continue
            kind = item.kind
            if not 0 < item.seq < IMPOSSIBLE_SEQ_FROM and kind in of_an_exchange:
                stream.sound = False
                self._take_damage(Damage(item.segment, item.offset, item.size, IMPOSSIBLE_SEQ), number, stream)
                continue
            counts[kind] = counts.get(kind, 0) + 1
            if kind == opened:
                ledger.open(item.seq)
            elif kind == done:
                ledger.finish(item.seq)
            elif kind in of_an_exchange:
                ledger.see(item.seq)
            else:
                self._take_other(item, stream)

    def reached(self, number: int, end: int) -> None:
        """Say how far stream ``number`` was read in its segment."""
        self._streams[number].end = end

    def end(self, number: int) -> None:
        """Say that nobody writes stream ``number`` any more."""
        self._streams[number].ledger.end()

    # -- frames -------------------------------------------------------------------------------------------------

    def _take_other(self, frame: Frame, stream: _Stream) -> None:
        if frame.kind not in (FrameType.SEAL, FrameType.EVENT, FrameType.SEGMENT):
            return
        try:
            record = frame.record()
        except DamagedError as error:
            self._note(error.message)
            return
        if isinstance(record, Event):
            self._drops.take(frame.head, record)
        if isinstance(record, SegmentHead) and frame.offset:
            self._note(f"{frame.segment} has a second head at {frame.offset}")
        if isinstance(record, Seal):
            stream.ledger.seal(record, bool(frame.flags & Flag.FINAL))
            stream.seal = record

    def _note(self, sentence: str) -> None:
        if len(self._notes) < _NOTES:
            self._notes.append(sentence)
        else:
            self._unlisted_notes += 1

    def _compare(self, stream: _Stream) -> None:
        # Frames know their offsets, so none was cut out: a difference is the writer's fault, and still to be told.
        seal, counts = stream.seal, stream.counts
        stream.seal = None
        if seal is None or not stream.sound:
            return
        found = (sum(counts.values()) - 1, counts.get(FrameType.OPENED, 0), counts.get(FrameType.DONE, 0))
        if found != (seal.frames, seal.opened, seal.done):
            self._note(
                f"{stream.name}: its seal counts {seal.frames} frames, {seal.opened} opened and {seal.done} done;"
                f" there are {found[0]}, {found[1]} and {found[2]}"
            )

    def _take_damage(self, damage: Damage, number: int, stream: _Stream) -> None:
        gap = Gap(segment=damage.segment, offset=damage.offset, length=damage.length, reason=damage.reason)
        if damage.is_tail:
            self._tails.append((gap, (number, stream.number)))
            return
        self._damaged_bytes += damage.length
        index = self._add_gap(gap, (number, stream.number))
        self._hint(index, damage.seqs_hint)
        stream.ledger.damage(damage, index)

    def _hint(self, gap: int, seqs: Iterable[int]) -> None:
        known = self._hints.setdefault(gap, set())
        before = len(known)
        for seq in seqs:
            if self._hinted + len(known) - before < _LISTED_IN_GAPS:
                known.add(seq)
        self._hinted += len(known) - before

    def _add_gap(self, gap: Gap, place: tuple[int, int]) -> int:
        if len(self._gaps) >= _LISTED_GAPS:
            self._unlisted += 1
            return _LISTED_GAPS  # the index of none: what it costs counts, and is said of no other range
        self._gaps.append((gap, place))
        return len(self._gaps) - 1

    # -- the result ---------------------------------------------------------------------------------------------

    def report(self, session_id: str, *, size: int, segments: int, holder: dict[str, Any] | None = None) -> LogReport:
        """Draw up the report; the account is not to be gone on with after it."""
        for stream in self._streams.values():
            self._compare(stream)
        ledgers = [self._streams[number].ledger for number in sorted(self._streams)]
        lost, lost_count = self._settle_missing(ledgers)
        for ledger in ledgers:
            for seq, cause in ledger.touched:
                if cause != NO_CAUSE:
                    self._hint(cause, (seq,))
        gone = {seq for seqs in lost.values() for seq in seqs}
        unfinished = {seq for ledger in ledgers for seq in ledger.unfinished}
        interrupted = {seq for ledger in ledgers for seq in ledger.interrupted}
        self._tell_what_is_not_listed(ledgers)
        tails = [gap for gap, _ in sorted(self._tails, key=lambda tail: tail[1])]
        return LogReport(
            session_id=session_id,
            exchanges=sum(ledger.known for ledger in ledgers),
            done=sum(ledger.done for ledger in ledgers),
            interrupted=sorted(interrupted | (unfinished & self._drops.partial)),
            interrupted_unlisted=sum(ledger.unlisted for ledger in ledgers),
            in_flight=sorted(unfinished - self._drops.partial),
            partial=sorted(self._drops.partial),
            lost=sorted(gone)[:_LISTED_SEQS],
            lost_exchanges=lost_count,
            damaged=sorted({seq for seqs in self._hints.values() for seq in seqs} - gone),
            gaps=self._listed(lost),
            tails=tails,
            torn_tail_bytes=sum(gap.length for gap in tails),
            damaged_bytes=self._damaged_bytes,
            closed_cleanly=bool(ledgers) and all(ledger.closed for ledger in ledgers),
            holder=holder,
            dropped=self._drops.exchanges,
            bytes=size,
            segments=segments,
            next_seq={number: stream.ledger.next_seq for number, stream in sorted(self._streams.items())},
            notes=self._notes,
        )

    def _listed(self, lost: dict[int, list[int]]) -> list[Gap]:
        """Give the gaps in the order of the log, each with its exchanges."""
        order = sorted(range(len(self._gaps)), key=lambda index: self._gaps[index][1])
        # What the writer says it dropped explains a missing number better than a segment cut short.
        return [
            self._with_exchanges(index, self._gaps[index][0], lost.get(index, []))
            for index in order
            if index not in self._provisional or lost.get(index)
        ]

    def _settle_missing(self, ledgers: list[StreamLedger]) -> tuple[dict[int, list[int]], int]:
        """Give the lost seqs of each gap (as many as are listed) and the count of all that are lost."""
        lost: dict[int, list[int]] = {}
        partial = sorted(self._drops.partial)
        lost_count = sum(ledger.missing.lost for ledger in ledgers)
        never_written = sum(ledger.missing.never_written for ledger in ledgers)
        room = _LISTED_IN_GAPS
        for ledger in ledgers:
            for seqs, cause in ledger.missing:
                missing = count(seqs) - count_in(partial, seqs)
                if cause == NO_CAUSE:
                    never_written += missing
                    continue
                lost_count += missing
                listed = lost.setdefault(cause, [])
                for seq in seqs if room > 0 else ():
                    if len(listed) >= _LISTED_SEQS or room <= 0:
                        break
                    if seq not in self._drops.partial:
                        listed.append(seq)
                        room -= 1
        if never_written > self._drops.exchanges:
            self._note(f"{never_written} numbers were given and never written, and no damage explains them")
        return lost, lost_count

    def _with_exchanges(self, index: int, gap: Gap, lost: list[int]) -> Gap:
        seqs = self._hints.get(index, set()).union(lost)
        if not seqs:
            return gap
        return msgspec.structs.replace(gap, exchanges=sorted(seqs), lost=lost)

    def _tell_what_is_not_listed(self, ledgers: list[StreamLedger]) -> None:
        unlisted = sum(ledger.unlisted for ledger in ledgers)
        if self._unlisted_notes:
            self._notes.append(f"{self._unlisted_notes} further notes are left out")
        if self._unlisted:
            self._notes.append(f"{self._unlisted} further damaged ranges are counted and not listed")
        if unlisted:
            self._notes.append(
                f"{unlisted} further exchanges without an end are counted and not listed: too many were open at once"
                " for their ends to be waited for, so some of them may have one"
            )
        if self._room.ranges <= 0:
            self._notes.append("numbers are missing in so many places that some are counted without their place")
        if self._room.touched <= 0 or self._hinted >= _LISTED_IN_GAPS:
            self._notes.append("damage touched so many exchanges that not all of them are listed")

    # -- put aside ----------------------------------------------------------------------------------------------

    def save(self) -> bytes:
        """Give the account as bytes: the same account, the same bytes."""
        streams = {
            number: _StreamState(s.ledger.save(), s.number, s.name, s.end, s.counts, s.sound, s.seal)
            for number, s in sorted(self._streams.items())
        }
        hints = {index: sorted(seqs) for index, seqs in sorted(self._hints.items())}
        state = _State(
            self.step,
            streams,
            self._gaps,
            self._unlisted,
            sorted(self._provisional),
            self._tails,
            self._damaged_bytes,
            hints,
            self._notes,
            self._drops.save(),
            self._unlisted_notes,
        )
        return msgspec.msgpack.encode(state)

    @classmethod
    def load(cls, data: bytes) -> Account:
        """Go on with what ``save`` gave.

        Raises:
            DamagedError: it is no such thing.
        """
        try:
            state = msgspec.msgpack.decode(data, type=_State)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise DamagedError(f"the account in the index cannot be read: {error}") from None
        account = cls(state.step, notes=state.notes)
        account._gaps, account._tails = state.gaps, state.tails
        account._unlisted, account._damaged_bytes = state.unlisted, state.damaged_bytes
        account._provisional, account._drops = set(state.provisional), Drops(state.drops)
        account._hints = {index: set(seqs) for index, seqs in state.hints.items()}
        account._unlisted_notes = state.unlisted_notes
        account._hinted = sum(map(len, account._hints.values()))
        for number, saved in state.streams.items():
            stream = account._streams[number] = _Stream(StreamLedger.load(number, saved.ledger, account._room))
            stream.number, stream.name, stream.end = saved.number, saved.name, saved.end
            stream.counts, stream.sound, stream.seal = saved.counts, saved.sound, saved.seal
        return account
