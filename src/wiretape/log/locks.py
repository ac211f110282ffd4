"""Who writes a log at this moment, asked without standing in the writer's way.

A writer holds ``flock`` (exclusive) on ``<stream>.lock`` for as long as it lives; the kernel lets go of it when the
process ends, however it ends. The file's content, JSON with ``pid``, ``bootId`` and ``nonce``, only names the holder: a
pid in a file proves nothing, the lock does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from wiretape.log.files import REAL, Files
from wiretape.log.format import lock_name
from wiretape.log.segments import stream_locks


def writer_alive(log_dir: Path, stream: int | None = None, files: Files = REAL) -> dict[str, Any] | None:
    """Tell whether a living process writes this log.

    Args:
        log_dir: the session's ``log`` folder.
        stream: ask for this stream only; None asks for any.
        files: the file system.

    Returns:
        The holder's note (``pid``, ``bootId``, ``nonce``; ``pid`` is 0 where the note is unreadable) with ``stream``
        added, or None when nobody holds a lock.
    """
    locks = stream_locks(log_dir, files) if stream is None else [(stream, log_dir / lock_name(stream))]
    for number, path in locks:
        note = files.lock_note(path)
        if note is not None:
            return {**_read_note(note), "stream": number}
    return None


def _read_note(data: bytes) -> dict[str, Any]:
    try:
        note = msgspec.json.decode(data)
    except msgspec.DecodeError:  # the holder has the lock and has not written its note yet
        return {"pid": 0}
    if not isinstance(note, dict) or not isinstance(note.get("pid"), int):
        return {"pid": 0}
    return note
