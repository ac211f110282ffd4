"""How much room the disk under the sessions has, and when that is worth a warning."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SHARE: Final = 0.05
BYTES: Final = 1 << 30
"""A disk is nearly full below this share, or below these bytes."""


@dataclass(frozen=True, slots=True)
class Space:
    """Bytes of a disk that we may still use, and of all of it."""

    free: int
    total: int

    @property
    def nearly_full(self) -> bool:
        """Whether somebody should make room soon."""
        return self.free < BYTES or self.free < self.total * SHARE


def space(folder: Path) -> Space | None:
    """Measure the disk that a folder is on; None where it does not say."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return None
    return Space(found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize)


def warnings(disk: Space | None, *, dropped: int, blocked: bool, refuses: bool) -> list[str]:
    """Say what endangers the recording, and what to do.

    Args:
        disk: the disk that is recorded to.
        dropped: exchanges that were not recorded, or in part.
        blocked: whether nothing can be recorded at the moment.
        refuses: whether requests are refused meanwhile.
    """
    found = []
    if disk is not None and disk.nearly_full:
        room = f"{disk.free / 1e6:,.0f} MB of {disk.total / 1e6:,.0f} MB are free"
        found.append(f"the disk is nearly full: {room}; `wiretape prune` makes room")
    if blocked:
        meanwhile = "requests are refused" if refuses else "traffic passes on unrecorded"
        found.append(f"nothing can be recorded now (disk full, failing, or --max-disk reached): {meanwhile}")
    if dropped:
        found.append(f"{dropped} exchanges could not be recorded whole; the log says when")
    return found
