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
_MAX_DIGITS: Final = 4300
"""Above it Python reads no integer by default."""
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}")
"""A method (RFC 9110 section 5.6.2)."""


def pairs(headers: Any) -> Iterator[tuple[Any, Any] | None]:
    """Yield headers one by one, from an object, a list of pairs or objects, or Node's list of names and values.

    What is no header in them is None, so that it costs itself alone.

    Raises:
        TypeError: they are none of these.
    """
    if isinstance(headers, dict):
        for name, value in headers.items():
            for one in value if isinstance(value, list) else [value]:
                yield name, one
    elif headers and all(isinstance(item, str) for item in headers):
        yield from zip(headers[::2], headers[1::2], strict=False)
        if len(headers) % 2:
            yield None
    else:
        for item in headers:
            yield _pair(item)


def _pair(item: Any) -> tuple[Any, Any] | None:
    if isinstance(item, dict):
        return (item["name"], item["value"]) if "name" in item and "value" in item else None
    return (item[0], item[1]) if isinstance(item, list) and len(item) == 2 else None


def integer(digits: str) -> int | float:
    """Return a whole number of JSON exactly; as a float where it is so long that Python refuses to read it."""
    return int(digits) if len(digits) <= _MAX_DIGITS else float(digits)


def scalar(value: Any) -> Any:
    """Return a number, a boolean or null as the text that JSON has for it, null as none; anything else as it is."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else value


def number(value: Any) -> int:
    """Return a whole number from 0 on.

    Raises:
        ValueError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _MAX_NUMBER:
        raise ValueError("no number")
    return int(value)


def milliseconds(value: Any) -> float | None:
    """Return milliseconds; None where they are none that the log can hold."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MAX_MS:
        return None
    return value


def status_code(value: Any) -> int | None:
    """Return a status; None where there was none, which is written as 0 or not at all.

    Raises:
        ValueError: it is no status.
    """
    status = number(value or 0)
    if status and not 100 <= status <= 999:
        raise ValueError("no status")
    return status or None


def token(value: Any) -> str:
    """Return a method.

    Raises:
        ValueError: it is none that HTTP allows.
    """
    if not isinstance(value, str) or not _TOKEN.fullmatch(value):
        raise ValueError("no method")
    return value


def characters(text: str) -> str:
    """Return a text of a head with bytes that were no UTF-8 in it as one character a byte, as browsers show them."""
    return text.encode("utf-8", "surrogateescape").decode("latin-1") if NO_TEXT.search(text) else text


def in_line(text: str) -> str:
    """Return a text that can stand in a line of a head: control characters of ASCII but the tab become spaces.

    Everything else is kept: browsers write each byte of a header as one character, so those from U+0080 on are bytes
    of names and values.
    """
    return _CONTROL.sub(" ", text)
