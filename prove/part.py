"""What every part of the proof is: a function that takes a ``Task`` and gives a ``Result``."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Figure = int | float | str


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What a part is asked to do.

    Args:
        folder: an empty folder of the part's own; what does not hold is left there.
        seed: everything that is drawn depends on it.
        effort: 1.0 is all of the work, the figures of ``docs/reliability.md``; 0.01 a hundredth of it, at least once.
        report: called with (done, total, a few words) as often as the part likes.
        rounds: how many rounds the part ``kills`` runs.
        kept: what ``keep`` was last given by a proof that this one goes on with, None in the first.
        keep: stores a JSON object, so that a proof that is interrupted can go on here.
    """

    folder: Path
    seed: str
    effort: float
    report: Callable[[int, int, str], None]
    rounds: int = 1
    kept: dict[str, Any] | None = None
    keep: Callable[[dict[str, Any]], None] = lambda _: None

    def share(self, whole: int, at_least: int = 1) -> int:
        """Return how many of ``whole`` repetitions this effort means."""
        return max(at_least, min(whole, round(whole * self.effort)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a part found: ``figures`` for the account, in order, and a sentence for each thing that does not hold."""

    figures: dict[str, Figure]
    failures: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether every promise was kept."""
        return not self.failures


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the proof: its name, what it proves in one sentence, and what runs it."""

    name: str
    says: str
    run: Callable[[Task], Result]


@contextmanager
def all_cores() -> Iterator[ProcessPoolExecutor]:
    """Work on all cores; what has not begun when the block is left by an error, or by Ctrl-C, never does."""
    pool = ProcessPoolExecutor(os.cpu_count() or 1)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
