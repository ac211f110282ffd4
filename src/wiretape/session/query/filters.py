"""Filters to SQL, and cursors that stay true while new exchanges arrive."""

from __future__ import annotations

import base64
import re
import zlib
from typing import Any, Final, Literal, NamedTuple

import msgspec
from msgspec import UNSET

from wiretape.errors import UsageError
from wiretape.model import ExchangeSummary, Filter
from wiretape.session.ids import exchange_id

Sort = Literal["asc", "desc"]
MAX_LIMIT: Final = 10_000
_MAX_TEXT: Final = 8192
STATES: Final = ("inFlight", "complete", "aborted", "failed", "interrupted")

_MAX_URL: Final = 16 * 1024
"""Characters of a URL that a list gives, and many times what browsers take; the exchange itself has it whole."""
SUMMARY_COLUMNS: Final = (
    f"seq, ts, method, substr(url, 1, {_MAX_URL}), status, state, duration, request_size, response_size, content_type,"
    " error, damaged, special OR damaged"
)
_STATUS: Final = re.compile(r"([1-9][0-9]{2})|([1-9])xx", re.ASCII | re.IGNORECASE).fullmatch

_SEQ_IN: Final = "seq IN (SELECT value FROM json_each(?))"
_SOURCE_IN: Final = "source IN (SELECT value FROM json_each(?))"


class Where(NamedTuple):
    """A condition in SQL and its parameters."""

    sql: str
    params: list[Any]


def where(wanted: Filter) -> Where:
    """Turn a filter, all but its ``text``, into a condition over ``exchanges``.

    Raises:
        UsageError: a value means nothing.
    """
    _check_text(wanted)
    parts: list[str] = []
    params: list[Any] = []

    def add(sql: str, *values: Any) -> None:
        parts.append(sql)
        params.extend(values)

    if wanted.method is not None:
        add("method = ? COLLATE NOCASE", wanted.method)
    if wanted.host is not None:
        host = wanted.host.lower().strip("[]")
        add("(host = ? OR host LIKE ? ESCAPE '\\')", host, "%." + _escape(host))
    if wanted.host_contains is not None:
        add("instr(host, ?) > 0", wanted.host_contains.lower())
    if wanted.url_contains is not None:
        add("url LIKE ? ESCAPE '\\'", f"%{_escape(wanted.url_contains)}%")
    if wanted.status is not None:
        low, high = _status(wanted.status)
        add("status BETWEEN ? AND ?", low, high)
    if wanted.state is not None:
        add("state = ?", _state(wanted.state))
    for name, sql in (("from_ts", "ts >= ?"), ("to_ts", "ts <= ?"), ("from_seq", "seq >= ?")):
        bound: int | None = getattr(wanted, name)
        if bound is not None:
            add(sql, _int64(bound, name))
    for values, sql in ((wanted.seqs, _SEQ_IN), (wanted.sources, _SOURCE_IN)):
        if values is not None:
            add(sql, msgspec.json.encode(values).decode())
    return Where(" AND ".join(parts) or "1", params)


def _check_text(wanted: Filter) -> None:
    for name in ("method", "host", "host_contains", "url_contains", "text"):
        value = getattr(wanted, name)
        if value is None:
            continue
        if not value or len(value) > _MAX_TEXT:
            raise UsageError(f"{name} has 1 to {_MAX_TEXT} characters, not {len(value)}", hint="leave it out for any")
        if any("\ud800" <= char <= "\udfff" for char in value):
            raise UsageError(f"{name} is no valid text", hint="give it as UTF-8")


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _status(text: str) -> tuple[int, int]:
    match = _STATUS(text)
    if match is None:
        raise UsageError(f"{text[:40]!r} is no status", hint="give a code such as 404, or a class such as 4xx")
    if match[1]:
        return int(match[1]), int(match[1])
    return int(match[2]) * 100, int(match[2]) * 100 + 99


def _state(text: str) -> str:
    for state in STATES:
        if text.lower() == state.lower():
            return state
    raise UsageError(f"{text[:40]!r} is no state of an exchange", hint=f"give one of {', '.join(STATES)}")


def _int64(value: int, name: str) -> int:
    if not -(2**63) <= value < 2**63:
        raise UsageError(f"{name} is no time in milliseconds: {value}", hint="give milliseconds since the epoch")
    return value


def check_page(sort: str, limit: int, offset: int) -> None:
    """Check what does not come from the filter.

    Raises:
        UsageError: a value is out of its range.
    """
    if sort not in {"asc", "desc"}:
        raise UsageError(f"sort is asc or desc, not {sort[:20]!r}", hint="asc is oldest first, desc newest first")
    if not 1 <= limit <= MAX_LIMIT:
        raise UsageError(f"limit is 1 to {MAX_LIMIT}, not {limit}", hint="follow nextCursor for more")
    if not 0 <= offset < 2**63:
        raise UsageError(f"offset is 0 or more, not {offset}", hint="prefer the cursor: it is stable and fast")


class Cursor(msgspec.Struct, frozen=True, array_like=True):
    """Where the next page begins: behind ``after``; ``through`` keeps later arrivals out, ``matched`` stays.

    ``what`` is a checksum of session, filter and sort: a cursor only continues the query it came from.
    """

    after: int
    through: int
    matched: int
    what: int


def fingerprint(session_id: str, wanted: Filter, sort: str) -> int:
    """Return the checksum that ties a cursor to its query."""
    return zlib.crc32(msgspec.json.encode([session_id, wanted, sort]))


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
    if not all(-(2**63) <= value < 2**63 for value in (cursor.after, cursor.through, cursor.matched)):
        raise UsageError("The cursor is not one that a query gave", hint="start again without it")
    return cursor


def summary(session_id: str, row: tuple[Any, ...]) -> ExchangeSummary:
    """Turn a row of SUMMARY_COLUMNS into the value that leaves the program."""
    seq, ts, method, url, status, state, duration, sent, received, content_type, error, damaged, _ = row
    return ExchangeSummary(
        seq=seq,
        exchange_id=exchange_id(session_id, seq),
        timestamp=ts,
        method=method,
        url=url,
        status_code=status,
        state=state,
        duration=None if duration is None else round(duration / 1e6, 3),
        request_body_size=sent,
        response_body_size=received,
        response_content_type=content_type,
        error=error,
        damaged=True if damaged else UNSET,
    )
