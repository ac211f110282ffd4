"""Work that takes longer than an answer may: it goes on while its caller does something else, and can be asked for."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, Final, Literal

import msgspec

from wiretape.errors import NotFoundError, WiretapeError

KEPT: Final = 50
"""Jobs that have ended and are remembered with their results; a new one takes the oldest one's place."""
KEPT_BYTES: Final = 16 * 1024 * 1024
"""Bytes of JSON that the kept results may have together."""
State = Literal["running", "cancelling", "done", "failed", "cancelled"]


class JobCancelledError(WiretapeError):
    """The job was cancelled by who asked for it."""

    code = "cancelled"


class Job:
    """One piece of work.

    Attributes:
        number: its id.
        what: the tool whose work it is.
        open: whether recorded secrets stand in its result as they are.
        done: how far it is, in ``unit``.
        total: how far it goes, 0 where that is not known.
        task: the work itself.
        watch: called in the event loop when it is further; None where nobody waits.
    """

    def __init__(self, number: str, what: str, key: str, *, open_: bool) -> None:
        self.number = number
        self.what = what
        self.key = key
        self.open = open_
        self.done = 0
        self.total = 0
        self.unit = ""
        self.began = time.monotonic()
        self.took: float | None = None
        self.size = 0
        self.task: asyncio.Future[Any]
        self.watch: Callable[[], None] | None = None
        self._cancelled = threading.Event()
        self._loop = asyncio.get_running_loop()

    def progress(self, done: int, total: int, unit: str) -> None:
        """Take note of progress, from any thread.

        Raises:
            JobCancelledError: nobody wants it any more.
        """
        if self._cancelled.is_set():
            raise JobCancelledError(f"{self.what} was cancelled", hint="what it had written is gone again")
        self.done, self.total, self.unit = done, total, unit
        if self.watch is not None:
            self._loop.call_soon_threadsafe(self._tell)

    def _tell(self) -> None:
        if self.watch is not None:
            self.watch()

    def cancel(self) -> None:
        """Ask it to end; it does at its next step."""
        self._cancelled.set()

    @property
    def state(self) -> State:
        """How it stands."""
        if not self.task.done():
            return "cancelling" if self._cancelled.is_set() else "running"
        if self.task.cancelled():
            return "cancelled"
        error = self.task.exception()
        if error is None:
            return "done"
        return "cancelled" if isinstance(error, JobCancelledError) else "failed"

    @property
    def seconds(self) -> float:
        """How long it takes, or took."""
        return self.took if self.took is not None else time.monotonic() - self.began

    async def within(self, seconds: float) -> bool:
        """Wait for its end at most so long; return whether it has ended."""
        await asyncio.wait((self.task,), timeout=seconds)
        return self.task.done()


class Jobs:
    """The jobs of a daemon."""

    def __init__(self) -> None:
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._numbers = itertools.count(1)

    def begin(self, what: str, key: str, work: Callable[[Job], Awaitable[Any]], *, open_: bool) -> Job:
        """Begin some work.

        Args:
            what: the tool whose work it is.
            key: what is asked for: who asks for the same while it runs gets this job.
            work: does it.
            open_: recorded secrets stand in its result as they are.
        """
        job = Job(f"job-{next(self._numbers)}", what, key, open_=open_)

        async def run() -> Any:
            try:
                result = await work(job)
                job.size = await asyncio.to_thread(_size, result)
                return result
            finally:
                job.took = time.monotonic() - job.began

        job.task = asyncio.ensure_future(run())
        job.task.add_done_callback(_noticed)
        self._jobs[job.number] = job
        self._forget()
        return job

    def _forget(self) -> None:
        """Forget jobs that have ended, the oldest first, until the others are few and small enough."""
        ended = [one for one in self._jobs.values() if one.task.done()]
        size = sum(one.size for one in ended)
        while len(ended) > KEPT or size > KEPT_BYTES:
            oldest = ended.pop(0)
            size -= oldest.size
            del self._jobs[oldest.number]

    def same(self, key: str, *, open_: bool) -> Job | None:
        """Return the job that does the same already, or has done it and was not asked for its result yet."""
        return next((job for job in self._jobs.values() if job.key == key and job.open == open_), None)

    def settle(self, job: Job) -> None:
        """Take note that a job's result was given to who asked: the next one that asks the same begins anew."""
        job.key = ""

    def find(self, number: str, *, open_: bool) -> Job:
        """Return a job.

        Raises:
            NotFoundError: there is none of that id, or none that this caller may see.
        """
        job = self._jobs.get(number)
        if job is None or (job.open and not open_):
            known = ", ".join(list(self._jobs)[-5:])
            raise NotFoundError(
                f"there is no job {number[:40]!r}",
                hint=f"there are {known}" if known else "what is done within seconds has none",
                code="no-such-job",
            )
        return job

    @property
    def running(self) -> int:
        """How many have not ended."""
        return sum(not job.task.done() for job in self._jobs.values())

    async def close(self) -> None:
        """End all of them."""
        for job in self._jobs.values():
            job.cancel()
        running = [job.task for job in self._jobs.values() if not job.task.done()]
        if running:
            await asyncio.wait(running, timeout=5)
        for task in running:
            task.cancel()


def _size(result: Any) -> int:
    """Return how many bytes a result has as JSON."""
    return len(msgspec.json.encode(result, enc_hook=repr))


def _noticed(task: asyncio.Future[Any]) -> None:
    if not task.cancelled():
        task.exception()  # it is told to who asks, not to the loop
