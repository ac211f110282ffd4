"""SQL over a session: read-only, over views that are documented, bounded in rows, time and memory.

The way is datasette's: a connection that cannot write, an authorizer that knows what may be read, and a progress
handler that ends what takes too long.
"""

from __future__ import annotations

import math
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any, Final

from wiretape.errors import StorageError, UsageError, WiretapeError
from wiretape.model import Coverage, Lean
from wiretape.secrets.veil import UNVEILED, Veil
from wiretape.session.index.database import INDEX, connect
from wiretape.session.query.coverage import coverage, veiled_coverage
from wiretape.session.session import Session

MAX_ROWS: Final = 10_000
MAX_SECONDS: Final = 60.0
_MAX_BYTES: Final = 16 * 1024 * 1024
"""Of all cells of an answer."""
_MAX_QUERY: Final = 100_000
_STEPS: Final = 10_000
"""Instructions of SQLite's machine between two looks at the clock: about a tenth of a millisecond."""

VIEWS: Final[dict[str, dict[str, str]]] = {
    "exchanges": {
        "seq": "number of the exchange",
        "timestamp": "when it began, ms since the epoch",
        "method": "as the client wrote it",
        "host": "in lower case, without a port",
        "url": "whole",
        "status": "of the response; NULL where there is none",
        "state": "inFlight, complete, aborted, failed or interrupted",
        "ms": "how long it took; NULL while it runs",
        "request_size": "bytes of the request's body on the wire",
        "response_size": "bytes of the response's body on the wire",
        "content_type": "of the response",
        "error": "what went wrong, where something did",
        "source": "how the client came: explicit, connect, transparent, import, ...",
        "connection": "the client's connection; see connections",
        "upstream": "the connection to the server",
        "damaged": "1 where damage took a part of it",
    },
    "headers": {
        "seq": "the exchange",
        "side": "request, response, request trailer or response trailer",
        "name": "in lower case",
        "value": "each distinct value once an exchange",
    },
    "messages": {
        "seq": "the exchange",
        "sender": "client or server",
        "number": "of that side's messages, from 1",
        "ms": "since the exchange began",
        "opcode": "WebSocket's; 0 elsewhere",
        "event": "type of a server-sent event",
        "size": "bytes; -1 where unknown",
    },
    "marks": {"label": "as it was given", "timestamp": "ms since the epoch", "after_seq": "the last seq before it"},
    "connections": {
        "connection": "its number within its run",
        "run": "of the recorder",
        "side": "client or server",
        "host": "the server's name",
        "failed": "1 where the TLS handshake failed",
    },
}
"""What can be read: the columns of each view, and what they mean. docs/sql.md is made of it."""

_SIDES: Final = (
    "CASE b.side WHEN 0 THEN 'request' WHEN 1 THEN 'response' WHEN 2 THEN 'request trailer' ELSE 'response trailer' END"
)
_OF_BLOCKS: Final = "main.header_blocks AS b, json_each(b.found) AS v, json_each(v.value) AS s"
_SOURCES: Final[dict[str, str]] = {
    "exchanges": """SELECT seq, ts AS timestamp, method, host, wiretape_text(url) AS url, status, state,
        duration / 1e6 AS ms, request_size, response_size, content_type, wiretape_text(error) AS error, source,
        connection, upstream, damaged <> 0 AS damaged FROM main.exchanges""",
    "headers": f"""SELECT b.first + s.value AS seq, {_SIDES} AS side, b.name AS name,
            wiretape_header(b.name, v.key) AS value FROM {_OF_BLOCKS} WHERE b.name <> ''
        UNION ALL SELECT b.first + s.value, {_SIDES}, substr(v.key, 1, instr(v.key, ': ') - 1),
            wiretape_header(substr(v.key, 1, instr(v.key, ': ') - 1), substr(v.key, instr(v.key, ': ') + 2))
        FROM {_OF_BLOCKS} WHERE b.name = ''""",  # noqa: S608 - constants
    "messages": """SELECT seq, CASE side WHEN 0 THEN 'client' ELSE 'server' END AS sender, number, elapsed / 1e6 AS ms,
        opcode, event, size FROM main.messages WHERE position = 0""",
    "marks": """SELECT label, wall_ns / 1000000 AS timestamp, max(seq) AS after_seq FROM main.marks
        GROUP BY wall_ns, label""",
    "connections": "SELECT connection, run, side, host, failed FROM main.handshakes",
}
_NO_MARKS: Final = "SELECT NULL AS label, NULL AS timestamp, NULL AS after_seq WHERE 0"
_FUNCTIONS: Final = frozenset({"load_extension", "fts3_tokenizer", "sqlite_compileoption_get", "readfile", "writefile"})
_TABLES: Final = frozenset({"json_each", "json_tree"})


class SqlAnswer(Lean, frozen=True):
    """Rows of a query. ``truncated`` says that there are more; ``coverage`` what the session lacks."""

    columns: list[str]
    rows: list[list[Any]]
    returned: int
    coverage: Coverage
    truncated: bool = False


def run_sql(
    session: Session,
    query: str,
    *,
    veil: Veil,
    rows: int = 1_000,
    seconds: float = 10.0,
    cancelled: Callable[[], bool] = bool,
) -> SqlAnswer:
    """Answer a SELECT over the session's views.

    Args:
        session: it is followed to the log's end first.
        query: one statement.
        veil: what recorded text is shown through; what it hides cannot be asked for either.
        rows: how many at most.
        seconds: how long it may take.
        cancelled: asked some thousand times a second whether to end.

    Raises:
        UsageError: the statement means nothing, or reads what is no view.
        WiretapeError: it took too long or was cancelled.
    """
    if not 1 <= rows <= MAX_ROWS:
        raise UsageError(f"rows is 1 to {MAX_ROWS}, not {rows}", hint="aggregate, or ask for less")
    if not 0 < seconds <= MAX_SECONDS:
        raise UsageError(f"seconds is above 0 and at most {MAX_SECONDS:g}, not {seconds:g}", hint="ask for less")
    if not query.strip() or len(query) > _MAX_QUERY or "\0" in query:
        raise UsageError(f"a query has 1 to {_MAX_QUERY} characters and no NUL", hint=_hint())
    reach = session.follow()
    session.index.at_end()  # opens it, and keeps it from being replaced
    if session.index.private:
        raise StorageError(
            f"the index of {session.session_id} cannot be written, and SQL needs it on disk",
            hint="free some disk space",
        )
    clock = _Clock(seconds, cancelled)
    with closing(connect(session.folder / INDEX)) as db, _guarded(db, veil, clock):
        columns, found, truncated = _rows_of(db, query, rows, clock)
    return SqlAnswer(
        columns=columns,
        rows=found,
        returned=len(found),
        truncated=truncated,
        coverage=veiled_coverage(coverage(reach, empty=not found), veil),
    )


class _Clock:
    """Ends what takes too long or is not wanted any more."""

    def __init__(self, seconds: float, cancelled: Callable[[], bool]) -> None:
        self.seconds = seconds
        self.cancelled = cancelled
        self._until = time.monotonic() + seconds

    @property
    def out(self) -> bool:
        """Whether the time is used up."""
        return time.monotonic() > self._until

    def __call__(self) -> int:
        """Return what a progress handler returns: not 0 ends the statement."""
        return int(self.out or self.cancelled())


@contextmanager
def _guarded(db: sqlite3.Connection, veil: Veil, clock: _Clock) -> Iterator[None]:
    """Make the views, then let nothing be read but them."""
    db.execute("PRAGMA query_only = OFF")
    db.create_function("wiretape_text", 1, _text_function(veil), deterministic=True)
    db.create_function("wiretape_header", 2, _header_function(veil), deterministic=True)
    # A WITH clause can give any name to what it reads, and the authorizer is told that name as a view's. So what views
    # read is read by views whose names nobody can guess.
    marked = db.execute("SELECT 1 FROM main.sqlite_master WHERE name = 'marks'").fetchone()
    inner = {name: f"{name}_{secrets.token_hex(16)}" for name in _SOURCES}
    for name, source in _SOURCES.items():
        db.execute(f"CREATE TEMP VIEW {inner[name]} AS {source if name != 'marks' or marked else _NO_MARKS}")
        db.execute(f"CREATE TEMP VIEW {name} AS SELECT * FROM temp.{inner[name]}")  # noqa: S608 - both are our own
    db.execute("PRAGMA query_only = ON")
    for limit, value in (
        (sqlite3.SQLITE_LIMIT_LENGTH, 32 * 1024 * 1024),
        (sqlite3.SQLITE_LIMIT_COLUMN, 200),
        (sqlite3.SQLITE_LIMIT_EXPR_DEPTH, 200),
        (sqlite3.SQLITE_LIMIT_COMPOUND_SELECT, 50),
        (sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 1_000),
        (sqlite3.SQLITE_LIMIT_ATTACHED, 0),
    ):
        db.setlimit(limit, value)
    db.set_progress_handler(clock, _STEPS)
    db.set_authorizer(_authorizer(frozenset(inner.values())))
    yield


def _authorizer(inner: frozenset[str]) -> Callable[[int, str | None, str | None, str | None, str | None], int]:
    """Return what allows reading the views, what these read, and functions; nothing else."""

    def authorized(action: int, first: str | None, second: str | None, database: str | None, view: str | None) -> int:
        if action in {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_RECURSIVE}:
            return sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_FUNCTION:
            return sqlite3.SQLITE_DENY if (second or "").lower() in _FUNCTIONS else sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_READ and (
            second == ""  # no column, so a count at most
            or view in inner
            or first in inner
            or first in _TABLES
            or (first in VIEWS and database == "temp")
        ):
            return sqlite3.SQLITE_OK
        return sqlite3.SQLITE_DENY

    return authorized


def _rows_of(db: sqlite3.Connection, query: str, most: int, clock: _Clock) -> tuple[list[str], list[list[Any]], bool]:
    found: list[list[Any]] = []
    size = 0
    try:
        cursor = db.execute(query)
        if cursor.description is None:
            raise UsageError("the statement gives no rows: only a SELECT can be asked", hint=_hint())
        for row in cursor:
            if len(found) >= most or size > _MAX_BYTES:
                return _names(cursor), found, True
            found.append([_cell(value) for value in row])
            size += sum(len(value) if isinstance(value, str) else 8 for value in row)
        return _names(cursor), found, False
    except sqlite3.Error as error:
        raise _explained(error, clock) from None


def _names(cursor: sqlite3.Cursor) -> list[str]:
    return [column[0] for column in cursor.description]


def _cell(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _explained(error: sqlite3.Error, clock: _Clock) -> WiretapeError:
    text = str(error)
    if "interrupted" in text:
        if clock.cancelled():
            return WiretapeError("the query was cancelled", hint="ask again", code="cancelled")
        return WiretapeError(
            f"the query took longer than {clock.seconds:g} s", hint="aggregate, or ask for less", code="timeout"
        )
    if "prohibited" in text or "not authorized" in text:
        return UsageError(f"the query may only read: {text}", hint=_hint(), code="sql")
    return UsageError(f"SQLite says of the query: {text[:300]}", hint=_hint(), code="sql")


def _hint() -> str:
    return "there are the views " + "; ".join(f"{name} ({', '.join(columns)})" for name, columns in VIEWS.items())


def _text_function(veil: Veil) -> Callable[[Any], Any]:
    def show(text: Any) -> Any:
        return text if veil is UNVEILED or not isinstance(text, str) else veil.text(text)

    return show


def _header_function(veil: Veil) -> Callable[[Any, Any], Any]:
    def show(name: Any, value: Any) -> Any:
        return value if veil is UNVEILED else veil.header(str(name), str(value))

    return show
