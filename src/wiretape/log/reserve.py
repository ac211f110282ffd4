"""A reserve on the disk: when the rest of it is full, what must still be written becomes a segment in here (P10).

The reserve is a file of length 0 beside the log's folder that has blocks of the disk already. It is renamed to the next
segment's name, so that no other program can take the room in between. Where the file system cannot set blocks aside
there is none, and a full disk is met as one that fails.
"""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Final

from wiretape.log.files import REAL, Files

RESERVE_BYTES: Final = 1024 * 1024
END_BYTES: Final = 64 * 1024
"""The part of the reserve that only the account of what was dropped and the seal may use."""

_PREFIX: Final = "reserve-"
FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


def reserve_path(log_dir: Path, stream: int) -> Path:
    """Return where a stream's reserve lies; readers of the log do not look there."""
    return log_dir.parent / f"{_PREFIX}{stream}"


def remove_reserves(folder: Path, files: Files = REAL) -> None:
    """Give back what killed writers had set aside in a session's folder.

    A writer that lives misses its reserve, and nothing else.
    """
    try:
        entries = files.list_folder(folder)
    except OSError:
        return
    for entry in entries:
        if entry.regular and entry.name.startswith(_PREFIX) and entry.name.removeprefix(_PREFIX).isdecimal():
            files.remove_empty(folder / entry.name)


class Reserve:
    """One stream's reserve.

    Attributes:
        ready: it is there.
    """

    def __init__(self, path: Path, files: Files = REAL) -> None:
        self._path = path
        self._files = files
        self.ready = False

    def prepare(self) -> bool:
        """Set the room aside, unless that was done before; False where there is none."""
        try:
            self._files.reserve(self._path, RESERVE_BYTES)
        except OSError:
            self.ready = False
        else:
            self.ready = True
        return self.ready

    def enter(self, segment: Path) -> int:
        """Make the reserve a segment, still empty, and return its descriptor.

        Raises:
            OSError: there is none, or it cannot be moved; FileExistsError when the segment is there.
        """
        if not self.ready:
            raise OSError(errno.ENOSPC, "there is no reserve")
        fd = self._files.move(self._path, segment)
        self.ready = False
        return fd

    def give_back(self) -> None:
        """Let others have the room."""
        self._files.remove_empty(self._path)
        self.ready = False
