"""Progress of long work: a bar on stderr for people, nothing for programs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Report = Callable[[int, int], None]
"""Called with the bytes done so far and the bytes in all; the second may grow while a log is written."""


@contextmanager
def progress(what: str, *, quiet: bool = False) -> Iterator[Report | None]:
    """Show a bar while the block runs, where stderr is a terminal.

    Args:
        what: the work, in a word.
        quiet: show nothing, whatever stderr is.

    Yields:
        What the work is to call as it goes, or None where nobody would see it.
    """
    if quiet or not sys.stderr.isatty():
        yield None
        return
    # rich costs a tenth of a second: only those who see the bar pay it.
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total or None)
