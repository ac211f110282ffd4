"""Reading segments: frames in order, damage named where it lies, and everything behind it still read.

``scan_segment`` reads a range, and a later call goes on where it stopped; ``read_frame`` fetches one frame. Memory
is one block (see ``_BLOCK``) whatever the size of segment or body. Nothing here writes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec
from google_crc32c import value as crc32c

from wiretape.errors import DamagedError, NotFoundError, StorageError
from wiretape.log.files import REAL, Files, Readable
from wiretape.log.format import (
    HEADER,
    HEADER_SIZE,
    MAGIC,
    MAX_PAYLOAD,
    Flag,
    FrameType,
    SegmentHead,
)
from wiretape.log.frames import FrameHeader
from wiretape.log.items import OF_AN_EXCHANGE, Damage, Frame
from wiretape.log.resync import (
    AFTER_SEAL,
    CUT_FRAME,
    DAMAGED_HEADER,
    DAMAGED_PAYLOAD,
    NO_FRAME,
    TORN_TAIL,
    ZERO_TAIL,
    find_salt,
    header_at,
    next_header,
    read_at,
    repaired_header,
    tail_reason,
)

__all__ = [
    "Damage",
    "Frame",
    "SegmentInfo",
    "SegmentScan",
    "frame_in",
    "read_block",
    "read_frame",
    "scan_segment",
    "segment_info",
]

# Larger blocks fall out of the processor's cache and are slower; a frame that does not fit is read again whole.
_BLOCK: Final = 1024 * 1024
_ONE_READ: Final = 16 * 1024
# Behind damage blocks begin small and grow: damage may lie everywhere, and each block would be read for one frame.
_BLOCK_BEHIND_DAMAGE: Final = 4 * 1024
# Bytes of payloads that did not check, after which frames are looked for inside a frame before its payload is summed:
# a forger may claim 2 MiB every 40 bytes. No recorder writes one frame into another.
_TRUSTED_WASTE: Final = 16 * 1024 * 1024
_LONGEST_TEXT: Final = 256
# CRC-32C over bytes followed by their own CRC (little-endian) is this constant: one call checks header and checksum.
_CRC_RESIDUE: Final = 0x48674BC7


class SegmentScan:
    """Frames and damage of one segment, in order; iterate it once.

    Attributes:
        position: the offset behind what was given last: where a later scan goes on.
        sealed: a SEAL frame was met.
        final: that SEAL says that the stream ends here.
        salt: the segment's salt, once known.
    """

    def __init__(
        self,
        path: Path,
        *,
        start: int = 0,
        end: int | None = None,
        live: bool = False,
        verify_data: bool = True,
        salt: int | None = None,
        files: Files = REAL,
    ) -> None:
        self.path = path
        self.name = path.name
        self.position = start
        self.sealed = False
        self.final = False
        self.salt = salt
        self._files = files
        self._end = end
        self._live = live
        self._verify = verify_data
        self._block = _BLOCK
        self._wasted = 0

    def __iter__(self) -> Iterator[Frame | Damage]:
        with _opened(self.path, self._files) as file:
            size = file.size()
            limit = size if self._end is None else min(size, self._end)
            self._live = self._live or limit < size
            if self.salt is None:
                self.salt = find_salt(file, size, self.name)
            if self.salt is None:
                yield from self._without_salt(file, limit)
                return
            while self.position < limit:
                if self._wasted > _TRUSTED_WASTE:
                    yield from self._carefully(file, limit)
                else:
                    yield from self._run(file, limit)
                damage = self._skip(file, limit)
                if damage is None:
                    return
                self.position = damage.end
                self._block = _BLOCK_BEHIND_DAMAGE
                yield damage

    def _carefully(self, file: Readable, limit: int) -> Iterator[Frame]:
        """Yield frames as ``_run`` does, one by one, taking for a frame only what has no other in it."""
        while self.position < limit:
            start = self.position
            header = header_at(read_at(file, HEADER_SIZE, start), 0, start, self.salt, self.name)
            end = start + HEADER_SIZE + header.length if header is not None else start
            if header is None or end > limit:
                return
            if next_header(file, start + HEADER_SIZE, end, self.salt, self.name) is not None:
                return
            payload = read_at(file, header.length, start + HEADER_SIZE)
            if len(payload) < header.length or (self._verify and crc32c(payload) != header.payload_crc):
                return
            self.position = end
            if header.type == FrameType.SEAL:
                self.sealed, self.final = True, bool(header.flags & Flag.FINAL)
            yield Frame(header.type, header.flags, header.seq, self.name, start, header.head_length, payload)

    def _run(self, file: Readable, limit: int) -> Iterator[Frame]:
        """Yield frames until the limit or the first that does not check; the loop that decides the speed of reading."""
        name, salt, verify = self.name, self.salt, self._verify
        unpack, header_size, seal = HEADER.unpack_from, HEADER_SIZE, int(FrameType.SEAL)
        base = self.position
        needed = header_size
        while base + needed <= limit:
            # A frame longer than a block is the only case in which more than a block is held.
            block = read_at(file, min(max(self._block, needed), limit - base), base)
            self._block = min(_BLOCK, 2 * self._block)
            available, at = len(block), 0
            if available < needed:  # the file became shorter since it was measured
                return
            while True:
                body = at + header_size
                if body > available:
                    needed = header_size
                    break
                if crc32c(block[at:body]) != _CRC_RESIDUE:
                    return
                magic, kind, flags, head_length, length, offset, seq, frame_salt, crc = unpack(block, at)
                if (
                    offset != base + at
                    or frame_salt != salt
                    or magic != MAGIC
                    or head_length > length
                    or length > MAX_PAYLOAD
                ):
                    return
                after = body + length
                if after > available:
                    needed = header_size + length
                    break
                payload = block[body:after]
                if verify and crc32c(payload) != crc:
                    self._wasted += length
                    return
                self.position = base + after
                if kind == seal:
                    self.sealed = True
                    self.final = bool(flags & Flag.FINAL)
                yield Frame(kind, flags, seq, name, offset, head_length, payload)
                at = after
            base += at

    def _skip(self, file: Readable, limit: int) -> Damage | None:
        """Name what stands at the position and is no frame that checks; None when it may still become one."""
        start = self.position
        if start >= limit:
            return None
        header = header_at(read_at(file, HEADER_SIZE, start), 0, start, self.salt, self.name)
        found = next_header(file, start + (HEADER_SIZE if header else 1), limit, self.salt, self.name)
        if found is None:
            return None if self._live else self._end_of(file, start, limit, header)
        if header is None:
            return self._damaged_header(file, start, found[0])
        end = start + HEADER_SIZE + header.length
        if end > found[0]:
            return self._damage(start, found[0], CUT_FRAME, header)
        return self._damage(start, end, DAMAGED_PAYLOAD, header)

    def _end_of(self, file: Readable, start: int, limit: int, header: FrameHeader | None) -> Damage:
        """Name the range behind which no frame begins."""
        if self.sealed:
            return self._damage(start, limit, AFTER_SEAL, header)
        reason = tail_reason(file, start, limit, header)
        if reason == DAMAGED_HEADER:
            return self._damaged_header(file, start, limit)
        end = limit
        if header is not None and reason == DAMAGED_PAYLOAD:
            end = start + HEADER_SIZE + header.length
        return self._damage(start, end, reason, header)

    def _damaged_header(self, file: Readable, start: int, end: int) -> Damage:
        assert self.salt is not None
        repaired = repaired_header(file, start, end, self.salt)
        if repaired is None:
            return self._damage(start, end, DAMAGED_HEADER, None)
        return self._damage(start, start + HEADER_SIZE + repaired.length, DAMAGED_HEADER, repaired)

    def _without_salt(self, file: Readable, limit: int) -> Iterator[Damage]:
        start = self.position
        if self._live or start >= limit:
            return
        reason = tail_reason(file, start, limit, None)
        self.position = limit
        yield self._damage(start, limit, NO_FRAME if reason == DAMAGED_HEADER else reason, None)

    def _damage(self, start: int, end: int, reason: str, header: FrameHeader | None) -> Damage:
        known = header is not None and header.type in OF_AN_EXCHANGE
        return Damage(
            segment=self.name,
            offset=start,
            length=end - start,
            reason=reason,
            seqs_hint=(header.seq,) if header is not None and known else (),
            kind=header.type if header is not None else 0,
            is_tail=reason in (TORN_TAIL, ZERO_TAIL),
        )


def scan_segment(
    path: Path,
    *,
    start: int = 0,
    end: int | None = None,
    live: bool = False,
    verify_data: bool = True,
    salt: int | None = None,
    files: Files = REAL,
) -> SegmentScan:
    """Read a segment's frames in order, in bounded memory.

    Args:
        path: the segment's file.
        start: offset of the frame to begin with.
        end: read nothing at or behind this offset.
        live: a writer may be at work: what stands behind the last frame is "not yet", never damage.
        verify_data: False leaves the payloads' checksums out (headers are always checked).
        salt: the segment's salt where the caller knows it; spares one read.
        files: the file system.

    Returns:
        An iterable of frames and damage, with ``position``, ``sealed``, ``final`` and ``salt``.

    Raises (while iterating):
        LogVersionError: the segment has a newer format.
        NotFoundError: there is no such file.
        StorageError: it cannot be read.
    """
    return SegmentScan(path, start=start, end=end, live=live, verify_data=verify_data, salt=salt, files=files)


class SegmentInfo(msgspec.Struct, frozen=True):
    """A segment's first frame and salt; ``head`` is None where that is damaged, ``salt`` where no frame is left."""

    head: SegmentHead | None
    salt: int | None


def segment_info(path: Path, files: Files = REAL) -> SegmentInfo:
    """Read who a segment belongs to and its salt.

    Raises:
        LogVersionError, NotFoundError, StorageError: as ``scan_segment``.
    """
    with _opened(path, files) as file:
        salt = find_salt(file, file.size(), path.name)
        if salt is None:
            return SegmentInfo(None, None)
        try:
            record = _frame_at(file, path.name, 0, salt).record()
        except DamagedError:
            return SegmentInfo(None, salt)
        return SegmentInfo(_short(record) if isinstance(record, SegmentHead) else None, salt)


def _short(head: SegmentHead) -> SegmentHead:
    """Cut a head's texts: one for each segment is held, and a forged one may have 64 KiB."""
    texts = {name: getattr(head, name)[:_LONGEST_TEXT] for name in ("session_id", "boot_id", "program")}
    return msgspec.structs.replace(head, **texts)


def read_frame(path: Path, offset: int, salt: int, files: Files = REAL) -> Frame:
    """Read the one frame at ``offset``.

    Raises:
        DamagedError: there is no frame of this segment, or it does not check.
        LogVersionError, NotFoundError, StorageError: as ``scan_segment``.
    """
    with _opened(path, files) as file:
        return _frame_at(file, path.name, offset, salt)


def frame_in(block: bytes, at: int, base: int, salt: int, name: str) -> Frame | None:
    """Return the frame that begins at ``at`` in a block that was read from ``base`` on.

    None where it does not check, or goes on behind the block.
    """
    body = at + HEADER_SIZE
    if body > len(block) or crc32c(block[at:body]) != _CRC_RESIDUE:
        return None
    magic, kind, flags, head_length, length, offset, seq, frame_salt, crc = HEADER.unpack_from(block, at)
    if offset != base + at or frame_salt != salt or magic != MAGIC or head_length > length:
        return None
    payload = block[body : body + length]
    if len(payload) != length or crc32c(payload) != crc:
        return None
    return Frame(kind, flags, seq, name, offset, head_length, payload)


def read_block(path: Path, start: int, size: int, files: Files = REAL) -> bytes:
    """Read bytes of a segment; fewer at its end.

    Raises:
        NotFoundError, StorageError: as ``scan_segment``.
    """
    with _opened(path, files) as file:
        return read_at(file, size, start)


def _frame_at(file: Readable, name: str, offset: int, salt: int) -> Frame:
    block = read_at(file, _ONE_READ, offset)
    header = header_at(block, 0, offset, salt, name)
    if header is None:
        raise DamagedError(
            f"{name} has no sound frame at {offset}",
            hint="run `wiretape verify` on the session",
            segment=name,
            offset=offset,
        )
    end = HEADER_SIZE + header.length
    if len(block) < end:
        block = read_at(file, end, offset)
    payload = block[HEADER_SIZE:end]
    if len(payload) != header.length or crc32c(payload) != header.payload_crc:
        raise DamagedError(
            f"{name} is damaged at {offset}, {end} bytes long: the checksum does not agree",
            hint="run `wiretape verify` on the session",
            segment=name,
            offset=offset,
            length=end,
        )
    return Frame(header.type, header.flags, header.seq, name, offset, header.head_length, payload)


@contextmanager
def _opened(path: Path, files: Files) -> Iterator[Readable]:
    """Open a segment for reading; a link is never followed, a failing device is named."""
    try:
        file = files.open_read(path)
    except FileNotFoundError:
        raise NotFoundError(f"There is no segment {path}") from None
    except OSError as error:
        raise StorageError(f"the segment {path} cannot be opened: {error.strerror}") from error
    try:
        yield file
    finally:
        file.close()
