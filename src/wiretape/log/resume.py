"""Where the next writer of a stream goes on: a new segment, and the first seq that nobody has used (P3, P5)."""

from __future__ import annotations

from pathlib import Path

from wiretape.errors import DamagedError, LogError
from wiretape.log.files import REAL, Files
from wiretape.log.format import HEADER_SIZE, FrameType, Seal, SegmentHead
from wiretape.log.items import Damage, Frame
from wiretape.log.scan import read_frame, scan_segment
from wiretape.log.store import SegmentRef, list_segments

_SEGMENT_FRAME_MAX = 1024  # a SEGMENT frame is smaller; it is written alone, before anything else


def resume_point(log_dir: Path, stream: int, streams: int, files: Files = REAL) -> tuple[int, int]:
    """Return ``(segment number, seq)`` with which the stream's next writer begins.

    Only the newest segment whose head is readable is looked at, and those after it, without the payloads' checksums: a
    header that checks is enough to know that its seq has been given.
    """
    mine = [ref for ref in list_segments(log_dir, files) if ref.stream == stream]
    number = max((ref.number for ref in mine), default=0) + 1
    skipped, following = 0, stream + 1
    for ref in sorted(mine, key=lambda ref: ref.number, reverse=True):
        seq, begins = _next_seq(ref, streams, files)
        if seq is not None:
            following = max(following, seq)
            if begins:
                return number, following + skipped
            # Without its head a segment may hold nothing but copies of what stands in the one before.
        elif ref.size > _SEGMENT_FRAME_MAX:  # else it is the torn first frame of a writer that gave no seq yet
            skipped += _most_frames(ref.size) * streams
    return number, following + skipped


def _sealed_seq(ref: SegmentRef, seal: Frame, salt: int | None, files: Files) -> int:
    """Return the seq that a seal says comes next, 0 where its bytes do not check: a power cut may leave zeros."""
    try:
        record = read_frame(ref.path, seal.offset, salt or 0, files).record()
    except DamagedError:
        return 0
    return record.next_seq if isinstance(record, Seal) else 0


def _most_frames(size: int) -> int:
    """Return how many seqs ``size`` unreadable bytes can have held at most: none of them may be given again (P5)."""
    return size // HEADER_SIZE


def _next_seq(ref: SegmentRef, streams: int, files: Files) -> tuple[int | None, bool]:
    """Return the seq after the highest that a segment shows, None for none, and whether its head could be read."""
    following: int | None = None
    begins = False
    try:
        scan = scan_segment(ref.path, verify_data=False, files=files)
        for item in scan:
            if isinstance(item, Damage):
                # A torn tail was never acted upon; damage in front of good frames was, and those say how far it went.
                hidden = 0 if item.is_tail else _most_frames(item.length) * streams
                following = following if following is None else following + hidden
            elif item.kind == FrameType.SEGMENT:
                head = item.record()
                if isinstance(head, SegmentHead):
                    following, begins = max(following or 0, head.first_seq), True
            elif item.kind == FrameType.SEAL:
                following = max(following or 0, _sealed_seq(ref, item, scan.salt, files))
            elif item.seq:
                following = max(following or 0, item.seq + streams)
    except LogError:
        pass
    return following, begins
