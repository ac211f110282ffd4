"""Keeping the memory that work needs again and again, and giving back what a burst has left behind.

What a thousand TLS handshakes or downloads took lies in glibc's heap in pieces after them: free, but between pieces
that are still used, so that the heap's end never comes free and the process stays as large as its largest moment
(2,000 abandoned handshakes: 375 MiB, of which 316 were free). ``malloc_trim`` gives back the free pages in the middle.
It holds the heap's lock meanwhile, a millisecond for each 10 MiB or so, hence only when there is something to give and
little to do.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

LOOK_EVERY: Final = 10.0
"""Seconds between two looks; each reads one line of /proc."""

WORTH: Final = 16 << 20
"""Bytes above what was left the last time from which it is tried again."""

KEPT: Final = 16 << 20
"""Free bytes at the heap's end that stay with a recorder, for the next turn of its loop."""

LARGE: Final = 1 << 20
"""Bytes from which an allocation is not of the heap. A recorder's own are smaller, a batch of many bodies apart."""

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3


def keep_freed() -> None:
    """Let glibc keep up to ``KEPT`` free bytes at the heap's end; another C library is left as it is.

    By itself it keeps 128 KiB. A turn of the loop frees the bodies that it recorded, a megabyte or two, and the next
    one had to fault each page in anew: a third of the CPU that a recorded body of 100 KB took.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(_M_TRIM_THRESHOLD, KEPT)
    # Setting the one ends that glibc adapts the other, which would stay at 128 KiB.
    mallopt(_M_MMAP_THRESHOLD, LARGE)


class Trimmer:
    """Keeps a process close to what it needs.

    Args:
        resident: returns the bytes of memory that the process has, 0 where that cannot be told.
        trim: gives free memory back.
    """

    def __init__(self, resident: Callable[[], int] | None = None, trim: Callable[[], None] | None = None) -> None:
        self._resident = resident or resident_bytes
        self._trim = trim or _malloc_trim()
        self._left = self._resident()
        self._again = False

    def look(self, *, busy: bool = False) -> bool:
        """Give memory back if there may be much of it, and nothing to disturb; return whether it was tried.

        After an attempt that found much it is tried again at the next look, because what a burst took comes free over
        some seconds; after one that found little, only when the process has grown further.
        """
        now = self._resident()
        if now - self._left < WORTH and not self._again:
            self._left = min(self._left, now)
            return False
        if busy or self._trim is None:
            return False
        self._trim()
        self._left = self._resident()
        self._again = now - self._left >= WORTH
        return True


def resident_bytes() -> int:
    """Return the memory that this process has, 0 where the system does not tell it like Linux."""
    try:
        return int(Path("/proc/self/statm").read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def _malloc_trim() -> Callable[[], None] | None:
    """Return glibc's function; other C libraries have none, and need none: theirs give memory back by themselves."""
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return None
    trim.argtypes = [ctypes.c_size_t]
    trim.restype = ctypes.c_int
    return lambda: trim(0) and None
