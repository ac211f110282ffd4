"""Whether a log is still where it is written to: somebody may delete it, or move it away, in the middle (P10)."""

from __future__ import annotations

import os
from enum import Enum
from pathlib import Path
from typing import Final

LOOK_EVERY: Final = 1.0
"""Seconds between two looks. Each costs two calls to the kernel."""


class Missing(Enum):
    """What is not there any more."""

    NOTHING = "nothing"
    SEGMENT = "segment"
    FOLDER = "folder"


class Place:
    """The log folder of a session.

    Args:
        log_dir: the folder, which is there now.
    """

    def __init__(self, log_dir: Path) -> None:
        self._log_dir = log_dir
        self._identity = _identity(log_dir)

    def look(self, fd: int) -> Missing:
        """Return what is missing: the folder, in whose place another one may lie, or the segment ``fd`` (-1: none)."""
        if _identity(self._log_dir) != self._identity:
            return Missing.FOLDER
        # A deleted file has no name left.
        if fd >= 0 and os.fstat(fd).st_nlink == 0:
            return Missing.SEGMENT
        return Missing.NOTHING


def _identity(folder: Path) -> tuple[int, int] | None:
    try:
        found = folder.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
