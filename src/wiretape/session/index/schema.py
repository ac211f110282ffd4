"""The tables that belong to the index itself: which segments it has met, and how far each projection has come.

The file is disposable: where it is of another version, of another session or damaged, it is made again from the log.
"""

from __future__ import annotations

import re
import sqlite3
import zlib
from collections.abc import Iterable
from typing import Final

from wiretape.session.index.projection import Projection

VERSION: Final = 4
"""Grows with every change of the tables below; a projection has a version of its own."""

_TABLES: Final = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE segments (          -- that were begun to be read
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    stream INTEGER NOT NULL,     -- what the segment says of itself; its name where its head is damaged
    number INTEGER NOT NULL,
    healed INTEGER NOT NULL,     -- its healed copy was read
    run INTEGER NOT NULL,        -- id of the first segment of the same run
    head BLOB                    -- its record; NULL where that is damaged
);
CREATE TABLE projections (
    name TEXT PRIMARY KEY,
    version INTEGER NOT NULL,
    seen TEXT                    -- the state of the log to whose end it has come last
) WITHOUT ROWID;
CREATE TABLE places (            -- how far each projection has come in each segment
    projection TEXT,
    segment INTEGER,
    position INTEGER NOT NULL,   -- bytes
    sealed INTEGER NOT NULL,     -- the seal is behind it
    PRIMARY KEY (projection, segment)
) WITHOUT ROWID;
"""


def is_current(db: sqlite3.Connection, session_id: str, projections: Iterable[Projection]) -> bool:
    """Return whether the database has the tables of this version, for this session and all these projections.

    Raises:
        sqlite3.DatabaseError: it is no sound database.
    """
    if db.execute("PRAGMA user_version").fetchone()[0] != VERSION:
        return False
    found = db.execute("SELECT value FROM meta WHERE key = 'session'").fetchone()
    if found is None or found[0] != session_id:
        return False
    versions = dict(db.execute("SELECT name, version FROM projections"))
    return all(versions.get(projection.name) == projection.version for projection in projections)


def make_tables(db: sqlite3.Connection, session_id: str, projections: Iterable[Projection]) -> None:
    """Make the tables that are missing or of another version, within the caller's transaction.

    What a projection of another version had made is dropped, and the log is read for it anew; the others stay.
    """
    projections = list(projections)
    if not is_current(db, session_id, ()):
        start_again(db, session_id, projections)
        return
    versions = dict(db.execute("SELECT name, version FROM projections"))
    for projection in projections:
        if versions.get(projection.name) != projection.version:
            for table in projection.tables:
                db.execute(f"DROP TABLE IF EXISTS {table}")
            db.execute("DELETE FROM places WHERE projection = ?", (projection.name,))
            _create(db, projection)
    db.execute(f"PRAGMA application_id = {_stamp(projections)}")


def start_again(db: sqlite3.Connection, session_id: str, projections: Iterable[Projection]) -> None:
    """Empty the database and make all tables, within the caller's transaction."""
    projections = list(projections)
    kinds = ("trigger", "view", "index", "table")
    found = db.execute("SELECT type, name FROM sqlite_master WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\'").fetchall()
    for kind, name in sorted(found, key=lambda one: kinds.index(one[0])):
        quoted = name.replace('"', '""')
        db.execute(f'DROP {kind} IF EXISTS "{quoted}"')
    _run(db, _TABLES)
    db.execute("INSERT INTO meta VALUES ('session', ?)", (session_id,))
    for projection in projections:
        _create(db, projection)
    db.execute(f"PRAGMA user_version = {VERSION}")
    db.execute(f"PRAGMA application_id = {_stamp(projections)}")


def is_outdated(header: bytes, projections: Iterable[Projection]) -> bool:
    """Return whether a database with this header (its first 100 bytes) was made by another version of the program.

    It costs one read and no opening: https://www.sqlite.org/fileformat.html, offsets 60 and 68.
    """
    version, stamp = header[60:64], header[68:72]
    return version != VERSION.to_bytes(4, "big") or stamp != _stamp(projections).to_bytes(4, "big")


def _stamp(projections: Iterable[Projection]) -> int:
    versions = [(projection.name, projection.version) for projection in projections]
    return zlib.crc32(repr(versions).encode()) & 0x7FFFFFFF  # SQLite's is signed


def _create(db: sqlite3.Connection, projection: Projection) -> None:
    _run(db, projection.schema)
    db.execute("INSERT OR REPLACE INTO projections VALUES (?, ?, NULL)", (projection.name, projection.version))


def _run(db: sqlite3.Connection, statements: str) -> None:
    for statement in re.sub(r"--.*", "", statements).split(";"):
        if statement.strip():
            db.execute(statement)
