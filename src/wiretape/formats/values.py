"""Values of other programs' recordings, taken for what they are or refused."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

MAX_TEXT: Final = 256 * 1024
"""Characters of a text that stands in a head."""
MAX_MS: Final = 2**63 // 1_000_000 - 1
"""Milliseconds whose nanoseconds the log can hold: to the year 2262."""
NO_TEXT: Final = re.compile("[\udc80-\udcff]")
"""Bytes that were no UTF-8, as ``surrogateescape`` gives them."""
_MAX_NUMBER: Final = 2**53
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}")
"""A method (RFC 9110 section 5.6.2)."""


def pairs(headers: Any) -> Iterator[tuple[Any, Any]]:
    """Give headers one by one, from an object, a list of pairs or objects, or Node's list of names and values.

    Raises:
        TypeError, ValueError, KeyError: they are none of these.
    """
    if isinstance(headers, dict):
        for name, value in headers.items():
            for one in value if isinstance(value, list) else [value]:
                yield name, one
    elif headers and all(isinstance(item, str) for item in headers):
        yield from zip(headers[::2], headers[1::2], strict=True)
    else:
        for item in headers:
            if isinstance(item, dict):
                yield item["name"], item["value"]
            else:
                name, value = item
                yield name, value


def number(value: Any) -> int:
    """Give a whole number from 0 on.

    Raises:
        ValueError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _MAX_NUMBER:
        raise ValueError("no number")
    return int(value)


def milliseconds(value: Any) -> float | None:
    """Give milliseconds; None where they are none that the log can hold."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MAX_MS:
        return None
    return value


def status_code(value: Any) -> int | None:
    """Give a status; None where there was none, which is written as 0 or not at all.

    Raises:
        ValueError: it is no status.
    """
    status = number(value or 0)
    if status and not 100 <= status <= 999:
        raise ValueError("no status")
    return status or None


def token(value: Any) -> str:
    """Give a method.

    Raises:
        ValueError: it is none that HTTP allows.
    """
    if not isinstance(value, str) or not _TOKEN.fullmatch(value):
        raise ValueError("no method")
    return value


def shown(text: str) -> str:
    """Give a text without what could end a line or the text around it."""
    return "".join(char if char.isprintable() else " " for char in text)
