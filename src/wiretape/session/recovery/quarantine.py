"""Copies of damaged ranges, for a person to look at."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Final

from wiretape.log.files import data_from
from wiretape.log.store import healed_names, segment_path
from wiretape.model import Gap
from wiretape.private_files import open_regular, own_folder, storage_error, sync_folder, written_aside

QUARANTINE: Final = "quarantine"
_COPY: Final = 1024 * 1024


def copy_name(gap: Gap) -> str | None:
    """Return the name of a range's copy; None when there is nothing to copy."""
    return f"{gap.segment}-{gap.offset}-{gap.length}.bin" if gap.length else None


def quarantine(folder: Path, gaps: list[Gap]) -> list[str]:
    """Copy damaged ranges; return the names of the copies. What is there already is not written again.

    Raises:
        StorageError, NotFoundError: the file system refused, or the folder is a link.
    """
    copied = []
    healed = healed_names(folder / "log") if gaps else frozenset()
    for gap in gaps:
        name = copy_name(gap)
        if name is None:
            continue
        target = folder / QUARANTINE
        own_folder(target)
        source = segment_path(folder / "log", gap.segment, healed)
        try:
            _copy_range(source, gap.offset, gap.length, target / name)
        except OSError as error:
            raise storage_error("copy a damaged range to", target / name, error) from error
        copied.append(name)
    if copied:
        sync_folder(folder / QUARANTINE)
    return copied


def _copy_range(source: Path, offset: int, length: int, target: Path) -> None:
    with open(os.open(source, os.O_RDONLY | os.O_NOFOLLOW), "rb") as reader:
        if _same(reader.fileno(), offset, length, target):
            return
        with written_aside(target) as writer:
            writer.truncate(length)
            for at, size in _data(reader.fileno(), offset, length):
                writer.seek(at - offset)
                writer.write(os.pread(reader.fileno(), size, at))


def _same(source: int, offset: int, length: int, target: Path) -> bool:
    fd = open_regular(target)
    if fd is None:
        return False
    with open(fd, "rb") as copy:
        if os.fstat(copy.fileno()).st_size != length:
            return False
        pieces = chain(_data(source, offset, length), ((offset + at, n) for at, n in _data(copy.fileno(), 0, length)))
        return all(os.pread(source, size, at) == os.pread(copy.fileno(), size, at - offset) for at, size in pieces)


def _data(fd: int, offset: int, length: int) -> Iterator[tuple[int, int]]:
    """Yield (offset, size) of what is in a range, a piece at a time; holes, which may be any size, are left out."""
    at = data_from(fd, offset)
    while at < offset + length:
        size = min(_COPY, offset + length - at)
        yield at, size
        at = data_from(fd, at + size)
