"""A session's stream: where exchanges put their frames, and what waits until those are in the log.

All frames made in one turn of the loop go out with one ``write``; only then are the bytes that depended on them
released (P1, P2). Gathering them cost 0 to 15 % of the throughput in the prototype.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from wiretape.log.format import Event, Record
from wiretape.log.stream_writer import StreamWriter
from wiretape.model import PREVIEW_BYTES
from wiretape.recorder.losses import Losses
from wiretape.recorder.syncs import Release, Syncs, Waiting, act
from wiretape.settings import Durability, OnFull, Profile

EVENT_RESERVE: Final = 256 * 1024  # kept below the cap so that the end of a session can always be written


class SessionStream:
    """One session's stream on the recorder's loop.

    Attributes:
        session_id: the session.
        keep: how many bytes of each body are recorded.
        in_flight: exchanges begun and not ended.
        refusing: whether traffic that cannot be recorded is to be refused.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        writer: StreamWriter,
        session_id: str,
        *,
        durability: Durability = "group",
        profile: Profile = "full",
        max_disk: int | None = None,
        on_full: OnFull = "pass",
    ) -> None:
        self._loop = loop
        self._writer = writer
        self.session_id = session_id
        self.keep = PREVIEW_BYTES if profile == "preview" else 1 << 62
        self.in_flight = 0
        self.take_seq = writer.take_seq
        self._always = durability == "always"
        self._cap = max_disk
        self.refusing = on_full == "refuse"
        self._losses = Losses(loop, writer)
        self._syncs = Syncs(loop, writer, self, durability)
        self._released: Waiting = []
        self._scheduled = False
        self._on_drained: Callable[[], None] | None = None
        self._closed = False

    # -- what exchanges use --------------------------------------------------------------------------------------

    @property
    def epoch(self) -> int:
        """Changes when frames were lost; an exchange begun in another epoch is not recorded whole."""
        return self._writer.epoch

    @property
    def accepting(self) -> bool:
        """Whether a new exchange can be recorded now; False while the disk is full or the cap is reached."""
        writer = self._writer
        if writer.ready and self._cap is None:  # nearly always
            return True
        return (writer.ready or self._losses.try_again()) and not self.full

    @property
    def full(self) -> bool:
        """Whether the disk is full or the session's cap reached: only ends and reports of drops are written then."""
        return self._writer.in_reserve or (self._cap is not None and self._writer.size > self._cap - EVENT_RESERVE)

    @property
    def blocked(self) -> bool:
        """Whether nothing new can be recorded, as far as was last seen."""
        return self.full or self._writer.fd < 0

    @property
    def unreported(self) -> int:
        """Dropped exchanges of which the log itself says nothing yet."""
        return self._losses.drops.unreported

    @property
    def dropped(self) -> int:
        """Exchanges that passed unrecorded or were recorded in part since the start."""
        return self._losses.drops.total

    def append(self, kind: int, seq: int, record: Record, data: bytes = b"", flags: int = 0) -> None:
        """Gather a frame; it is written at the end of this turn of the loop."""
        self._writer.append(kind, seq, record, data, flags)
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._flush)

    def release(self, action: Release, argument: Any) -> None:
        """Do ``action(argument)`` once all frames gathered so far are in the log (or could not be written)."""
        self._released.append((action, argument))
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._flush)

    def release_last(self, action: Release, argument: Any) -> None:
        """As ``release``, for an exchange's last bytes: at ``always`` they also wait for the disk (P9)."""
        if self._always:
            self._syncs.wait(action, argument)
            if not self._scheduled:
                self._scheduled = True
                self._loop.call_soon(self._flush)
        else:
            self.release(action, argument)

    def begin(self) -> None:
        """Count an exchange that this session is to hold."""
        self.in_flight += 1

    def end(self, *, dropped: bool = False, seq: int = 0) -> None:
        """Count an exchange as ended; ``dropped`` when it is not in the log whole."""
        self.in_flight -= 1
        if dropped:
            self._losses.count(1, [seq] if seq else [], soon=not self.full)
        if self._on_drained is not None:
            self._check_drained()

    def count_unrecorded(self, count: int = 1) -> None:
        """Count exchanges that passed while nothing could be recorded."""
        self._losses.count(count, soon=not self.full)

    @property
    def fd(self) -> int:
        """The segment that is written, -1 while there is none."""
        return self._writer.fd

    @property
    def last_seq(self) -> int:
        """The number that was given last, 0 for none."""
        return max(0, self._writer.next_seq - self._writer.step)

    def leave_segment(self) -> bool:
        """Go on in a new segment, because the current one is gone from its folder; return whether there is one.

        What was in it is lost. Its numbers are not given again, so readers name what they miss (P5, P11).
        """
        return self._writer.begin_new_segment(deleted=True)

    # -- writing -------------------------------------------------------------------------------------------------

    def _flush(self) -> None:
        self._scheduled = False
        writer = self._writer
        if writer.pending and not writer.flush():
            self.note_loss()
        released, self._released = self._released, []
        if not self._closed:  # what is written now is synced by ``close``
            self._syncs.written()
        act(self._loop, released)

    def note_loss(self) -> None:
        """Count what the writer could not write, or a failed sync took."""
        self._losses.note(soon=not self.full)

    def report_dropped(self) -> None:
        """Write what was dropped since the last report into the log itself (P10)."""
        self._losses.report()

    # -- durability ----------------------------------------------------------------------------------------------

    def sync_begins(self) -> None:
        """Note that a sync begins, of all that is written."""
        self._losses.drops.begin_sync()

    def sync_ends(self) -> None:
        """Note that it succeeded."""
        self._losses.drops.end_sync()

    def reports_in_doubt(self) -> list[Event]:
        """Return the reports of drops that a failed sync may have lost."""
        return self._losses.drops.again()

    def idle(self) -> None:
        """Note that no sync runs."""
        self._check_drained()

    # -- end -----------------------------------------------------------------------------------------------------

    def when_drained(self, action: Callable[[], None]) -> None:
        """Call ``action`` once no exchange of this session is in flight and no sync runs; next turn when that is so."""
        self._on_drained = action
        self._check_drained()

    def _check_drained(self) -> None:
        if self._on_drained is not None and not self.in_flight and not self._syncs.running:
            self._loop.call_soon(self._drained)

    @property
    def syncing(self) -> bool:
        """Whether the disk has a sync to answer; closed now, what that was to save is written a second time."""
        return self._syncs.running

    @property
    def in_doubt(self) -> bool:
        """Whether a sync failed, and what it should have saved is not written again yet."""
        return self._syncs.in_doubt

    def _drained(self) -> None:
        action, self._on_drained = self._on_drained, None
        if action is not None:
            action()

    def close(self) -> None:
        """Write what is gathered, seal the stream as finished, have it all on the disk and let go of it (P9)."""
        if self._closed:
            return
        self._closed = True
        self._losses.close()
        self._flush()
        self._syncs.close(self._seal)
        self._writer.release()
        self._syncs.release_all()

    def _seal(self) -> None:
        """Write the end of the stream, with what was dropped before it; to a new segment where this one fails."""
        for _ in range(2):
            if self._writer.fd < 0:
                self._writer.begin_new_segment()
            self._losses.report()
            sealed = self._writer.seal(final=True)
            self.note_loss()
            if sealed:
                return


class NullStream:
    """What exchanges write to when nothing is to be recorded: everything is released at once."""

    session_id = ""
    keep = 0
    epoch = 0
    accepting = True
    full = False
    refusing = False

    def __init__(self) -> None:
        self.in_flight = 0
        self.dropped = 0

    def take_seq(self) -> int:
        """There are no numbers without a log."""
        return 0

    def append(self, kind: int, seq: int, record: Record, data: bytes = b"", flags: int = 0) -> None:
        """Drop the frame."""

    def release(self, action: Release, argument: Any) -> None:
        """Do it now."""
        action(argument)

    release_last = release

    def begin(self) -> None:
        """Count."""
        self.in_flight += 1

    def end(self, *, dropped: bool = False, seq: int = 0) -> None:  # noqa: ARG002 -- as SessionStream.end
        """Count."""
        self.in_flight -= 1

    def count_unrecorded(self, count: int = 1) -> None:
        """Nothing is recorded, so nothing is missed."""
