"""A proxy port, the recorders that serve it, and the session they write: started, watched, restarted, stopped.

The listening socket stays here and is inherited by every recorder, so that a killed recorder's successor serves the
same port, and connections that arrive in between wait in the same backlog instead of being refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from wiretape.daemon.listen import close_listener
from wiretape.daemon.recorder_process import RecorderProcess
from wiretape.errors import DaemonError, WiretapeError
from wiretape.settings import (
    SESSION_GONE,
    Address,
    ArrivalSettings,
    RecorderSettings,
    RecordTarget,
    UpstreamSettings,
    to_wire,
)

log = logging.getLogger(__name__)

STEADY = 5.0
"""Seconds after which a recorder's end counts as an accident, not as one of a series."""

BACKOFF_FIRST, BACKOFF_MAX = 0.05, 5.0
"""Seconds between restarts of a recorder that ends again and again; the first restart is immediate."""

CLOSE_WAIT = 2.0
"""Seconds that closing a session waits for the exchanges still running in it; they are finished after that."""

COUNTS = (
    "inFlight",
    "connections",
    "exchanges",
    "dropped",
    "unreported",
    "blocked",
    "refused",
    "passed",
    "withoutHttp2",
)
"""What recorders count; ``blocked`` are sessions that cannot be recorded at the moment, ``withoutHttp2`` recorders
whose library for it could not be loaded."""


class _Worker:
    """One place in the row of recorders: whoever holds it at the moment, and the lock that orders its commands."""

    def __init__(self) -> None:
        self.recorder: RecorderProcess | None = None
        self.lock = asyncio.Lock()
        self.restarts = 0
        self.recorded: str | None = None


class Capture:
    """A running proxy.

    Args:
        listener: the listening socket; it is closed with the capture.
        root: the folder with the CA.
        upstream: how servers are trusted, and by how many recorders they are asked.
        api: where the daemon's API listens, if it does.
        loop: the recorders' event loop, ``uvloop`` or ``asyncio``.
        on_gone: called with the id of a session whose folder was deleted while it is recorded; it is to call
            ``record`` with another one.
        on_note: called with a sentence about the recording that somebody should read.
        source: what the log says of how clients came (``replay``); empty: how each did come.
        arrivals: how they may come.
    """

    def __init__(
        self,
        listener: socket.socket,
        root: Path,
        upstream: UpstreamSettings,
        *,
        api: Address | None = None,
        loop: str = "uvloop",
        on_gone: Callable[[str], Awaitable[None]] | None = None,
        on_note: Callable[[str], None] = lambda _: None,
        source: str = "",
        arrivals: ArrivalSettings = ArrivalSettings(),  # noqa: B008  it is frozen
    ) -> None:
        self._listener = listener
        host, port = listener.getsockname()[:2]
        self.address = Address(host=host, port=port)
        self.upstream = upstream
        self.arrivals = arrivals
        self.target: RecordTarget | None = None
        self.rules: list[dict[str, Any]] = []
        self._loop = loop
        self._on_gone = on_gone
        self._on_note = on_note
        self._replacing: set[asyncio.Task[None]] = set()
        self._settings = RecorderSettings(
            root=root,
            listen_fd=listener.fileno(),
            streams=upstream.workers,
            upstream=upstream,
            api=api,
            source=source,
            arrivals=arrivals,
        )
        self._workers = [_Worker() for _ in range(upstream.workers)]
        self._keepers: list[asyncio.Task[None]] = []
        self._closings: set[asyncio.Task[None]] = set()
        self._further: dict[str, socket.socket] = {}
        self._stopping = False

    @property
    def pids(self) -> list[int]:
        """The process ids of the recorders that run now."""
        return [worker.recorder.pid for worker in self._workers if worker.recorder is not None]

    @property
    def restarts(self) -> int:
        """How often a recorder ended by itself and was replaced."""
        return sum(worker.restarts for worker in self._workers)

    async def start(self, target: RecordTarget | None) -> None:
        """Start the recorders and return once they accept connections.

        Args:
            target: the session to record to, None to pass traffic on unrecorded.

        Raises:
            DaemonError: a recorder does not start; nothing is left running.
        """
        self.target = target
        try:
            await asyncio.gather(*(self._launch(index) for index in range(len(self._workers))))
        except BaseException:
            await self.stop()
            raise
        self._keepers = [asyncio.create_task(self._keep(index)) for index in range(len(self._workers))]

    async def record(self, target: RecordTarget | None) -> None:
        """Send new exchanges to another session, or to none, and let the old one end when its exchanges have.

        Raises:
            DaemonError: a recorder cannot write there; then all go on as before.
        """
        old, self.target = self.target, target
        if target is not None:
            try:
                await asyncio.gather(*(self._tell_record(worker, target) for worker in self._workers))
            except DaemonError:
                self.target = old
                await self._close(target)
                raise
        if old is not None:
            await self._close(old)

    async def follow_rules(self, rules: list[dict[str, Any]], event: dict[str, Any]) -> None:
        """Have all recorders follow a whole set of rules, for exchanges that begin from now on (P16).

        Args:
            rules: as recorders take them, checked.
            event: what the log says of the change.

        Raises:
            DaemonError: a recorder cannot; then all go on as before.
        """
        before, self.rules = self.rules, rules
        try:
            await asyncio.gather(*(self._tell_rules(index, event) for index in range(len(self._workers))))
        except DaemonError:
            self.rules = before
            with contextlib.suppress(DaemonError):
                await asyncio.gather(*(self._tell_rules(index, {}) for index in range(len(self._workers))))
            raise

    async def _tell_rules(self, index: int, event: dict[str, Any]) -> None:
        worker = self._workers[index]
        async with worker.lock:
            recorder = worker.recorder
            if recorder is None:
                return  # its successor starts with them
            try:
                await recorder.ask("rules", rules=self._share(self.rules, index), event=event)
            except DaemonError:
                if recorder.alive:
                    raise

    def _share(self, rules: list[dict[str, Any]], index: int) -> list[dict[str, Any]]:
        """Return the rules for one of the recorders: what counts exchanges is shared out between them."""
        count = len(self._workers)
        if count == 1:
            return rules
        shared = []
        for rule in rules:
            times = rule.get("times")
            mine = times if times is None else times // count + (index < times % count)
            if mine != 0:
                shared.append(rule if times is None else {**rule, "times": mine})
        return shared

    async def hits(self) -> dict[str, int]:
        """Return how often each rule has acted since this was last asked."""
        total: dict[str, int] = {}
        for worker in self._workers:
            if worker.recorder is not None:
                with contextlib.suppress(DaemonError):
                    for rule, count in (await worker.recorder.ask("hits", within=5))["hits"].items():
                        total[rule] = total.get(rule, 0) + int(count)
        return total

    async def mark(self, session_id: str, label: str, wall_ns: int) -> int:
        """Write a labelled point into the session's log, by each recorder into its stream.

        Returns:
            The highest number that was given before it.

        Raises:
            DaemonError, StorageError: a recorder could not write it.
        """
        recorders = [worker.recorder for worker in self._workers if worker.recorder is not None]
        fields: dict[str, Any] = {"sessionId": session_id, "label": label, "wallNs": wall_ns}
        answers = await asyncio.gather(*(recorder.ask("mark", **fields) for recorder in recorders))
        if not answers:
            raise DaemonError("no recorder runs at the moment", hint="`wiretape status` says why; try again")
        return max(int(answer["lastSeq"]) for answer in answers)

    async def listen(self, sockets: Mapping[str, socket.socket]) -> None:
        """Have all recorders serve further sockets, their successors, too, until ``unlisten``; they are closed then.

        Args:
            sockets: by kind: ``transparent`` (a listening one) or ``udp``.

        Raises:
            DaemonError: a recorder does not take one; then none is served.
        """
        self._further |= sockets
        try:
            await asyncio.gather(*(self._tell_listen(worker, sockets) for worker in self._workers))
        except DaemonError:
            await self.unlisten(list(sockets))
            raise

    async def _tell_listen(self, worker: _Worker, sockets: Mapping[str, socket.socket]) -> None:
        async with worker.lock:  # one that is being replaced gets them at its start
            if worker.recorder is not None:
                for kind, one in sockets.items():
                    await worker.recorder.hand_over(kind, one)

    async def unlisten(self, kinds: Sequence[str]) -> None:
        """Have no recorder serve these any more; connections that are there go on."""
        for kind in kinds:
            found = self._further.pop(kind, None)
            if found is not None:
                found.close()
        for worker in self._workers:
            async with worker.lock:
                for kind in kinds:
                    if worker.recorder is not None:
                        with contextlib.suppress(DaemonError):
                            await worker.recorder.ask("unlisten", kind=kind)

    async def stats(self) -> dict[str, int]:
        """Return the sums of what the recorders count, see ``COUNTS``; the log then has what was dropped."""
        total = dict.fromkeys(COUNTS, 0)
        for worker in self._workers:
            if worker.recorder is None:
                continue
            with contextlib.suppress(DaemonError):
                event = await worker.recorder.ask("stats", within=2)
                for key in total:
                    total[key] += int(event.get(key) or 0)
        return total

    async def stop(self) -> None:
        """Stop accepting, let what runs finish for a moment, seal the log, end the recorders."""
        self._stopping = True
        for task in [*self._keepers, *self._closings, *self._replacing]:
            task.cancel()
        await asyncio.gather(*self._keepers, *self._closings, *self._replacing, return_exceptions=True)
        self._listener.close()
        for further in self._further.values():
            close_listener(further)
        recorders = [worker.recorder for worker in self._workers if worker.recorder is not None]
        for worker in self._workers:
            worker.recorder = None
        await asyncio.gather(*(recorder.stop() for recorder in recorders))

    async def _launch(self, index: int) -> None:
        """Start one recorder: configured, recording, accepting; a successor also while its disk is full (P10)."""
        worker = self._workers[index]
        async with worker.lock:
            settings = msgspec.structs.replace(self._settings, stream=index)
            recorder = await RecorderProcess.spawn(settings, loop=self._loop, on_event=self._take)
            try:
                if self.target is not None:
                    await _record(recorder, worker, self.target)
                if self.rules:
                    await recorder.ask("rules", rules=self._share(self.rules, index))
                await recorder.ask("accept")
                for kind, one in self._further.items():
                    await recorder.hand_over(kind, one)
            except BaseException:
                recorder.kill()
                await recorder.ended()
                raise
            worker.recorder = recorder

    async def _keep(self, index: int) -> None:
        """Replace one recorder whenever it ends, at once, and ever later when it ends again and again."""
        worker = self._workers[index]
        delay = 0.0
        while not self._stopping:
            recorder = worker.recorder
            started = time.monotonic()
            if recorder is not None:
                how = await recorder.ended()
                worker.recorder = None
                if time.monotonic() - started > STEADY:
                    delay = 0.0
                log.warning("recorder %d %s; starting another on %s", recorder.pid, how, self.address)
            await asyncio.sleep(delay)
            delay = min(max(BACKOFF_FIRST, delay * 2), BACKOFF_MAX)
            worker.restarts += 1
            try:
                await self._launch(index)
            except DaemonError as error:
                if error.code == SESSION_GONE and worker.recorded is not None:
                    await self._gone(worker.recorded)
                log.error("no recorder could be started for %s: %s", self.address, error)  # noqa: TRY400  a cause, no bug

    def _take(self, event: dict[str, Any]) -> None:
        """Take note of what a recorder tells unasked."""
        session_id = str(event.get("sessionId"))
        if event.get("event") == "gone" and not self._replacing:
            task = asyncio.create_task(self._gone(session_id))
            self._replacing.add(task)
            task.add_done_callback(self._replacing.discard)
        elif event.get("event") == "segment-gone":
            self._on_note(
                f"a segment of session {session_id} was deleted while it was written: what was in it is lost, "
                "and a new one goes on"
            )

    async def _gone(self, session_id: str) -> None:
        """Have a session that was deleted replaced; what fails is said, and tried again when it is told again."""
        if self._on_gone is None or self._stopping or self.target is None or self.target.session_id != session_id:
            return
        try:
            await self._on_gone(session_id)
        except WiretapeError as error:
            log.error("session %s is gone, and no other one can be begun: %s", session_id, error)  # noqa: TRY400

    async def _tell_record(self, worker: _Worker, target: RecordTarget) -> None:
        """Have one recorder write new exchanges to ``target``; one that is being replaced learns it at its start."""
        async with worker.lock:
            recorder = worker.recorder
            if recorder is None:
                return
            try:
                await _record(recorder, worker, target)
            except DaemonError:
                # One that died in between is replaced, and its successor starts with the new target.
                if recorder.alive:
                    raise

    async def _close(self, target: RecordTarget) -> None:
        """End a session in all recorders, waiting no longer than ``CLOSE_WAIT`` for what still runs in it."""

        async def close(recorder: RecorderProcess) -> None:
            with contextlib.suppress(DaemonError):
                await recorder.ask("close", within=86_400, sessionId=target.session_id)

        tasks = {asyncio.create_task(close(worker.recorder)) for worker in self._workers if worker.recorder is not None}
        self._closings |= tasks
        for task in tasks:
            task.add_done_callback(self._closings.discard)
        if tasks:
            await asyncio.wait(tasks, timeout=CLOSE_WAIT)


async def _record(recorder: RecorderProcess, worker: _Worker, target: RecordTarget) -> None:
    """Have a recorder write to a session; one that its predecessor has written, it goes on with."""
    resume = worker.recorded == target.session_id
    await recorder.ask("record", **to_wire(msgspec.structs.replace(target, resume=resume)))
    worker.recorded = target.session_id
