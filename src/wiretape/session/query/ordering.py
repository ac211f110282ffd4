"""The order of a list, and cursors that stay true while new exchanges arrive."""

from __future__ import annotations

import base64
import zlib
from typing import Any, Final, NamedTuple

import msgspec

from wiretape.errors import UsageError
from wiretape.model import Filter

MAX_LIMIT: Final = 10_000
SORTABLE: Final = {
    "seq": "seq", "time": "ts", "method": "method", "host": "host", "url": "url", "status": "status", "state": "state",
    "ms": "duration", "up": "request_size", "down": "response_size", "type": "content_type",
}  # fmt: skip
"""What a list can be sorted by, and the column."""
_TEXTS: Final = frozenset({"method", "host", "url", "state", "type"})


class Order(NamedTuple):
    """By which column, and whether the largest comes first. Equal ones are in the order of their numbers."""

    column: str
    descending: bool


def read_order(text: str) -> Order:
    """Read ``asc``, ``desc`` (by number), ``COLUMN``, ``COLUMN:asc`` or ``COLUMN:desc``.

    A column alone gives the largest first, texts in the order of the alphabet.

    Raises:
        UsageError: there is no such column or direction.
    """
    if text in {"asc", "desc"}:
        return Order("seq", text == "desc")
    name, colon, direction = text.partition(":")
    if name not in SORTABLE or (colon and direction not in {"asc", "desc"}):
        raise UsageError(
            f"sort is asc, desc or a column, not {text[:40]!r}",
            hint=f"columns are {', '.join(SORTABLE)}; COLUMN:asc and COLUMN:desc give the direction",
        )
    return Order(SORTABLE[name], direction == "desc" if colon else name not in _TEXTS)


def check_page(limit: int, offset: int) -> None:
    """Check how much is asked for.

    Raises:
        UsageError: a value is out of its range.
    """
    if not 1 <= limit <= MAX_LIMIT:
        raise UsageError(f"limit is 1 to {MAX_LIMIT}, not {limit}", hint="follow nextCursor for more")
    if not 0 <= offset < 2**63:
        raise UsageError(f"offset is 0 or more, not {offset}", hint="prefer the cursor: it is stable and fast")


class Cursor(msgspec.Struct, frozen=True, array_like=True):
    """Where the next page begins.

    Attributes:
        after: the last exchange of the page before, and ``value`` what it had in the column sorted by.
        through: keeps later arrivals out.
        matched: how many there were, at least; all of them where ``counted``.
        what: a checksum of session, filter and order: a cursor only continues the query it came from.
        now: when the first page was asked for, in ms since the epoch: ``-5m`` means the same on every page.
    """

    after: int
    through: int
    matched: int
    counted: bool
    what: int
    now: int
    value: int | float | str | None = None


def query_checksum(session_id: str, wanted: Filter, sort: str) -> int:
    """Return the checksum that ties a cursor to its query."""
    return zlib.crc32(repr((session_id, wanted, sort)).encode("utf-8", "backslashreplace"))


def encode_cursor(cursor: Cursor) -> str:
    """Return a cursor as text that survives shells and JSON."""
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(cursor)).decode().rstrip("=")


def decode_cursor(text: str, what: int) -> Cursor:
    """Read a cursor back.

    Raises:
        UsageError: it is none, or one of another query.
    """
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        cursor = msgspec.msgpack.decode(raw, type=Cursor)
    except (ValueError, msgspec.DecodeError):
        raise UsageError("The cursor is not one that a query gave", hint="start again without it") from None
    if cursor.what != what:
        raise UsageError(
            "The cursor belongs to a query with another session, filter or sort",
            hint="repeat the same arguments with it",
        )
    numbers: list[Any] = [cursor.after, cursor.through, cursor.matched, cursor.now]
    numbers += [cursor.value] if isinstance(cursor.value, int) else []
    if not all(-(2**63) <= value < 2**63 for value in numbers):
        raise UsageError("The cursor is not one that a query gave", hint="start again without it")
    return cursor
