"""The index's tables. The file is disposable: another version, or damage, means that it is made again from the log."""

from __future__ import annotations

import re
import sqlite3
from typing import Final

from wiretape.session.index.rows import ExchangeRow

VERSION: Final = 3
"""Grows with every change of the tables or of what goes into them."""

_TABLES: Final = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE segments (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    stream INTEGER NOT NULL,
    number INTEGER NOT NULL,
    position INTEGER NOT NULL,   -- bytes read so far
    run INTEGER NOT NULL,        -- id of the first segment of the same run
    run_key TEXT NOT NULL,
    begun INTEGER NOT NULL,      -- ms, 0 when the head is damaged
    ended INTEGER NOT NULL,      -- ms of the seal, else of the last exchange
    closed INTEGER NOT NULL      -- 0 not sealed, 1 sealed, 2 sealed and final, -1 does not belong to this log
);
CREATE TABLE account (           -- of the log, as far as it was read (log/audit.py); NULL when it was given up
    id INTEGER PRIMARY KEY, state BLOB
);
CREATE TABLE streams (
    stream INTEGER PRIMARY KEY,
    step INTEGER NOT NULL,
    first_seq INTEGER NOT NULL,
    next_seq INTEGER NOT NULL,   -- one step behind the highest seq known to have been given
    present INTEGER NOT NULL     -- exchanges of which anything is there
);
CREATE TABLE exchanges (
    seq INTEGER PRIMARY KEY,
    run INTEGER NOT NULL,
    state TEXT NOT NULL,
    ts INTEGER NOT NULL,         -- ms
    method TEXT NOT NULL,
    host TEXT NOT NULL,
    url TEXT NOT NULL,
    status INTEGER,
    duration INTEGER,            -- ns
    request_size INTEGER NOT NULL,
    response_size INTEGER NOT NULL,
    request_seen INTEGER NOT NULL,   -- bytes of body in the log, as far as read
    response_seen INTEGER NOT NULL,
    content_type TEXT,
    error TEXT,
    harmed INTEGER NOT NULL,     -- damage took a part of it
    special INTEGER NOT NULL,    -- its text is not all there as plain bytes of single frames: coded, in pieces, cut
    source TEXT NOT NULL,
    connection INTEGER NOT NULL,
    upstream INTEGER NOT NULL,
    opened_in INTEGER, opened_at INTEGER,
    done_in INTEGER, done_at INTEGER
);
CREATE INDEX running ON exchanges (seq) WHERE state = 'inFlight';
CREATE INDEX interrupted ON exchanges (seq) WHERE state = 'interrupted';
CREATE INDEX harmed ON exchanges (seq) WHERE harmed;
CREATE TABLE pieces (            -- further frames of exchanges that have more than OPENED and DONE
    seq INTEGER, segment INTEGER, offset INTEGER, kind INTEGER, position INTEGER,
    PRIMARY KEY (seq, segment, offset)
) WITHOUT ROWID;
CREATE TABLE handshakes (
    run INTEGER, connection INTEGER, side TEXT, segment INTEGER, offset INTEGER, host TEXT, failed INTEGER,
    PRIMARY KEY (segment, offset)
) WITHOUT ROWID;
CREATE INDEX handshakes_of ON handshakes (run, connection);
CREATE TABLE events (
    segment INTEGER, offset INTEGER, kind TEXT, dropped INTEGER, detail TEXT, PRIMARY KEY (segment, offset)
) WITHOUT ROWID;
CREATE TABLE unrecorded (seq INTEGER PRIMARY KEY);  -- passed, at least in part, while the log could not be written
CREATE TABLE damage (
    segment INTEGER, offset INTEGER, length INTEGER, reason TEXT, tail INTEGER, seqs TEXT,
    PRIMARY KEY (segment, offset)
) WITHOUT ROWID;
"""

EXCHANGE_COLUMNS: Final = ExchangeRow.__struct_fields__
SELECT_EXCHANGE: Final = f"SELECT {', '.join(EXCHANGE_COLUMNS)} FROM exchanges WHERE seq = ?"  # noqa: S608 - constants


def create_tables(db: sqlite3.Connection, session_id: str) -> None:
    """Make the tables in an empty database, within the caller's transaction."""
    for statement in re.sub(r"--.*", "", _TABLES).split(";"):
        if statement.strip():
            db.execute(statement)
    db.execute("INSERT INTO meta VALUES ('session', ?)", (session_id,))
    db.execute(f"PRAGMA user_version = {VERSION}")


def has_tables(db: sqlite3.Connection, session_id: str) -> bool:
    """Tell whether the database has the tables of this version, for this session.

    Raises:
        sqlite3.DatabaseError: it is no sound database.
    """
    if db.execute("PRAGMA user_version").fetchone()[0] != VERSION:
        return False
    found = db.execute("SELECT value FROM meta WHERE key = 'session'").fetchone()
    return found is not None and found[0] == session_id
