"""Reed-Solomon for blocks of which it is known which are gone: m parity blocks heal any m of k + m.

Arithmetic is in GF(2^8) with the polynomial x^8 + x^4 + x^3 + x^2 + 1; the matrix is Cauchy's, of which every square
part can be inverted (J. Bloemer et al., An XOR-based erasure-resilient coding scheme, ICSI TR-95-048). A block is
multiplied by ``bytes.translate`` and added as one large integer: the inner loops are the interpreter's own, in C.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

ELEMENTS: Final = 256
"""k + m at most."""
_POLYNOMIAL: Final = 0x11D


class Code:
    """``data`` blocks and ``parity`` blocks, all of one length.

    Raises:
        ValueError: there are no such codes: too many blocks, or none.
    """

    def __init__(self, data: int, parity: int) -> None:
        if data < 1 or parity < 1 or data + parity > ELEMENTS:
            raise ValueError(f"no code has {data} data and {parity} parity blocks")
        self.data = data
        self.parity = parity
        self._exp, self._log = _powers()
        self._rows = [[self._inverse(j ^ (parity + i)) for i in range(data)] for j in range(parity)]
        self._tables: dict[int, bytes] = {}

    def add(self, sums: list[int], index: int, block: bytes) -> None:
        """Add data block ``index`` to the parity blocks, which are integers, little-endian, 0 at the beginning."""
        for row, coefficients in enumerate(self._rows):
            sums[row] ^= self._times(block, coefficients[index])

    def heal(
        self, missing: Sequence[int], parity: Mapping[int, bytes], read: Callable[[int], bytes]
    ) -> dict[int, bytes]:
        """Return missing data blocks.

        Args:
            missing: their indices.
            parity: at least as many parity blocks by their indices; all of one length.
            read: returns a data block that is not missing.

        Raises:
            ValueError: there are too few parity blocks.
        """
        if len(parity) < len(missing):
            raise ValueError(f"{len(missing)} blocks are gone, and {len(parity)} of parity are there")
        rows = sorted(parity)[: len(missing)]
        length = len(parity[rows[0]]) if rows else 0
        sums = [int.from_bytes(parity[row], "little") for row in rows]
        gone = set(missing)
        for index in range(self.data):
            if index not in gone:
                block = read(index)
                for at, row in enumerate(rows):
                    sums[at] ^= self._times(block, self._rows[row][index])
        inverse = self._inverted([[self._rows[row][index] for index in missing] for row in rows])
        blocks = [one.to_bytes(length, "little") for one in sums]
        healed = {}
        for at, index in enumerate(missing):
            value = 0
            for block, coefficient in zip(blocks, inverse[at], strict=True):
                value ^= self._times(block, coefficient)
            healed[index] = value.to_bytes(length, "little")
        return healed

    # -- the field ----------------------------------------------------------------------------------------------

    def _times(self, block: bytes, factor: int) -> int:
        table = self._tables.get(factor)
        if table is None:
            table = self._tables[factor] = bytes(self._product(factor, value) for value in range(ELEMENTS))
        return int.from_bytes(block.translate(table), "little")

    def _product(self, one: int, other: int) -> int:
        return self._exp[self._log[one] + self._log[other]] if one and other else 0

    def _inverse(self, value: int) -> int:
        return self._exp[255 - self._log[value]]

    def _inverted(self, matrix: list[list[int]]) -> list[list[int]]:
        """Invert by elimination; a part of a Cauchy matrix always can be."""
        size = len(matrix)
        work = [[*row, *(int(at == other) for other in range(size))] for at, row in enumerate(matrix)]
        for column in range(size):
            pivot = next(at for at in range(column, size) if work[at][column])
            work[column], work[pivot] = work[pivot], work[column]
            scale = self._inverse(work[column][column])
            work[column] = [self._product(scale, value) for value in work[column]]
            for at in range(size):
                factor = work[at][column]
                if at != column and factor:
                    other = work[column]
                    work[at] = [value ^ self._product(factor, other[i]) for i, value in enumerate(work[at])]
        return [row[size:] for row in work]


def _powers() -> tuple[list[int], list[int]]:
    exp, log, value = [0] * 512, [0] * ELEMENTS, 1
    for power in range(255):
        exp[power] = exp[power + 255] = value
        log[value] = power
        value <<= 1
        if value & ELEMENTS:
            value ^= _POLYNOMIAL
    return exp, log
