"""Who writes a log at this moment, asked without standing in the writer's way.

A writer holds ``flock`` (exclusive) on ``<stream>.lock`` for as long as it lives; the kernel lets go of it when the
process ends, however it ends. The file's content, JSON with ``pid``, ``bootId`` and ``nonce``, only names the holder: a
pid in a file proves nothing, the lock does.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

import msgspec

from wiretape.errors import BusyError, StorageError
from wiretape.log.files import REAL, Files
from wiretape.log.format import lock_name
from wiretape.log.store import SegmentRef, list_segments, stream_locks

_TRIES: Final = 50


def finished_segments(log_dir: Path) -> list[SegmentRef]:
    """List the segments that nobody writes any more, ordered by stream and number.

    Raises:
        NotFoundError, StorageError: the log cannot be read.
    """
    segments = list_segments(log_dir)
    last = {ref.stream: ref for ref in segments}
    growing = {ref.name for ref in last.values() if writer_alive(log_dir, ref.stream) is not None}
    return [ref for ref in segments if ref.name not in growing]


def writer_alive(log_dir: Path, stream: int | None = None, files: Files = REAL) -> dict[str, Any] | None:
    """Return whether a living process writes this log.

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


def take_lock(log_dir: Path, stream: int, note: dict[str, Any], files: Files = REAL) -> int:
    """Lock a stream for writing, leave ``note`` (``pid``, ``bootId``, ``nonce``) for who asks, return the descriptor.

    Raises:
        BusyError: another process writes this stream; carries its pid.
        StorageError: the lock file cannot be made.
    """
    path = log_dir / lock_name(stream)
    content = msgspec.json.encode(note)
    for _ in range(_TRIES):  # a reader that probes the lock holds it for microseconds
        try:
            fd = files.lock(path, content)
        except OSError as error:
            raise StorageError(f"cannot lock {path}: {error.strerror}") from error
        if fd is not None:
            return fd
        os.sched_yield() if hasattr(os, "sched_yield") else None
    pid = (writer_alive(log_dir, stream, files) or {"pid": 0})["pid"]
    raise BusyError(
        f"session {log_dir.parent.name} is being written by process {pid}",
        hint="stop that recorder first; reading needs no lock",
        pid=pid,
    )


def _read_note(data: bytes) -> dict[str, Any]:
    try:
        note = msgspec.json.decode(data)
    except msgspec.DecodeError:  # the holder has the lock and has not written its note yet
        return {"pid": 0}
    if not isinstance(note, dict) or not isinstance(note.get("pid"), int):
        return {"pid": 0}
    return note
