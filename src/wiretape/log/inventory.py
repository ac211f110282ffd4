"""Which segments a log has, which it should have, and which do not belong to it.

A file's name is a claim; its first frame is the truth where it can be read. Segments are ordered by what they say of
themselves, so a renamed one is read at its place, a copy is read once, and one of another session not at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from wiretape.log.files import REAL, Files
from wiretape.log.format import SegmentHead, segment_name
from wiretape.log.scan import SegmentInfo, segment_info
from wiretape.log.store import SegmentRef, foreign_names, list_segments
from wiretape.model import Gap

# More missing numbers than this in a row are reported as one: a renamed file can claim any number.
_LISTED_MISSING: Final = 100


class Placed(msgspec.Struct, frozen=True):
    """A segment at its place.

    ``head`` is None where its first frame is damaged, ``salt`` where no frame is left, or where it was not looked at.
    """

    stream: int
    number: int
    ref: SegmentRef
    head: SegmentHead | None
    salt: int | None


class Inventory(msgspec.Struct, frozen=True):
    """``segments`` in the order to read them; ``gaps`` name foreign and doubled ones, ``notes`` the rest.

    ``absent`` tells for (stream, number) of a segment how many are missing just before it.
    """

    segments: list[Placed]
    gaps: list[Gap]
    notes: list[str]
    absent: dict[tuple[int, int], int]

    @property
    def step(self) -> int:
        """The number of streams as the log's first head says; 1 where no head can be read."""
        heads = (segment.head for segment in self.segments)
        return next((max(1, head.streams) for head in heads if head is not None), 1)

    def missing_before(self, segment: Placed) -> list[Gap]:
        """Name the segments that are missing just before this one."""
        count = self.absent.get((segment.stream, segment.number), 0)
        return missing_gaps(segment.stream, segment.number - count, count)


def take_inventory(
    log_dir: Path, session_id: str, files: Files = REAL, heads: Mapping[str, SegmentHead] | None = None
) -> Inventory:
    """Look at every segment's first frame and put the segments in order.

    Args:
        log_dir: the log's folder.
        session_id: whose log it is.
        files: the file system.
        heads: the first frames that are known already, by the segment's name; those segments are not opened.

    Raises:
        LogVersionError: a segment has a newer format.
        NotFoundError: there is no such folder.
        StorageError: it cannot be read.
    """
    heads = heads or {}
    found = [
        (ref, SegmentInfo(heads[ref.name], None) if ref.name in heads else segment_info(ref.path, files))
        for ref in list_segments(log_dir, files)
    ]
    notes = [
        f"{name!r} in the log's folder is not a segment; it is left alone" for name in foreign_names(log_dir, files)
    ]
    notes += [f"{ref.name} is damaged; its healed copy is read" for ref, _ in found if ref.healed]
    gaps: list[Gap] = []
    placed: dict[tuple[int, int], Placed] = {}
    elsewhere: list[Placed] = []
    for ref, info in found:
        head = info.head
        if head is not None and head.session_id != session_id:
            gaps.append(_whole(ref, f"a segment of another session, {head.session_id[:80]!r}"))
        elif head is None or (head.stream, head.number) == (ref.stream, ref.number):
            placed[ref.stream, ref.number] = Placed(ref.stream, ref.number, ref, head, info.salt)
        else:
            elsewhere.append(Placed(head.stream, head.number, ref, head, info.salt))
    for segment in elsewhere:
        own_name = segment_name(segment.stream, segment.number)
        if (segment.stream, segment.number) in placed:
            gaps.append(_whole(segment.ref, f"a copy of {own_name}"))
        else:
            placed[segment.stream, segment.number] = segment
            notes.append(f"{segment.ref.name} says that it is {own_name}; it is read as that")
    segments = [placed[key] for key in sorted(placed)]
    return Inventory(segments, gaps, notes, _missing(segments))


def _whole(ref: SegmentRef, reason: str) -> Gap:
    return Gap(segment=ref.name, offset=0, length=ref.size, reason=reason)


def _missing(segments: list[Placed]) -> dict[tuple[int, int], int]:
    """Find holes in the numbers: each stream begins at 1 and leaves none out."""
    found: dict[tuple[int, int], int] = {}
    stream, expected = -1, 1
    for segment in segments:
        if segment.stream != stream:
            stream, expected = segment.stream, 1
        if segment.number > expected:
            found[stream, segment.number] = segment.number - expected
        expected = segment.number + 1
    return found


def missing_gaps(stream: int, first: int, count: int) -> list[Gap]:
    """Name ``count`` segments that are not there, from number ``first`` on."""
    if count > _LISTED_MISSING:
        last = segment_name(stream, first + count - 1)
        return [Gap(segment=segment_name(stream, first), offset=0, length=0, reason=f"missing, and all up to {last}")]
    return [
        Gap(segment=segment_name(stream, number), offset=0, length=0, reason="missing segment")
        for number in range(first, first + count)
    ]
