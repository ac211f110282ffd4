"""The URLs of many exchanges in one row, so that a text is looked for in thousands of them at once.

To read a million rows of ``exchanges`` for their URLs takes half a second. A block is one text with a line for each of
thousands of exchanges, and most blocks need no more than one look.
"""

from __future__ import annotations

import sqlite3
from array import array
from collections.abc import Callable, Iterator
from typing import Final

SCHEMA: Final = """
CREATE TABLE url_blocks (
    block INTEGER PRIMARY KEY,
    exchanges INTEGER NOT NULL,
    seqs BLOB NOT NULL,          -- of each line, numbers of 64 bits
    urls BLOB NOT NULL           -- a line for each exchange, UTF-8; letters of ASCII are in lower case
);
"""
_MOST: Final = 8_192
_MOST_BYTES: Final = 4 * 1024 * 1024
"""Exchanges of one block, and bytes of blocks that are joined: a URL can have hundreds of kilobytes."""
_PUT: Final = "INSERT INTO url_blocks (exchanges, seqs, urls) VALUES (?, ?, ?)"
_LAST: Final = "SELECT block, exchanges, length(urls) FROM url_blocks ORDER BY block DESC LIMIT 1"
_BLOCK: Final = "SELECT seqs, urls FROM url_blocks WHERE block = ?"
_BLOCKS: Final = "SELECT seqs, urls FROM url_blocks ORDER BY block DESC"


class UrlBlocks:
    """Gathers the URLs of a transaction; ``write`` puts them into the database."""

    def __init__(self) -> None:
        self._seqs = array("q")
        self._urls: list[str] = []

    def add(self, seq: int, url: str) -> None:
        """Take the URL of an exchange."""
        self._seqs.append(seq)
        self._urls.append(url)

    def write(self, db: sqlite3.Connection) -> None:
        """Put everything into the database; blocks before that are not larger are joined with it."""
        for begin in range(0, len(self._urls), _MOST):
            _write(db, self._seqs[begin : begin + _MOST], self._urls[begin : begin + _MOST])
        self._seqs = array("q")
        self._urls.clear()


def _write(db: sqlite3.Connection, seqs: array[int], urls: list[str]) -> None:
    lines = "\n".join(urls)
    if lines.count("\n") >= len(urls):  # a forged log has line ends in the name of a host
        lines = "\n".join(url.replace("\n", " ") for url in urls)
    text = lines.encode("utf-8", "replace").lower()
    numbers = seqs.tobytes()
    count = len(urls)
    while (last := db.execute(_LAST).fetchone()) is not None:
        block, exchanges, size = last
        if exchanges > count or exchanges + count > _MOST or size + len(text) > _MOST_BYTES:
            break
        before, text_before = db.execute(_BLOCK, (block,)).fetchone()
        numbers, text, count = before + numbers, b"%b\n%b" % (text_before, text), exchanges + count
        db.execute("DELETE FROM url_blocks WHERE block = ?", (block,))
    db.execute(_PUT, (count, numbers, text))


Lines = Callable[[bytes], Iterator[int]]
"""Takes a text, and yields the numbers of its lines, from 0 on, that may be meant."""


def seqs_with_url(db: sqlite3.Connection, lines: Lines, most: int) -> list[int] | None:
    """Return the exchanges whose URL may be meant, and all that are; None where they are more than ``most``.

    Exchanges whose beginning is lost have no URL, and are not looked at.

    Raises:
        sqlite3.DatabaseError: the index is broken.
    """
    found: list[int] = []
    for numbers, text in db.execute(_BLOCKS):
        meant = list(lines(text))
        if meant:
            seqs = memoryview(numbers).cast("q")
            if meant[-1] >= len(seqs):
                raise sqlite3.DatabaseError("a block of URLs in the index has more lines than exchanges")
            found += [seqs[line] for line in meant]
        if len(found) > most:
            return None
    return found
