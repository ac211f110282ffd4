"""Records that are longer than a frame's head holds are cut, so that nothing which is to be recorded can be refused."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from wiretape.errors import LogError
from wiretape.log.format import MAX_HEAD, Record

_LIMITS: Final = ((MAX_HEAD, 8), (1_000, 8), (100, 8), (10, 2))
"""Characters of a text, items of a list, bytes of a byte string; and how deep lists may lie. The last always fits."""
_CUT: Final = "\u2026"
_INTEGERS: Final = range(-(2**63), 2**64)
_encode = msgspec.msgpack.Encoder().encode


def fitted(record: Record | msgspec.Raw) -> bytes:
    """Return a record as msgpack in at most MAX_HEAD bytes: its texts, byte strings and lists cut where it is longer.

    What msgpack has no form for (half a surrogate pair, an integer of more than 64 bits) is replaced.

    Raises:
        LogError: it is msgpack already, and longer.
    """
    if isinstance(record, msgspec.Raw):
        raise LogError(f"a record of {len(bytes(record))} bytes is longer than a frame's head", code="too-long")
    encoded = b""
    for limit, depth in _LIMITS:
        values = [_cut(getattr(record, name), limit, depth) for name in record.__struct_fields__]
        encoded = _encode(type(record)(*values))
        if len(encoded) <= MAX_HEAD:
            break
    return encoded


def _cut(value: Any, limit: int, depth: int) -> Any:
    """Cut a value and what it holds; what is none of msgpack's types is written as text."""
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        return value if value in _INTEGERS else str(value)[:limit]
    if isinstance(value, bytes):
        return value[:limit]
    if depth and isinstance(value, dict):
        items = list(value.items())[:limit]
        return {_cut(str(key), limit, depth - 1): _cut(item, limit, depth - 1) for key, item in items}
    if depth and isinstance(value, list | tuple):
        return [_cut(item, limit, depth - 1) for item in value[:limit]]
    text = str(value).encode(errors="replace").decode()
    return text if len(text) <= limit else text[: limit - 1] + _CUT
