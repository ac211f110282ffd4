"""Pieces of a body that are held together."""

from __future__ import annotations

from typing import Final

from wiretape.recorder.ports import Pieces

_MOST: Final = 64
"""Pieces of a body that are kept apart: a million of one byte each take forty times their bytes, and are slow to go
through."""


def join(pieces: Pieces) -> bytes:
    """Return the pieces as one; one piece is not copied."""
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def with_more(pieces: Pieces, more: Pieces) -> Pieces:
    """Return pieces with those that came after them; few, whatever their number was."""
    both = [*pieces, *more]
    return [b"".join(both)] if len(both) > _MOST else both
