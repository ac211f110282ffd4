"""Keeping answers small enough for a model, and saying what was left out and how to get it."""

from __future__ import annotations

import msgspec

from wiretape.model import Value

BUDGET = 24_000
"""Bytes of JSON that an answer may have: some 8,000 tokens, below the 10,000 at which clients warn."""


def size_of(value: Value) -> int:
    """Return the bytes of a value's JSON."""
    return len(msgspec.json.encode(value))
