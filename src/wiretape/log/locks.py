"""Who writes a log at this moment, asked without standing in the writer's way.

A writer holds ``flock`` (exclusive) on ``<stream>.lock`` for as long as it lives; the kernel lets go of it when the
process ends, however it ends. The file's content, JSON with ``pid``, ``bootId`` and ``nonce``, only names the holder: a
pid in a file proves nothing, the lock does.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Any, Final

import msgspec

from wiretape.log.format import lock_name
from wiretape.log.segments import stream_locks

# A holder's note is about 100 bytes; whatever else stands in the file is not one.
_NOTE_BYTES: Final = 4096


def writer_alive(log_dir: Path, stream: int | None = None) -> dict[str, Any] | None:
    """Tell whether a living process writes this log.

    Args:
        log_dir: the session's ``log`` folder.
        stream: ask for this stream only; None asks for any.

    Returns:
        The holder's note (``pid``, ``bootId``, ``nonce``; ``pid`` is 0 where the note is unreadable) with ``stream``
        added, or None when nobody holds a lock.
    """
    locks = stream_locks(log_dir) if stream is None else [(stream, log_dir / lock_name(stream))]
    for number, path in locks:
        note = _holder(path)
        if note is not None:
            return {**note, "stream": number}
    return None


def _holder(path: Path) -> dict[str, Any] | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        # A shared request fails only while a writer holds the lock, never because another reader asks as well. A writer
        # that starts in the moment we hold it must retry; close releases it at once.
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _note(fd)
    except OSError:  # a file system without locks: nobody can hold one
        return None
    else:
        return None
    finally:
        os.close(fd)


def _note(fd: int) -> dict[str, Any]:
    try:
        note = msgspec.json.decode(os.pread(fd, _NOTE_BYTES, 0))
    except (OSError, msgspec.DecodeError):  # the holder has the lock and has not written its note yet
        return {"pid": 0}
    if not isinstance(note, dict) or not isinstance(note.get("pid"), int):
        return {"pid": 0}
    return note
