"""The segment files of one log: their names, their order, and what lies beside them."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wiretape.errors import NotFoundError, StorageError, WiretapeError
from wiretape.log.files import REAL, FileEntry, Files
from wiretape.log.scan import segment_info

HEALED: Final = "healed"
"""The folder beside a log's with copies of damaged segments as they were; readers take those (docs/parity.md)."""

# What writers make, and nothing else: a leading zero would name one segment in two ways, and nobody numbers more than
# 15 digits can.
_SEGMENT_NAME: Final = re.compile(r"(0|[1-9][0-9]{0,3})-([0-9]{8}|[1-9][0-9]{8,14})\.wlog")
_LOCK_NAME: Final = re.compile(r"(0|[1-9][0-9]{0,3})\.lock")


@dataclass(frozen=True, slots=True, order=True)
class SegmentRef:
    """One segment file, as its name tells; ``size`` is in bytes at the time of listing."""

    stream: int
    number: int
    path: Path
    size: int

    @property
    def name(self) -> str:
        """The file's name: ``0-00000001.wlog``."""
        return self.path.name

    @property
    def healed(self) -> bool:
        """Whether this is the healed copy of a damaged segment."""
        return self.path.parent.name == HEALED


def parse_segment_name(name: str) -> tuple[int, int] | None:
    """Return (stream, number) of a segment's file name; None for any other name."""
    match = _SEGMENT_NAME.fullmatch(name)
    return (int(match[1]), int(match[2])) if match else None


def list_segments(log_dir: Path, files: Files = REAL) -> list[SegmentRef]:
    """List the segments of a log, ordered by stream and number; a healed copy stands for the segment it is of.

    Only regular files count: a link or a pipe under a segment's name is not one (see ``foreign_names``).

    Raises:
        NotFoundError: there is no such folder.
        StorageError: it cannot be read.
    """
    found: dict[tuple[int, int], SegmentRef] = {}
    beside = log_dir.parent / HEALED
    for folder, entries in ((log_dir, _scan(log_dir, files)), (beside, _healed(beside, files))):
        for entry in entries:
            numbers = parse_segment_name(entry.name)
            if numbers is not None and entry.regular:
                found[numbers] = SegmentRef(numbers[0], numbers[1], folder / entry.name, entry.size)
    return sorted(found.values())


def fingerprint(segments: list[SegmentRef]) -> str:
    """Return what tells one state of a log from another: a log only grows, so names and sizes do."""
    text = "".join(f"{ref.name} {ref.size}{' healed' if ref.healed else ''}\n" for ref in segments)
    return f"{len(segments)} segments, {sum(ref.size for ref in segments)} bytes, {zlib.crc32(text.encode()):08x}"


def healed_names(log_dir: Path, files: Files = REAL) -> frozenset[str]:
    """Name the segments that are read from their healed copies."""
    return frozenset(entry.name for entry in _healed(log_dir.parent / HEALED, files))


def segment_path(log_dir: Path, name: str, healed: frozenset[str]) -> Path:
    """Return the file to read a segment from; ``healed`` is what ``healed_names`` gave."""
    return (log_dir.parent / HEALED if name in healed else log_dir) / name


def foreign_names(log_dir: Path, files: Files = REAL) -> list[str]:
    """Name what lies in a log's folder and is neither a segment nor a lock, sorted.

    Raises:
        NotFoundError: there is no such folder.
        StorageError: it cannot be read.
    """
    return sorted(
        entry.name
        for entry in _scan(log_dir, files)
        if not ((parse_segment_name(entry.name) or _LOCK_NAME.fullmatch(entry.name)) and entry.regular)
    )


def stream_locks(log_dir: Path, files: Files = REAL) -> list[tuple[int, Path]]:
    """List the lock files of a log as (stream, path), ordered by stream; none when there is no such folder."""
    try:
        entries = _scan(log_dir, files)
    except NotFoundError:
        return []
    found = [
        (int(match[1]), log_dir / entry.name)
        for entry in entries
        if (match := _LOCK_NAME.fullmatch(entry.name)) and entry.regular
    ]
    return sorted(found)


def _healed(folder: Path, files: Files) -> list[FileEntry]:
    """List the healed copies that begin as the segment does whose name they have: nothing else may hide one."""
    if files is REAL and folder.is_symlink():
        return []
    try:
        entries = files.list_folder(folder)
    except OSError:
        return []
    return [entry for entry in entries if entry.regular and _begins_right(folder / entry.name, files)]


def _begins_right(path: Path, files: Files) -> bool:
    numbers = parse_segment_name(path.name)
    if numbers is None:
        return False
    try:
        head = segment_info(path, files).head
    except WiretapeError:
        return False
    return head is not None and (head.stream, head.number) == numbers


def _scan(log_dir: Path, files: Files) -> list[FileEntry]:
    try:
        return files.list_folder(log_dir)
    except FileNotFoundError:
        raise NotFoundError(f"There is no log in {log_dir}", hint="name an existing session") from None
    except OSError as error:
        raise StorageError(f"the log folder {log_dir} cannot be read: {error.strerror}") from error
