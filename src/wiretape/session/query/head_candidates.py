"""Which exchanges can have what is looked for in their URL or headers: from the index, without reading the log."""

from __future__ import annotations

import sqlite3
from typing import Final

from wiretape.session.index.headers import (
    REQUEST_HEADER,
    REQUEST_TRAILER,
    RESPONSE_HEADER,
    RESPONSE_TRAILER,
    decoded,
)
from wiretape.session.query.needles import Needle

SIDES: Final = {
    "request": (REQUEST_HEADER, REQUEST_TRAILER),
    "response": (RESPONSE_HEADER, RESPONSE_TRAILER),
}
_BLOCKS: Final = (
    "SELECT b.side, b.name, b.first, b.found FROM header_sizes AS s JOIN header_blocks AS b ON b.block = s.block"
    " WHERE s.first <= ? AND s.last >= ?"
)
_URLS: Final = "SELECT seq, url FROM exchanges WHERE seq BETWEEN ? AND ?"
_AT_ONCE: Final = 2_000
"""URLs that are held at once."""
_GAPS: Final = "SELECT seq FROM header_gaps WHERE seq BETWEEN ? AND ?"


def in_heads(db: sqlite3.Connection, needle: Needle, sides: tuple[str, ...], first: int, last: int) -> set[int]:
    """Return the exchanges from ``first`` to ``last`` that have it in a header or URL, and those with odd heads.

    Raises:
        sqlite3.DatabaseError: the index is broken.
    """
    found = {seq for (seq,) in db.execute(_GAPS, (first, last))}
    wanted = {one for side in sides for one in SIDES[side]}
    for side, name, begin, values in db.execute(_BLOCKS, (last, first)):
        if side in wanted:
            found |= _in_values(needle, name, begin, decoded(values), first, last)
    if "request" in sides:
        urls = db.execute(_URLS, (first, last))
        while rows := urls.fetchmany(_AT_ONCE):
            if not needle.by_bytes or needle.find("\n".join([url for _, url in rows]).encode("utf-8", "replace")):
                found.update(seq for seq, url in rows if needle.find(url.encode("utf-8", "replace")))
    return found


def _in_values(needle: Needle, name: str, begin: int, values: dict[str, list[int]], first: int, last: int) -> set[int]:
    found: set[int] = set()
    # One look at all values of a name tells of most names that none has it.
    whole = "\n".join(values) if ":" not in needle.text else "\n".join(f"{name}: {value}" for value in values)
    if needle.by_bytes and not needle.find(f"{name}: \n{whole}".encode("utf-8", "replace")):
        return found
    for value, seqs in values.items():
        line = f"{name}: {value}" if name else value
        if needle.find(line.encode("utf-8", "replace")):
            found.update(begin + seq for seq in seqs if first <= begin + seq <= last)
    return found
