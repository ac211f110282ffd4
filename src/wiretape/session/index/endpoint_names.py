"""Which endpoint a request is for: its method, host and template of a path, each kept once and bounded in number."""

from __future__ import annotations

import sqlite3
from collections import Counter
from typing import Final

from wiretape.heads import start_line
from wiretape.views.operations import ANY, LOOKED_AT, is_word, operation_name, serves_many, split_url, template

MOST_SIBLINGS: Final = 32
"""Values in one position of a path that are told apart while the log is read."""
MOST_TEMPLATES: Final = 5_000
"""Templates of one method and host that are told apart; of the others only the beginning of the path is kept."""

_OPENINGS: Final = frozenset({b"{", b"["})
_MAX_WORD: Final = 200
_MAX_LINE: Final = 1_000
_MAX_MEMO: Final = 50_000
_MAX_KEPT: Final = 200_000
"""Endpoints beyond which nothing of them is kept between transactions."""


class EndpointNames:
    """Endpoints by what they are made of; a host's are bounded in number.

    It is kept from one transaction to the next, as long as the database holds what the last one left (``Memory``).
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._lines: dict[tuple[str, bytes], int] = {}
        self._ids: dict[tuple[str, str, str], int] = {}
        self._siblings: dict[tuple[str, str, str], set[str]] = {}
        self._stored: dict[tuple[str, str, str], int] = {}
        self._counts: Counter[tuple[str, str]] = Counter()
        self._loaded = False
        self.manifold: dict[int, bool] = {0: False}

    @property
    def too_many(self) -> bool:
        """Whether it holds more than may be kept while nothing is read."""
        return len(self._stored) > _MAX_KEPT

    def find(self, host: str, payload: bytes, begin: int, end: int) -> int:
        """Return the endpoint of a request: its head lies in ``payload`` from ``begin``, its body from ``end``."""
        stop = payload.find(b"\n", begin, end)
        line = payload[begin : stop if stop >= 0 else end]
        mark = line.find(b"?")
        known = host, line if mark < 0 else line[: mark + 1]
        found = self._lines.get(known)
        if found is not None and not (len(payload) > end and _may_name(payload, end)):
            return found
        method, target, _ = start_line(payload[begin:end] if line[:1] == b":" else line)
        path, query = _split(target) if target[:1] == "/" else split_url(target)
        many = "ql" in path or "QL" in path
        asks = many or payload[end : end + 1] in _OPENINGS
        name = operation_name(path, query, payload[end : end + LOOKED_AT]) if asks else ""
        made = template(path)
        endpoint = self._intern(method, host, f"{made}#{name}" if name else made)
        # A path with a value in it hardly comes again; one with a name may ask for something else the next time.
        if made == path and not name and not (many and query) and _is_plain(*known):
            if len(self._lines) >= _MAX_MEMO:
                self._lines.clear()
            self._lines[known] = endpoint
        return endpoint

    def _intern(self, method: str, host: str, made: str) -> int:
        key = (method, host, made)
        found = self._ids.get(key)
        if found is None:
            if not self._loaded:
                self._load()
            if len(self._ids) >= _MAX_MEMO:
                self._ids.clear()
            method, host, made = sound(method[:_MAX_WORD]), sound(host[:_MAX_WORD].lower()), sound(made)
            found = self._stored_as(method, host, self._without_siblings(method, host, made))
            if len(method) < _MAX_WORD and len(host) < _MAX_WORD:
                self._ids[key] = found
        return found

    def _load(self) -> None:
        for number, method, host, made in self._db.execute("SELECT id, method, host, template FROM endpoints"):
            self._without_siblings(method, host, made)
            self._stored[method, host, made] = number
            self._counts[method, host] += 1
        self._loaded = True

    def _without_siblings(self, method: str, host: str, made: str) -> str:
        """Put ``{*}`` where a position has had many values already: an overview would fold them anyway.

        Without it a host of a million files would have as many endpoints.
        """
        path, mark, name = made.partition("#")
        parts = path.split("/")
        before = ""
        for at, part in enumerate(parts):
            if part and part[0] != "{" and not is_word(part):
                siblings = self._siblings.setdefault((method, host, before), set())
                if len(siblings) >= MOST_SIBLINGS and part not in siblings:
                    parts[at] = ANY
                else:
                    siblings.add(part)
            before = f"{before}/{parts[at]}"
        return "/".join(parts) + mark + name

    def _stored_as(self, method: str, host: str, made: str) -> int:
        found = self._stored.get((method, host, made))
        if found is not None:
            return found
        count = self._counts[method, host]
        if count >= MOST_TEMPLATES and made != "/{*}":
            beginning = "/".join(made.split("/")[:2]) if count < 2 * MOST_TEMPLATES else ""
            coarse = f"{beginning}/{{*}}"
            return self._stored_as(method, host, coarse if coarse != made else "/{*}")
        put = "INSERT INTO endpoints (method, host, template) VALUES (?, ?, ?)"
        found = self._stored[method, host, made] = int(self._db.execute(put, (method, host, made)).lastrowid or 0)
        self._counts[method, host] += 1
        return found

    def is_manifold(self, endpoint: int) -> bool:
        """Return whether an endpoint's answers have statuses of success also where something went wrong."""
        found = self.manifold.get(endpoint)
        if found is None:
            row = self._db.execute("SELECT template FROM endpoints WHERE id = ?", (endpoint,)).fetchone()
            found = self.manifold[endpoint] = row is not None and ("#" in row[0] or serves_many(row[0]))
        return found


def _is_plain(host: str, line: bytes) -> bool:
    """Return whether a request line up to its query says what is asked for, and may be kept."""
    return len(host) <= _MAX_WORD and len(line) <= _MAX_LINE and b" " in line and line[:1] != b":"


def _may_name(payload: bytes, at: int) -> bool:
    """Return whether a request's body, from ``at``, may say which operation of its path it asks for."""
    return payload[at : at + 1] in _OPENINGS and (
        payload.find(b'"query"', at) >= 0
        or payload.find(b'"operationName"', at) >= 0
        or payload.find(b'"jsonrpc"', at) >= 0
    )


def _split(target: str) -> tuple[str, str]:
    path, _, query = target.partition("?")
    return path, query


def sound(text: str) -> str:
    """Return a text as SQLite takes it: without halves of surrogate pairs."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
