"""Amazon's event stream: https://docs.aws.amazon.com/AmazonS3/latest/API/RESTSelectObjectAppendix.html"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

_PRELUDE: Final = struct.Struct(">III")
_MAX: Final = 24 * 1024 * 1024
_SIZES: Final = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
"""Bytes of a header's value, by its type; types 6 and 7 say their length."""


class StreamMessage(NamedTuple):
    """One message: where it ends in the body, its headers that are text, and its payload."""

    end: int
    headers: dict[str, str]
    payload: bytes


def stream_messages(data: bytes) -> Iterator[StreamMessage]:
    """Yield the whole messages of a body; it ends at the first one that is cut or is none."""
    at = 0
    while at + _PRELUDE.size + 4 <= len(data):
        total, headers, _ = _PRELUDE.unpack_from(data, at)
        begin = at + _PRELUDE.size
        if not 16 <= total <= _MAX or headers > total - 16 or at + total > len(data):
            return
        yield StreamMessage(at + total, _headers(data[begin : begin + headers]), data[begin + headers : at + total - 4])
        at += total


def _headers(block: bytes) -> dict[str, str]:
    found: dict[str, str] = {}
    at = 0
    while at + 2 <= len(block):
        length = block[at]
        name = block[at + 1 : at + 1 + length].decode("utf-8", "replace")
        at += 1 + length
        kind = block[at] if at < len(block) else -1
        at += 1
        if kind in {6, 7} and at + 2 <= len(block):
            size = int.from_bytes(block[at : at + 2], "big")
            if kind == 7:
                found[name] = block[at + 2 : at + 2 + size].decode("utf-8", "replace")
            at += 2 + size
        elif kind in _SIZES:
            at += _SIZES[kind]
        else:
            break
    return found
