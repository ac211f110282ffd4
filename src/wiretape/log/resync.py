"""Finding the way in a segment whose bytes are damaged: the next frame, the salt, and what kind of end a file has.

Nothing here is on the path of an undamaged log. A header counts as one of this segment's only when its own checksum
agrees, it says the offset it stands at, and it carries the segment's salt; so the content of a captured body, be it a
whole wiretape segment, never does.
"""

from __future__ import annotations

import errno
from functools import cache
from typing import Final

from google_crc32c import value as crc32c

from wiretape.errors import LogVersionError
from wiretape.log.files import Readable
from wiretape.log.format import FORMAT_VERSION, HEADER, HEADER_SIZE, MAGIC, MARK, MAX_PAYLOAD
from wiretape.log.frames import FrameHeader, decode_header

_PAGE: Final = 4096
_FIRST_LOOK: Final = 16 * 1024
_LOOK: Final = 1024 * 1024
# When this many bytes stand behind one salt and nothing near it behind another, reading on would not change the vote.
_VOTE_BYTES: Final = 4 * 1024 * 1024
_VOTE_FRAMES: Final = 20_000
# Of payloads that do not check, which are a damaged beginning's few, or a forger's who claims 2 MiB every 40 bytes.
_VOTE_WASTE: Final = 64 * 1024 * 1024
_ZEROS: Final = bytes(_LOOK)

DAMAGED_HEADER: Final = "damaged frame header"
DAMAGED_PAYLOAD: Final = "damaged frame payload"
CUT_FRAME: Final = "frame cut short, others follow"
TORN_TAIL: Final = "torn tail"
ZERO_TAIL: Final = "zero tail"
AFTER_SEAL: Final = "bytes after the seal"
NO_FRAME: Final = "no frame that checks"


def read_at(file: Readable, length: int, offset: int) -> bytes:
    """Read up to ``length`` bytes at ``offset``; pages the device cannot give (EIO) come back as ``ff`` bytes.

    They fail every checksum, so an unreadable page becomes a damaged range like any other and what follows is read; and
    they are not zeros, which at the end of a file have a harmless meaning.
    """
    try:
        return file.read_at(length, offset)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
    end = min(offset + length, file.size())
    parts = []
    while offset < end:
        size = min(end, (offset // _PAGE + 1) * _PAGE) - offset
        try:
            parts.append(file.read_at(size, offset))
        except OSError:
            parts.append(b"\xff" * size)
        offset += size
    return b"".join(parts)


def header_at(buffer: bytes, at: int, offset: int, salt: int | None, name: str) -> FrameHeader | None:
    """Decode the header at ``at`` of ``buffer`` if it is one of this segment's.

    Args:
        offset: where ``at`` stands in the segment.
        salt: the segment's salt, None to take any.
        name: the segment's name, for the error.

    Raises:
        LogVersionError: it is one, of another format version.
    """
    header = decode_header(buffer, at)
    if header is None or header.offset != offset or header.magic[:3] != MARK:
        return None
    if salt is not None and header.salt != salt:
        return None
    if header.magic != MAGIC:
        # Without a salt to compare, only offset 0 is safe from a crafted body.
        if salt is None and offset != 0:
            return None
        raise LogVersionError(
            f"{name} is written in log format {header.magic[3]}, this program reads format {FORMAT_VERSION}",
            hint="use the version of wiretape that recorded it, or a newer one",
        )
    if header.head_length > header.length or header.length > MAX_PAYLOAD:
        return None
    return header


def next_header(file: Readable, start: int, limit: int, salt: int | None, name: str) -> tuple[int, FrameHeader] | None:
    """Search forward for the next header of this segment that begins at or after ``start``, wholly before ``limit``.

    Raises:
        LogVersionError: a header of this segment has another format version.
    """
    look = _FIRST_LOOK
    while limit - (start := file.data_from(start)) >= HEADER_SIZE:
        block = read_at(file, min(look, limit - start), start)
        at = block.find(MARK)
        while at >= 0 and len(block) - at >= HEADER_SIZE:
            header = header_at(block, at, start + at, salt, name)
            if header is not None:
                return start + at, header
            at = block.find(MARK, at + 1)
        if len(block) < HEADER_SIZE:
            return None
        start += len(block) - (HEADER_SIZE - 1)
        look = _LOOK
    return None


def repaired_header(file: Readable, start: int, end: int, salt: int) -> FrameHeader | None:
    """Work out what a damaged header at ``start`` said, where that is certain: its payload's checksum agrees.

    The frame must end at ``end`` or before it: the next one begins there.

    Magic, offset and salt are known anyway; one damaged byte among the rest follows from the checksum. The result tells
    which frame is damaged; nothing is read as if it were whole.
    """
    raw = bytearray(read_at(file, HEADER_SIZE, start))
    if len(raw) < HEADER_SIZE:
        return None
    _, kind, flags, head_length, length, _, seq, _, crc = HEADER.unpack_from(raw)
    HEADER.pack_into(raw, 0, MAGIC, kind, flags, head_length, length, start, seq, salt, crc)
    syndrome = crc32c(bytes(raw[: HEADER.size])) ^ int.from_bytes(raw[HEADER.size :], "little")
    if syndrome:
        at, difference = _single_byte_errors().get(syndrome, (0, 0))
        raw[at] ^= difference
    header = header_at(bytes(raw), 0, start, salt, "")
    if header is None or start + HEADER_SIZE + header.length > end:
        return None
    return header if payload_checks(file, start, header) else None


@cache
def _single_byte_errors() -> dict[int, tuple[int, int]]:
    """Map what one damaged byte does to the checksum's comparison to the byte and its difference; CRCs are linear."""
    nothing = crc32c(bytes(HEADER.size))
    errors = {}
    for at in range(HEADER_SIZE):
        for difference in range(1, 256):
            raw = bytearray(HEADER_SIZE)
            raw[at] = difference
            stored = int.from_bytes(raw[HEADER.size :], "little")
            errors[crc32c(bytes(raw[: HEADER.size])) ^ nothing ^ stored] = at, difference
    return errors


def find_salt(file: Readable, limit: int, name: str) -> int | None:
    """Tell a segment's salt, from its first header or, where that is damaged, from the frames; None if there are none.

    The frames vote with the bytes they cover, the outermost only: what stands inside a frame that checks is its
    content and has no vote, so a captured body weighs at most what damage laid bare of it.

    Raises:
        LogVersionError: the segment has another format version.
    """
    first = header_at(read_at(file, HEADER_SIZE, 0), 0, 0, None, name)
    if first is not None:
        return first.salt
    votes: dict[int, int] = {}
    position = wasted = 0
    for _ in range(_VOTE_FRAMES):
        found = next_header(file, position, limit, None, name)
        if found is None:
            break
        position, header = found
        if payload_checks(file, position, header):
            votes[header.salt] = votes.get(header.salt, 0) + HEADER_SIZE + header.length
            position += HEADER_SIZE + header.length
            if votes[header.salt] > _VOTE_BYTES:
                break
        else:
            position += 1
            wasted += header.length
            if wasted > _VOTE_WASTE:
                break
    return max(votes, key=votes.__getitem__) if votes else None


def payload_checks(file: Readable, offset: int, header: FrameHeader) -> bool:
    """Return whether the payload of the frame at ``offset`` is whole and its checksum agrees."""
    payload = read_at(file, header.length, offset + HEADER_SIZE)
    return len(payload) == header.length and crc32c(payload) == header.payload_crc


def all_zero(file: Readable, start: int, limit: int) -> bool:
    """Return whether every byte from ``start`` to ``limit`` is zero."""
    while (start := file.data_from(start)) < limit:
        block = read_at(file, min(_LOOK, limit - start), start)
        if not block or block != _ZEROS[: len(block)]:
            return False
        start += len(block)
    return True


def tail_reason(file: Readable, start: int, limit: int, header: FrameHeader | None) -> str:
    """Say what the end of an unsealed segment is, from ``start``, after which no frame begins, to ``limit``.

    Args:
        header: the frame's header at ``start`` if that one checks.
    """
    if all_zero(file, start, limit):
        return ZERO_TAIL
    if header is not None and start + HEADER_SIZE + header.length > limit:
        return TORN_TAIL
    if limit - start < HEADER_SIZE and MAGIC.startswith(read_at(file, min(len(MAGIC), limit - start), start)):
        return TORN_TAIL
    if _begins_and_is_zero_from_a_page_on(file, start, limit):
        return ZERO_TAIL
    return DAMAGED_HEADER if header is None else DAMAGED_PAYLOAD


def _begins_and_is_zero_from_a_page_on(file: Readable, start: int, limit: int) -> bool:
    """The power went after the file's length had reached the disk and before its last pages had."""
    last_page = (limit - 1) // _PAGE * _PAGE
    return start < last_page and read_at(file, len(MAGIC), start) == MAGIC and all_zero(file, last_page, limit)
