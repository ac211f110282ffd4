"""Values that are another at each run: times, ids, tokens."""

from __future__ import annotations

import re
from typing import Any, Final

_SHAPES: Final = re.compile(
    r"""
    [0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}    # UUID
    | \d{4}-\d\d-\d\d([T ]\d\d:\d\d.*)?                                            # ISO 8601
    | (Mon|Tue|Wed|Thu|Fri|Sat|Sun),?[ ]\d\d.*                                     # RFC 9110 section 5.6.7
    | (?=[0-9a-fA-F]*\d)[0-9a-fA-F]{8,}                                            # a digest, or an id of hex digits
    | [A-Za-z]{1,12}[_-](?=[A-Za-z0-9]*\d)[A-Za-z0-9]{6,}                          # c_feface39e5, ORD-8095A7F8
    | eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]*)+                         # JWT
    | 0[1-9A-HJKMNP-TV-Z][0-9A-HJKMNP-TV-Z]{24}                                    # ULID
    """,
    re.VERBOSE,
)
_TOKEN: Final = re.compile(r"[A-Za-z0-9+/_=.~-]{16,}")
_MIN_LETTERS: Final = 3
_NAMES: Final = frozenset(
    {
        "timestamp", "time", "ts", "date", "now", "elapsed", "duration", "took", "nonce", "requestid", "traceid",
        "correlationid", "spanid", "createdat", "updatedat", "expiresat", "placedat", "expires", "etag", "uptime",
    }
)  # fmt: skip
_SEPARATORS: Final = re.compile(r"[^a-z0-9]+")
_SECONDS: Final = range(1_000_000_000, 4_000_000_000)


def is_volatile(value: Any) -> bool:
    """Return whether a value of JSON looks like one that is made anew each time."""
    if isinstance(value, bool):
        return False
    if isinstance(value, int | float):
        return int(value) in _SECONDS or int(value / 1000) in _SECONDS if abs(value) < 1e18 else False
    if not isinstance(value, str) or not 6 <= len(value) <= 10_000:
        return False
    if _SHAPES.fullmatch(value) is not None:
        return True
    return _TOKEN.fullmatch(value) is not None and _is_mixed(value)


def _is_mixed(value: str) -> bool:
    """Return whether digits and letters of both cases stand among each other, as in random tokens."""
    digits = sum(char.isdigit() for char in value)
    upper = sum(char.isupper() for char in value)
    lower = sum(char.islower() for char in value)
    return digits >= 2 and upper >= _MIN_LETTERS and lower >= _MIN_LETTERS


def is_volatile_name(name: str) -> bool:
    """Return whether a field of this name holds such a value."""
    return _SEPARATORS.sub("", name.lower()) in _NAMES
