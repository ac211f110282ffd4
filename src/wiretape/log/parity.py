"""Parity of a finished segment: what is needed to give damaged blocks of it back, byte for byte.

A segment is cut into blocks of 4 KiB. Block b belongs to group b mod g, so that a run of damage is spread over all
groups; each group of up to 239 blocks has up to 17 blocks of parity. So any 17 blocks heal (an unaligned run of 64 KiB
touches 17), and a run of 4.5 MiB of a full segment. docs/parity.md describes the file's bytes.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from google_crc32c import value as crc32c

from wiretape.errors import DamagedError
from wiretape.log.erasure import ELEMENTS, Code
from wiretape.log.files import Readable

BLOCK: Final = 4096
PARITY: Final = 17
_MAGIC: Final = b"\x89WTP"
_VERSION: Final = 1
_GROUP: Final = ELEMENTS - PARITY
_MAX_SIZE: Final = 1 << 32
"""Bytes of a segment; one has 64 MiB and a little more."""
# magic, version, 3 bytes of zeros, block, data and parity blocks of a group, groups, size, SHA-256, CRC of the tables
_HEADER: Final = struct.Struct("<4sB3xIHHIQ32sI")
_CRC: Final = struct.Struct("<I")
HEADER_SIZE: Final = _HEADER.size + _CRC.size

Pause = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Layout:
    """How a segment of ``size`` bytes is cut: ``groups`` of ``data`` blocks and ``parity`` blocks."""

    size: int
    groups: int
    data: int
    parity: int

    @classmethod
    def of(cls, size: int) -> Layout:
        """Return the layout of a segment."""
        blocks = max(1, -(-size // BLOCK))
        groups = -(-blocks // _GROUP)
        data = -(-blocks // groups)
        return cls(size, groups, data, min(PARITY, data))

    @property
    def blocks(self) -> int:
        """Blocks of the segment; the last one may be short, and those up to the end of the last stripe are zeros."""
        return max(1, -(-self.size // BLOCK))

    @property
    def stripe(self) -> int:
        """Bytes of one block of every group: they stand together in the segment."""
        return self.groups * BLOCK

    @property
    def table(self) -> int:
        """Bytes of the table of checksums."""
        return 4 * (self.blocks + self.groups * self.parity)

    @property
    def file_size(self) -> int:
        """Bytes of the parity file: header and table stand at both ends."""
        return 2 * (HEADER_SIZE + self.table) + self.parity * self.stripe


@dataclass(frozen=True, slots=True)
class Parity:
    """A parity file's header and checksums; the blocks are read when they are needed."""

    layout: Layout
    digest: bytes
    checks: tuple[int, ...]

    def is_sound(self, block: int, data: bytes) -> bool:
        """Return whether a block of the segment is as it was; the last one is given as long as it is."""
        return bool(crc32c(data) == self.checks[block])

    def block(self, file: Readable, group: int, row: int) -> bytes | None:
        """Read a block of parity; None when it is damaged."""
        number = row * self.layout.groups + group
        data = file.read_at(BLOCK, HEADER_SIZE + self.layout.table + number * BLOCK)
        sound = len(data) == BLOCK and crc32c(data) == self.checks[self.layout.blocks + number]
        return data if sound else None


def encode(file: Readable, size: int, pause: Pause = lambda: None) -> Iterator[bytes]:
    """Yield the parity file of a segment, piece by piece, in one pass over it and 5 MiB of memory.

    Args:
        file: the segment, sound and finished.
        size: its length.
        pause: called after every few milliseconds of work.

    Raises:
        DamagedError: it is shorter. OSError: it cannot be read.
    """
    layout = Layout.of(size)
    code = Code(layout.data, layout.parity)
    sums, checks, digest = [0] * layout.parity, [], hashlib.sha256()
    for index, stripe in enumerate(_stripes(file, layout)):
        digest.update(stripe)
        checks += [crc32c(stripe[at : at + BLOCK]) for at in range(0, len(stripe), BLOCK)]
        code.add(sums, index, stripe)
        pause()
    blocks = [value.to_bytes(layout.stripe, "little") for value in sums]
    checks += [crc32c(row[at : at + BLOCK]) for row in blocks for at in range(0, len(row), BLOCK)]
    table = struct.pack(f"<{len(checks)}I", *checks)
    shape = (BLOCK, layout.data, layout.parity, layout.groups, size)
    header = _HEADER.pack(_MAGIC, _VERSION, *shape, digest.digest(), crc32c(table))
    header += _CRC.pack(crc32c(header))
    # Header and table stand at both ends: neither a torn end nor a run of damage takes both.
    yield header + table
    yield from blocks
    yield table + header


def read_parity(file: Readable) -> Parity | None:
    """Read a parity file's header and checksums, from whichever end they are sound; None when they are at neither.

    Raises:
        OSError: it cannot be read.
    """
    size = file.size()
    for front in (True, False):
        found = _read_header(file, 0 if front else size - HEADER_SIZE)
        if found is None:
            continue
        layout, digest, check = found
        for at in (HEADER_SIZE, size - HEADER_SIZE - layout.table):
            table = file.read_at(layout.table, at) if at >= 0 else b""
            if len(table) == layout.table and crc32c(table) == check:
                return Parity(layout, digest, struct.unpack(f"<{layout.table // 4}I", table))
    return None


def _read_header(file: Readable, at: int) -> tuple[Layout, bytes, int] | None:
    raw = file.read_at(HEADER_SIZE, at) if at >= 0 else b""
    if len(raw) < HEADER_SIZE or _CRC.unpack_from(raw, _HEADER.size)[0] != crc32c(raw[: _HEADER.size]):
        return None
    magic, version, block, data, parity, groups, size, digest, check = _HEADER.unpack_from(raw)
    if (magic, version, block) != (_MAGIC, _VERSION, BLOCK) or size > _MAX_SIZE:
        return None
    layout = Layout.of(size)
    # A layout of another making is not believed: its numbers would be used to read and to reserve memory.
    return (layout, digest, check) if (layout.groups, layout.data, layout.parity) == (groups, data, parity) else None


class Repair:
    """One segment compared with its parity.

    Attributes:
        bad: the blocks that are not as they were, in order.
        changed: the segment has another length or bad blocks.
        bytes: how long the bad blocks are together.
    """

    def __init__(self, file: Readable, parity: Parity, pause: Pause = lambda: None) -> None:
        """Read the whole segment.

        Raises:
            OSError: it cannot be read.
        """
        self._file = file
        self._parity = parity
        self._healed: dict[int, bytes] = {}
        self.bad = [block for block, data in self._blocks(pause) if not parity.is_sound(block, data)]
        self.changed = bool(self.bad) or file.size() != parity.layout.size
        self.bytes = sum(self._length(block) for block in self.bad)

    def heal(self, parity_file: Readable) -> None:
        """Work out the bad blocks.

        Raises:
            DamagedError: there are more than the parity that is left can heal. OSError: something cannot be read.
        """
        layout = self._parity.layout
        code = Code(layout.data, layout.parity)
        for group in sorted({block % layout.groups for block in self.bad}):
            missing = [block // layout.groups for block in self.bad if block % layout.groups == group]
            rows = {row: self._parity.block(parity_file, group, row) for row in range(layout.parity)}
            sound = {row: block for row, block in rows.items() if block is not None}
            if len(sound) < len(missing):
                raise DamagedError(
                    f"{len(missing)} blocks that belong together are damaged, and {len(sound)} of parity are left"
                )

            def read(index: int, group: int = group) -> bytes:
                return self._block(index * layout.groups + group).ljust(BLOCK, b"\0")

            for index, data in code.heal(missing, sound, read).items():
                self._healed[index * layout.groups + group] = data

    def whole(self, pause: Pause = lambda: None) -> Iterator[bytes]:
        """Yield the segment as it was, piece by piece; at the end it is compared with its digest.

        Raises:
            DamagedError: it is not what it was, though every block agrees. OSError: it cannot be read.
        """
        digest = hashlib.sha256()
        for block in range(self._parity.layout.blocks):
            data = self._healed.get(block)
            piece = self._block(block) if data is None else data[: self._length(block)]
            digest.update(piece)
            yield piece
            if block % self._parity.layout.groups == 0:
                pause()
        if digest.digest() != self._parity.digest:
            raise DamagedError("what was healed does not agree with the digest of the segment")

    def _blocks(self, pause: Pause) -> Iterator[tuple[int, bytes]]:
        for block in range(self._parity.layout.blocks):
            if block % self._parity.layout.groups == 0:
                pause()
            yield block, self._block(block)

    def _length(self, block: int) -> int:
        return min(BLOCK, self._parity.layout.size - block * BLOCK)

    def _block(self, block: int) -> bytes:
        return self._file.read_at(self._length(block), block * BLOCK)


def _stripes(file: Readable, layout: Layout) -> Iterator[bytes]:
    for at in range(0, max(1, layout.size), layout.stripe):
        length = min(layout.stripe, layout.size - at)
        data = file.read_at(length, at)
        if len(data) != length:
            raise DamagedError(f"the segment ends at {at + len(data)} instead of {layout.size}")
        yield data
