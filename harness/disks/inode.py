"""One file of the disk in memory: what programs see of it, and what of that is on the disk.

The model is ALICE's: bytes become durable by sectors of 512 bytes, in any order, only a sync forces them, and a file's
length is durable apart from its bytes. Files here only grow, so a sector's state is how many of its bytes are durable.
"""

from __future__ import annotations

from random import Random
from typing import Final, NamedTuple

SECTOR: Final = 512


class Inode(NamedTuple):
    """A file's content; values are never changed, so that a disk is copied by copying references.

    Attributes:
        data: what every program sees.
        clean: bytes that the kernel takes for durable; what is behind them is dirty and may reach the disk at any time.
        size: the length that is certainly on the disk.
        sizes: lengths that the file has had since, each of which may be on the disk.
        holes: sectors that the kernel takes for durable and that are not, with how many of their bytes are.
        changed: how often the file was written over; a sync of what it held before says nothing of it.
    """

    data: bytes = b""
    clean: int = 0
    size: int = 0
    sizes: tuple[int, ...] = ()
    holes: tuple[tuple[int, int], ...] = ()
    changed: int = 0

    def append(self, data: bytes) -> Inode:
        """Add bytes at the end."""
        grown = self.data + data
        return self._replace(data=grown, sizes=(*self.sizes, len(grown)))

    def overwrite(self, data: bytes) -> Inode:
        """Put other bytes in place of all of them."""
        return Inode(data, sizes=(0, len(data)), changed=self.changed + 1)

    def synced(self, upto: int) -> Inode:
        """Return the file after a sync that began when it was ``upto`` bytes long and succeeded."""
        if upto <= self.clean:
            return self._replace(size=max(self.size, upto), sizes=tuple(size for size in self.sizes if size > upto))
        first = self.clean // SECTOR  # written again as a whole, so it is no hole any more
        return self._replace(
            clean=upto,
            size=max(self.size, upto),
            sizes=tuple(size for size in self.sizes if size > upto),
            holes=tuple(hole for hole in self.holes if hole[0] != first),
        )

    def failed(self, upto: int, random: Random, *, forget: bool) -> Inode:
        """Return the file after a sync that failed: some dirty sectors are durable, the others are dropped as clean.

        Args:
            upto: the file's length when the sync began.
            random: chooses which.
            forget: whether programs, too, read a dropped sector as the disk has it.
        """
        if upto <= self.clean:
            return self
        holes, data = dict(self.holes), bytearray(self.data)
        for sector in range(self.clean // SECTOR, (upto - 1) // SECTOR + 1):
            durable = self._durable(sector)
            if random.random() < 0.5:
                holes.pop(sector, None)
                continue
            holes[sector] = durable
            if forget:
                start, stop = sector * SECTOR + durable, min((sector + 1) * SECTOR, upto)
                data[start:stop] = bytes(stop - start)
        return self._replace(data=bytes(data), clean=upto, holes=tuple(sorted(holes.items())))

    def _durable(self, sector: int) -> int:
        """Tell how many bytes of a sector are certainly on the disk."""
        for hole, durable in self.holes:
            if hole == sector:
                return durable
        return max(0, min(SECTOR, self.clean - sector * SECTOR))

    def after_power_cut(self, random: Random, luck: float) -> Inode:
        """Draw what is on the disk; ``luck`` is how likely it is that a dirty sector and a new length got there."""
        size = self.size
        if self.sizes and random.random() < luck:
            size = self.sizes[-1] if random.random() < 0.5 else random.choice(self.sizes)
        data = bytearray(self.data[:size])
        dirty = range(self.clean // SECTOR, (len(self.data) - 1) // SECTOR + 1) if len(self.data) > self.clean else ()
        for sector, durable in self.holes:
            self._blank(data, sector, durable)
        for sector in dirty:
            if random.random() >= luck:
                self._blank(data, sector, self._durable(sector))
            elif self.sizes and random.random() < 0.2:  # as it was when the kernel wrote it back
                then = random.choice(self.sizes) - sector * SECTOR
                self._blank(data, sector, max(self._durable(sector), min(SECTOR, then)))
        return Inode(bytes(data), clean=size, size=size, changed=self.changed)

    @staticmethod
    def _blank(data: bytearray, sector: int, durable: int) -> None:
        start, stop = sector * SECTOR + durable, min((sector + 1) * SECTOR, len(data))
        if start < stop:
            data[start:stop] = bytes(stop - start)
