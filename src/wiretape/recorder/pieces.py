"""Pieces of a body that are held together."""

from __future__ import annotations

from typing import Final

_MOST: Final = 64
"""Pieces of a body that are kept apart: a million of one byte each take forty times their bytes, and are slow to go
through."""


def join(pieces: list[bytes]) -> bytes:
    """Return the pieces as one; one piece is not copied."""
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def with_more(pieces: list[bytes], more: list[bytes]) -> list[bytes]:
    """Return pieces with those that came after them; few, whatever their number was."""
    both = [*pieces, *more]
    return [b"".join(both)] if len(both) > _MOST else both
