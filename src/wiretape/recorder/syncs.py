"""When a session's stream is synced, what waits for it, and what is done when the disk refuses (P9)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from wiretape.log.format import Event, FrameType, Record
from wiretape.log.stream_writer import StreamWriter
from wiretape.settings import Durability

GROUP_SECONDS: Final = 0.15  # promise: at least every 200 ms; the rest is for the disk
MAX_FAILED_SYNCS: Final = 3
REWRITE_SECONDS: Final = 0.01
MAX_FAILED_REWRITES: Final = 10

Release = Callable[[Any], None]
Waiting = list[tuple[Release, Any]]


def act(loop: asyncio.AbstractEventLoop, actions: Waiting) -> None:
    """Do what waited; what one of them raises must not cost the others their bytes."""
    for action, argument in actions:
        try:
            action(argument)
        except Exception as error:  # noqa: BLE001 -- see above
            loop.call_exception_handler({"message": "a release failed", "exception": error})


class Owner(Protocol):
    """The stream that is synced, as far as syncs need it."""

    def append(self, kind: int, seq: int, record: Record, data: bytes = b"", flags: int = 0) -> None:
        """Gather a frame."""

    def note_loss(self) -> None:
        """Count what the writer could not write, or a failed sync took."""

    def sync_begins(self) -> None:
        """Note that a sync begins, of all that is written."""

    def sync_ends(self) -> None:
        """Note that it succeeded."""

    def reports_in_doubt(self) -> list[Event]:
        """Return the reports of drops that a failed sync may have lost."""

    def idle(self) -> None:
        """Note that no sync runs."""


@dataclass(slots=True)
class _Doubt:
    """What is not known after a sync that failed; ``cause`` is empty where there is no doubt."""

    cause: str = ""
    failed_syncs: int = 0
    failed_rewrites: int = 0

    @property
    def hopeless(self) -> bool:
        """Whether it was tried often enough."""
        return self.failed_syncs > MAX_FAILED_SYNCS or self.failed_rewrites >= MAX_FAILED_REWRITES


class Syncs:
    """The syncs of one stream, in a thread of the loop's, one at a time.

    Attributes:
        running: a sync has not been answered by the disk.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, writer: StreamWriter, owner: Owner, durability: Durability
    ) -> None:
        self._loop = loop
        self._writer = writer
        self._owner = owner
        self._group = durability == "group"
        self._waiting: Waiting = []
        self._in_sync: Waiting = []
        self.running = False
        self._due = False
        self._doubt = _Doubt()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def in_doubt(self) -> bool:
        """Whether a sync failed, and what it should have saved is not written again yet."""
        return bool(self._doubt.cause)

    def wait(self, action: Release, argument: Any) -> None:
        """Do ``action(argument)`` when what is gathered is on the disk."""
        self._waiting.append((action, argument))

    def written(self) -> None:
        """Take note that what was gathered is written: sync it now, in a while or never."""
        if self._waiting and not self._doubt.cause:  # a doubt is settled at its own pace
            self._start()
        elif self._group and self._timer is None:
            # Also while a sync runs: what is written meanwhile is not a part of it, and may be the last for long.
            self._timer = self._loop.call_later(GROUP_SECONDS, self._start)

    def _start(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._closed:
            return
        if self.running:
            self._due = True
            return
        if self._doubt.cause and not self._settle_doubt():
            self._timer = self._loop.call_later(REWRITE_SECONDS, self._start)
            return
        until = self._writer.here
        try:
            job = self._writer.sync_job()
        except OSError:  # out of descriptors: what waits for the disk goes on waiting, everything else goes on
            self._timer = self._loop.call_later(GROUP_SECONDS, self._start)
            return
        self.running = True
        self._owner.sync_begins()
        self._in_sync, self._waiting = self._waiting, []
        future = self._loop.run_in_executor(None, job)
        future.add_done_callback(lambda done: self._answered(done, until))

    def _answered(self, done: asyncio.Future[None], until: tuple[int, int]) -> None:
        self.running = False
        error = None if done.cancelled() else done.exception()
        if self._closed:  # ``close`` did not count on it
            return
        waiting, self._in_sync = self._in_sync, []
        if error is not None:
            self._doubt.failed_syncs += 1
            self._doubt.cause = str(error)
            self._waiting = waiting + self._waiting  # they wait for the copies' fsync
            self._owner.idle()
            self._start()
            return
        self._doubt.failed_syncs = 0
        self._writer.synced(until)
        self._owner.sync_ends()
        act(self._loop, waiting)
        if self._waiting or self._due:
            self._due = False
            self._start()
        self._owner.idle()

    def _settle_doubt(self) -> bool:
        """Write again what a failed sync should have saved: it is never tried again on the same file (P9).

        Where the disk refuses that as well, traffic goes on without the promise for what was written until now, and
        the log says so. False when it is still to be settled.
        """
        writer, doubt = self._writer, self._doubt
        segment, given_up = writer.number, doubt.hopeless
        if given_up:
            writer.leave_unsynced()
            doubt.failed_syncs = 0
        elif not writer.rewrite_unsynced():
            doubt.failed_rewrites += 1
            self._owner.note_loss()
            return False
        doubt.failed_rewrites = 0
        self._owner.note_loss()
        detail = {"segment": segment, "cause": doubt.cause, "rewritten": not given_up}
        doubt.cause = ""
        if writer.fd >= 0:
            for report in self._owner.reports_in_doubt():
                self._owner.append(FrameType.EVENT, 0, report)
            self._owner.append(FrameType.EVENT, 0, Event(time.time_ns(), "suspect", detail))
        if given_up:
            waiting, self._waiting = self._waiting, []
            act(self._loop, waiting)
        return True

    def close(self, seal: Callable[[], None]) -> None:
        """Have everything on the disk, also what ``seal`` writes; nothing is synced after it."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self.running and not self._doubt.cause:  # how it ends is told too late
            self._doubt.cause = "the session ended while a sync ran"
        # One attempt more than a sync may fail: the last one gives up what could not be saved, and says so.
        for _ in range(MAX_FAILED_SYNCS + 2):
            while self._doubt.cause and not self._settle_doubt():
                pass
            seal()
            try:
                self._writer.sync_job()()
                break
            except OSError as error:
                self._doubt.failed_syncs += 1
                self._doubt.cause = str(error)

    def release_all(self) -> None:
        """Do what still waits; the stream is closed."""
        act(self._loop, self._in_sync + self._waiting)
        self._in_sync, self._waiting = [], []
