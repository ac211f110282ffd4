"""Pins: a pinned session is not deleted, neither by a person in passing nor by retention.

A pin is an empty file of its own beside the manifest: that one is derived and made again, a pin is the user's word.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from wiretape.private_files import FILE_MODE, storage_error, sync_folder

PIN: Final = "pinned"


def is_pinned(folder: Path) -> bool:
    """Return whether a session is pinned."""
    return os.path.lexists(folder / PIN)


def set_pin(folder: Path, *, pinned: bool) -> bool:
    """Pin a session or take its pin away; return whether that changed anything.

    Raises:
        NotFoundError, StorageError: the file system refused.
    """
    if is_pinned(folder) == pinned:
        return False
    try:
        if pinned:
            os.close(os.open(folder / PIN, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, FILE_MODE))
        else:
            (folder / PIN).unlink()
        sync_folder(folder)
    except OSError as error:
        raise storage_error("pin" if pinned else "unpin", folder, error) from error
    return True
