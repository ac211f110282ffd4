"""Bodies that both ends can compute from the request target alone, of any size, without holding them."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator

BLOCK = 64 * 1024


def body_blocks(key: str, size: int) -> Iterator[bytes]:
    """Yield the body for ``key`` in blocks of at most 64 KiB.

    Every block starts with its number, so that a block lost, repeated or swapped on the way changes the body even
    where the length stays the same.
    """
    filler = hashlib.shake_256(key.encode()).digest(BLOCK - 8)
    for number in itertools.count():
        left = size - number * BLOCK
        if left <= 0:
            return
        block = number.to_bytes(8, "big") + filler
        yield block if left >= BLOCK else block[:left]


def body_for(target: str, size: int) -> bytes:
    """Return the whole body that the origin sends for ``target`` (path and query as sent)."""
    return b"".join(body_blocks(target, size))


def body_sha256(target: str, size: int) -> str:
    """Return the hex SHA-256 of :func:`body_for` without building the body."""
    digest = hashlib.sha256()
    for block in body_blocks(target, size):
        digest.update(block)
    return digest.hexdigest()


def text_for(target: str, size: int) -> bytes:
    """Return ``size`` bytes of ASCII text for ``target``: compressible, searchable, numbered lines."""
    lines = (f"{number:08d} the answer to {target}\n".encode() for number in itertools.count())
    out = bytearray()
    while len(out) < size:
        out += next(lines)
    return bytes(out[:size])
