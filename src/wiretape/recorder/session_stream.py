"""The tape: where exchanges put their frames, and what waits until those are in the log.

All frames made in one turn of the loop go out with one ``write``; only then are the bytes that depended on them
released (P1, P2). Gathering them cost 0 to 15 % of the throughput in the prototype.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

from wiretape.log.format import Event, FrameType, Record
from wiretape.log.seqs import Seqs
from wiretape.log.stream_writer import LogWriter
from wiretape.model import PREVIEW_BYTES, Durability, OnFull, Profile
from wiretape.recorder.losses import Drops

GROUP_SECONDS: Final = 0.15  # promise: at least every 200 ms; the rest is for the disk
RETRY_SECONDS: Final = 1.0
CAPPED_REPORT_SECONDS: Final = 10.0  # each report takes bytes that the cap has no room for
MAX_FAILED_SYNCS: Final = 3
REWRITE_SECONDS: Final = 0.01
MAX_FAILED_REWRITES: Final = 10
EVENT_RESERVE: Final = 256 * 1024  # kept below the cap so that the end of a session can always be written

Release = Callable[[Any], None]


class Tape:
    """One session's stream on the recorder's loop.

    Attributes:
        session_id: the session.
        keep: how many bytes of each body are recorded.
        in_flight: exchanges begun and not ended.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        writer: LogWriter,
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
        self._step = writer.step
        self._drops = Drops(writer.step)
        self.take_seq = writer.take_seq
        self._always = durability == "always"
        self._group = durability == "group"
        self._cap = max_disk
        self._refuse = on_full == "refuse"
        self._released: list[tuple[Release, Any]] = []
        self._durable: list[tuple[Release, Any]] = []
        self._in_sync: list[tuple[Release, Any]] = []
        self._scheduled = False
        self._syncing = False
        self._sync_due = False
        self._failed_syncs = 0
        self._failed_rewrites = 0
        self._in_doubt = ""
        self._sync_timer: asyncio.TimerHandle | None = None
        self._blocked_until = 0.0
        self._report_timer: asyncio.TimerHandle | None = None
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
        return ((writer.fd >= 0 and not writer.in_reserve) or self._try_again()) and not self.full

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
        return self._drops.unreported

    @property
    def refusing(self) -> bool:
        """Whether traffic that cannot be recorded is to be refused."""
        return self._refuse

    @property
    def dropped(self) -> int:
        """Exchanges that passed unrecorded or were recorded in part since the start."""
        return self._drops.total

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
            self._durable.append((action, argument))
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
            self._count_dropped(1, Seqs(self._step, [seq] if seq else []))
        self._check_drained()

    def count_unrecorded(self, count: int = 1) -> None:
        """Count exchanges that passed while nothing could be recorded."""
        self._count_dropped(count)

    @property
    def fd(self) -> int:
        """The segment that is written, -1 while there is none."""
        return self._writer.fd

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
            self._note_loss()
        released, self._released = self._released, []
        if self._closed:
            pass  # what is written now is synced by ``close``
        elif self._durable and not self._in_doubt:  # a doubt is settled at its own pace
            self._start_sync()
        elif self._group and self._sync_timer is None:
            # Also while a sync runs: what is written meanwhile is not a part of it, and may be the last for long.
            self._sync_timer = self._loop.call_later(GROUP_SECONDS, self._start_sync)
        self._act(released)

    def _act(self, actions: list[tuple[Release, Any]]) -> None:
        for action, argument in actions:
            try:
                action(argument)
            except Exception as error:  # noqa: BLE001 -- must not cost the others their bytes
                self._loop.call_exception_handler({"message": "a release failed", "exception": error})

    def _note_loss(self) -> None:
        """Count what the writer could not write, or a failed sync took."""
        writer = self._writer
        if not writer.lost and not writer.gone:
            return
        self._blocked_until = self._loop.time() + RETRY_SECONDS
        done = Seqs(self._step, [seq for kind, seq in writer.lost if kind == FrameType.DONE])
        done.add(writer.gone)
        writer.lost.clear()
        writer.gone.clear()
        self._count_dropped(len(done), done)

    def _count_dropped(self, count: int, seqs: Seqs | None = None) -> None:
        self._drops.add(count, seqs)
        if self._report_timer is None and not self._closed:
            delay = CAPPED_REPORT_SECONDS if self.full else RETRY_SECONDS
            self._report_timer = self._loop.call_later(delay, self.report_dropped)

    def _try_again(self) -> bool:
        now = self._loop.time()
        if now < self._blocked_until:
            return False
        self._blocked_until = now + RETRY_SECONDS
        writer = self._writer
        went_on = writer.leave_reserve() if writer.in_reserve else writer.begin_new_segment()
        self.report_dropped()
        return went_on

    def report_dropped(self) -> None:
        """Write what was dropped since the last report into the log itself (P10)."""
        if self._report_timer is not None:
            self._report_timer.cancel()
            self._report_timer = None
        writer, drops = self._writer, self._drops
        if not drops.unreported or writer.fd < 0:
            return
        if writer.pending and not writer.flush():  # what else is gathered has an end of its own
            self._note_loss()
        while drops.unreported and writer.fd >= 0:
            writer.append(FrameType.EVENT, 0, drops.report(brief=writer.in_reserve))
            if not writer.flush(last=self._closed):
                drops.refused()
                self._note_loss()
                return
            drops.written()

    # -- durability ----------------------------------------------------------------------------------------------

    def _start_sync(self) -> None:
        if self._sync_timer is not None:
            self._sync_timer.cancel()
            self._sync_timer = None
        if self._closed:
            return
        if self._syncing:
            self._sync_due = True
            return
        if self._in_doubt and not self._settle_doubt():
            self._sync_timer = self._loop.call_later(REWRITE_SECONDS, self._start_sync)
            return
        until = self._writer.here
        try:
            job = self._writer.sync_job()
        except OSError:  # out of descriptors: what waits for the disk goes on waiting, everything else goes on
            self._sync_timer = self._loop.call_later(GROUP_SECONDS, self._start_sync)
            return
        self._syncing = True
        self._drops.begin_sync()
        self._in_sync, self._durable = self._durable, []
        future = self._loop.run_in_executor(None, job)
        future.add_done_callback(lambda done: self._synced(done, until))

    def _synced(self, done: asyncio.Future[None], until: tuple[int, int]) -> None:
        self._syncing = False
        error = None if done.cancelled() else done.exception()
        if self._closed:  # ``close`` did not count on it
            return
        waiting, self._in_sync = self._in_sync, []
        if error is not None:
            self._failed_syncs += 1
            self._in_doubt = str(error)
            self._durable = waiting + self._durable  # they wait for the copies' fsync
            self._check_drained()
            self._start_sync()
            return
        self._failed_syncs = 0
        self._writer.synced(until)
        self._drops.end_sync()
        self._act(waiting)
        if self._durable or self._sync_due:
            self._sync_due = False
            self._start_sync()
        self._check_drained()

    def _settle_doubt(self) -> bool:
        """A failed fsync is never tried again on the same file: write again what it should have saved (P9).

        Where the disk refuses that as well, traffic goes on without the promise for what was written until now, and
        the log says so. False when it is still to be settled.
        """
        segment = self._writer.number
        given_up = self._failed_syncs > MAX_FAILED_SYNCS or self._failed_rewrites >= MAX_FAILED_REWRITES
        if given_up:
            self._writer.leave_unsynced()
            self._failed_syncs = 0
        elif not self._writer.rewrite_unsynced():
            self._failed_rewrites += 1
            self._note_loss()
            return False
        self._failed_rewrites = 0
        self._note_loss()
        detail = {"segment": segment, "cause": self._in_doubt, "rewritten": not given_up}
        self._in_doubt = ""
        if self._writer.fd >= 0:
            for report in self._drops.again():
                self.append(FrameType.EVENT, 0, report)
            self.append(FrameType.EVENT, 0, Event(time.time_ns(), "suspect", detail))
        if given_up:
            waiting, self._durable = self._durable, []
            self._act(waiting)
        return True

    # -- end -----------------------------------------------------------------------------------------------------

    def when_drained(self, action: Callable[[], None]) -> None:
        """Call ``action`` once no exchange of this session is in flight and no sync runs; next turn when that is so."""
        self._on_drained = action
        self._check_drained()

    def _check_drained(self) -> None:
        if self._on_drained is not None and not self.in_flight and not self._syncing:
            self._loop.call_soon(self._drained)

    @property
    def syncing(self) -> bool:
        """Whether the disk has a sync to answer; closed now, what that was to save is written a second time."""
        return self._syncing

    def _drained(self) -> None:
        action, self._on_drained = self._on_drained, None
        if action is not None:
            action()

    def close(self) -> None:
        """Write what is gathered, seal the stream as finished, have it all on the disk and let go of it (P9)."""
        if self._closed:
            return
        self._closed = True
        self._flush()
        for timer in (self._sync_timer, self._report_timer):
            if timer is not None:
                timer.cancel()
        if self._syncing and not self._in_doubt:  # how it ends is told too late
            self._in_doubt = "the session ended while a sync ran"
        # One attempt more than a sync may fail: the last one gives up what could not be saved, and says so.
        for _ in range(MAX_FAILED_SYNCS + 2):
            while self._in_doubt and not self._settle_doubt():
                pass
            self._seal()
            try:
                self._writer.sync_job()()
                break
            except OSError as error:
                self._failed_syncs += 1
                self._in_doubt = str(error)
        self._writer.release()
        self._act(self._in_sync + self._durable)
        self._in_sync, self._durable = [], []

    def _seal(self) -> None:
        """Write the end of the stream, with what was dropped before it; to a new segment where this one fails."""
        for _ in range(2):
            if self._writer.fd < 0:
                self._writer.begin_new_segment()
            self.report_dropped()
            sealed = self._writer.seal(final=True)
            self._note_loss()
            if sealed:
                return


class NullTape:
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

    def end(self, *, dropped: bool = False, seq: int = 0) -> None:  # noqa: ARG002 -- as Tape.end
        """Count."""
        self.in_flight -= 1

    def count_unrecorded(self, count: int = 1) -> None:
        """Nothing is recorded, so nothing is missed."""
