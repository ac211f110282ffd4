"""Parity of a session: made for its finished segments, used when one of them is damaged.

``parity/`` holds a file for each segment, ``healed/`` whole copies of damaged segments as they were. The log itself is
never changed (P3); readers take a healed copy in place of the segment it is of. A session whose folder ``parity/`` is
there gets parity from the daemon, too.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from wiretape.errors import DamagedError, NotFoundError, StorageError
from wiretape.log.files import REAL, Readable
from wiretape.log.items import Damage
from wiretape.log.locks import finished_segments
from wiretape.log.parity import Layout, Pause, Repair, encode, read_parity
from wiretape.log.scan import scan_segment
from wiretape.log.store import HEALED, SegmentRef, parse_segment_name
from wiretape.model import HealedSegment, Value
from wiretape.private_files import derived_lock, own_folder, storage_error, sync_folder, written_aside

PARITY: Final = "parity"
_SUFFIX: Final = ".par"

Progress = Callable[[int, int], object]


class ParityReport(Value, frozen=True):
    """What of a session has parity: ``made`` segments now, ``kept`` before; ``damaged`` are not worth any."""

    session_id: str
    made: int
    kept: int
    damaged: list[str]
    bytes: int


def wants_parity(folder: Path) -> bool:
    """Return whether a session is to have parity."""
    return (folder / PARITY).is_dir() and not (folder / PARITY).is_symlink()


def want_parity(folder: Path) -> None:
    """Have a session's segments get parity from now on.

    Raises:
        StorageError, NotFoundError: the file system refused.
    """
    own_folder(folder / PARITY)


def unprotected(folder: Path) -> list[SegmentRef]:
    """List the finished segments that have no parity file as long as theirs has to be; none of them is opened.

    Raises:
        NotFoundError, StorageError: the log cannot be read.
    """
    return [ref for ref in _worth_parity(folder) if not _has_parity(folder, ref)]


def protect_session(
    folder: Path,
    session_id: str,
    *,
    segments: Sequence[SegmentRef] | None = None,
    pause: Pause = lambda: None,
    progress: Progress | None = None,
) -> ParityReport:
    """Make the parity that is missing. Nothing is kept of a run that is killed, but what was whole.

    Args:
        segments: those to make it for; None takes all whose parity is missing or cannot be used.
        pause: called after every few milliseconds of work.
        progress: called with (bytes done, bytes to do).

    Raises:
        NotFoundError, StorageError, LogVersionError: the log cannot be read, or parity not be written.
    """
    want_parity(folder)
    worth = _worth_parity(folder)
    todo = [ref for ref in worth if _parity_size(folder, ref.name) != ref.size] if segments is None else segments
    damaged, made, done = [], 0, 0
    total = sum(ref.size for ref in todo)
    for ref in todo:
        if _is_sound(ref, pause):
            # Of this folder alone: nobody who wants an answer waits for it.
            with derived_lock(folder / PARITY):
                _make(folder, ref, pause)
            made += 1
        else:
            damaged.append(ref.name)
        done += ref.size
        if progress is not None:
            progress(done, total)
    return ParityReport(
        session_id=session_id,
        made=made,
        kept=len(worth) - len(todo),
        damaged=damaged,
        bytes=sum(path.stat().st_size for path in (folder / PARITY).glob(f"*{_SUFFIX}")),
    )


def heal_session(folder: Path, suspects: set[str], *, dry_run: bool = False) -> list[HealedSegment]:
    """Write a whole copy of each damaged segment to ``healed/``, where there is parity for it.

    Args:
        folder: the session's; nobody writes it.
        suspects: names of segments in which damage was found. Those that are gone or have another length are looked
            at, too.
        dry_run: write nothing.

    Returns:
        The damaged segments that have parity, each with what came of it; nothing for sound ones.
    """
    if not wants_parity(folder):
        return []
    found = []
    with contextlib.nullcontext() if dry_run else derived_lock(folder):
        for path in sorted((folder / PARITY).glob(f"*{_SUFFIX}")):
            name = path.name.removesuffix(_SUFFIX)
            if parse_segment_name(name) is not None and (name in suspects or _differs(folder, name)):
                healed = _heal(folder, name, dry_run=dry_run)
                found += [healed] if healed is not None else []
    return found


# -- making -----------------------------------------------------------------------------------------------------------


def _worth_parity(folder: Path) -> list[SegmentRef]:
    return [ref for ref in finished_segments(folder / "log") if ref.size and not ref.healed]


def _has_parity(folder: Path, ref: SegmentRef) -> bool:
    try:
        found = (folder / PARITY / f"{ref.name}{_SUFFIX}").lstat()
    except OSError:
        return False
    return found.st_size == Layout.of(ref.size).file_size


def _is_sound(ref: SegmentRef, pause: Pause) -> bool:
    for number, item in enumerate(scan_segment(ref.path, end=ref.size)):
        if isinstance(item, Damage) and not item.is_tail:
            return False
        if number % 256 == 0:
            pause()
    return True


def _make(folder: Path, ref: SegmentRef, pause: Pause) -> None:
    target = folder / PARITY / f"{ref.name}{_SUFFIX}"
    with _reading(ref.path) as segment:
        if segment is None:
            raise storage_error("read", ref.path, FileNotFoundError())
        _place(target, encode(segment, ref.size, pause))


def _parity_size(folder: Path, name: str) -> int | None:
    """Return the length of the segment that parity was made of; None where there is none that can be used."""
    with _reading(folder / PARITY / f"{name}{_SUFFIX}") as file:
        parity = read_parity(file) if file is not None else None
    return parity.layout.size if parity is not None else None


# -- healing ----------------------------------------------------------------------------------------------------------


def _differs(folder: Path, name: str) -> bool:
    if (folder / HEALED / name).exists():
        return False  # it is read, and named when it is damaged
    with _reading(folder / "log" / name) as segment:
        return _parity_size(folder, name) != (segment.size() if segment is not None else -1)


def _heal(folder: Path, name: str, *, dry_run: bool) -> HealedSegment | None:
    """Heal one segment; None when it needs nothing."""
    target = folder / HEALED / name
    with _reading(folder / "log" / name) as segment, _reading(folder / PARITY / f"{name}{_SUFFIX}") as file:
        try:
            parity = read_parity(file) if file is not None else None
            if file is None or parity is None:
                return HealedSegment(segment=name, bytes=0, error="its parity is damaged, too")
            repair = Repair(segment if segment is not None else _Nothing(), parity)
            if not repair.changed:
                if not dry_run:  # the segment was put back, or its copy is what is damaged
                    target.unlink(missing_ok=True)
                return None
            repair.heal(file)
            if not dry_run:
                own_folder(target.parent)
                _place(target, repair.whole())
            return HealedSegment(segment=name, bytes=repair.bytes)
        except (DamagedError, StorageError, NotFoundError) as error:
            return HealedSegment(segment=name, bytes=0, error=error.message)
        except OSError as error:
            return HealedSegment(segment=name, bytes=0, error=storage_error("heal", target, error).message)


class _Nothing:
    """A segment that is gone."""

    def read_at(self, length: int, offset: int) -> bytes:  # noqa: ARG002
        """Read nothing."""
        return b""

    def size(self) -> int:
        """Measure nothing."""
        return -1

    def data_from(self, offset: int) -> int:
        """Know of no holes."""
        return offset

    def close(self) -> None:
        """Do nothing."""


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[Readable | None]:
    """Open a regular file; None for anything else."""
    try:
        file = REAL.open_read(path) if path.is_file() and not path.is_symlink() else None
    except OSError:
        file = None
    try:
        yield file
    finally:
        if file is not None:
            file.close()


def _place(target: Path, pieces: Iterable[bytes]) -> None:
    """Write a file whole or not at all.

    Raises:
        StorageError, NotFoundError: the file system refused.
    """
    try:
        with written_aside(target) as writer:
            writer.writelines(pieces)
        sync_folder(target.parent)
    except OSError as error:
        raise storage_error("write", target, error) from error
