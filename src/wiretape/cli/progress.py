"""Progress of long work: a bar on stderr for people, nothing for programs."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from wiretape.session.session import Session

Report = Callable[[int, int], None]
"""Called with the bytes done so far and the bytes in all; the second may grow while a log is written."""

PATIENCE = 0.3
"""Seconds after which it is worth showing a bar for work that is usually done at once."""


class _Bar:
    """A bar that appears at once, or when the work has taken ``patience`` seconds."""

    def __init__(self, what: str, patience: float) -> None:
        self._what = what
        self._patience = patience
        self._begun = time.monotonic()
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        if not patience:
            self._show()

    def __call__(self, done: int, total: int) -> None:
        """Show bytes done and in all."""
        if self._bar is None and time.monotonic() - self._begun >= self._patience:
            self._show()
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done, total=total or None)

    def _show(self) -> None:
        self._bar = _make_bar()
        self._bar.start()
        self._task = self._bar.add_task(self._what, total=None)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()


def _make_bar() -> Progress:
    # rich costs a tenth of a second: only those who see the bar pay it.
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    return Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True)


@contextmanager
def progress(what: str, *, quiet: bool = False, patience: float = 0.0) -> Iterator[Report | None]:
    """Show a bar with rate and time left while the block runs, where stderr is a terminal.

    Args:
        what: the work, in a word.
        quiet: show nothing, whatever stderr is.
        patience: show nothing either before the work has taken so many seconds.

    Yields:
        What the work is to call as it goes, or None where nobody would see it.
    """
    if quiet or not sys.stderr.isatty():
        yield None
        return
    bar = _Bar(what, patience)
    try:
        yield bar
    finally:
        bar.close()


def bring_up(session: Session) -> None:
    """Bring a session's index up to its log's end under a bar, before an answer that would have to wait for that."""
    with progress("index", patience=PATIENCE) as report:
        if report is not None:
            session.follow(report)
