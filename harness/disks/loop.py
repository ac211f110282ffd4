"""An event loop whose time is a number: the same calls in the same order, whatever the machine is doing."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any


class Handle:
    """A call that is to be made."""

    def __init__(self, action: Callable[[], None]) -> None:
        self.action: Callable[[], None] | None = action

    def cancel(self) -> None:
        """Do not make it."""
        self.action = None


class Outcome:
    """How a job in the executor ended."""

    def __init__(self) -> None:
        self._error: BaseException | None = None
        self._waiting: list[Callable[[Any], None]] = []

    def cancelled(self) -> bool:
        """Jobs are never cancelled."""
        return False

    def exception(self) -> BaseException | None:
        """What it raised."""
        return self._error

    def add_done_callback(self, action: Callable[[Any], None]) -> None:
        """Call ``action`` when it has ended."""
        self._waiting.append(action)

    def end(self, error: BaseException | None) -> None:
        """Say how it ended."""
        self._error = error
        for action in self._waiting:
            action(self)


class SimulatedLoop:
    """What the recorder's stream uses of a loop.

    Attributes:
        before_job: called when a job is handed to the executor; gives the seconds that it will take.
        errors: what was given to the exception handler.
    """

    def __init__(self, before_job: Callable[[], float]) -> None:
        self.before_job = before_job
        self.errors: list[dict[str, Any]] = []
        self._now = 0.0
        self._order = 0
        self._calls: list[tuple[float, int, Handle]] = []

    def time(self) -> float:
        """Seconds since the loop was made."""
        return self._now

    def call_soon(self, action: Callable[..., None], *arguments: Any) -> Handle:
        """Call in the next turn."""
        return self.call_later(0.0, action, *arguments)

    def call_later(self, delay: float, action: Callable[..., None], *arguments: Any) -> Handle:
        """Call after ``delay`` seconds."""
        handle = Handle(lambda: action(*arguments))
        self._order += 1
        heapq.heappush(self._calls, (self._now + delay, self._order, handle))
        return handle

    def run_in_executor(self, _: None, job: Callable[[], None]) -> Outcome:
        """Run ``job``; its effects come when the time it takes is over."""
        outcome = Outcome()
        self.call_later(self.before_job(), self._do, job, outcome)
        return outcome

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Keep what went wrong."""
        self.errors.append(context)

    def run(self, until: float) -> None:
        """Make all calls that are due up to a time."""
        while self._calls and self._calls[0][0] <= until:
            self._now, _, handle = heapq.heappop(self._calls)
            if handle.action is not None:
                handle.action()
        self._now = until

    @staticmethod
    def _do(job: Callable[[], None], outcome: Outcome) -> None:
        try:
            job()
        except OSError as error:
            outcome.end(error)
        else:
            outcome.end(None)
