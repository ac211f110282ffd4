"""What two things are that are compared: sessions, what follows a mark, or single exchanges."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import msgspec

from wiretape.model import ExchangeDetail, Filter
from wiretape.session.ids import split_address
from wiretape.session.session import Session

MOST: Final = 5_000
"""Exchanges of a part that are compared."""
_ALIGNED: Final = 1_000_000
"""Pairs of exchanges up to which common runs are looked for; above, the n-th of an operation is beside the n-th."""
MAX_BODY: Final = 1024 * 1024
"""Decoded bytes of a body that are compared."""
_ROWS: Final = (
    "SELECT seq, method, host, url, status, state, duration,"
    " (SELECT template FROM endpoint_of AS o JOIN endpoints AS e ON e.id = o.endpoint WHERE o.seq = exchanges.seq)"
    " FROM exchanges"
)
_CHOSEN: Final = "WHERE seq IN (SELECT value FROM json_each(?))"


class Item(msgspec.Struct, frozen=True):
    """One exchange of a part, as the index knows it. ``op`` is its operation, without the host."""

    seq: int
    op: str
    host: str
    url: str
    status: int
    state: str
    ms: float | None


class Part:
    """What is on one side of a comparison.

    Args:
        session: where it lies; it is followed when the items are read.
        name: what it is called in the answer.
        wanted: which exchanges of the session.
        seqs: only these; a single one is compared with whatever stands on the other side, whatever it asked for.
    """

    def __init__(
        self, session: Session, name: str, wanted: Filter | None = None, seqs: Sequence[int] | None = None
    ) -> None:
        self.session = session
        self.name = name
        self.wanted = wanted if wanted is not None else Filter()
        self.seqs = seqs
        self.more = 0

    def items(self) -> list[Item]:
        """Return the exchanges in their order, ``MOST`` at most; ``more`` is how many there are besides."""
        seqs = list(self.seqs) if self.seqs is not None else None
        if seqs is None and self.wanted != Filter():
            chosen = self.session.chosen(self.wanted).seqs
            seqs = list(chosen[:MOST])
            self.more = len(chosen) - len(seqs)
        if seqs is not None:
            encoded = msgspec.json.encode(seqs).decode()
            rows = self.session.index.rows(f"{_ROWS} {_CHOSEN} ORDER BY seq", [encoded])
        else:
            rows = self.session.index.rows(f"{_ROWS} ORDER BY seq LIMIT ?", [MOST])
            counted = self.session.index.one("SELECT count(*) FROM exchanges")
            self.more = max(0, (counted[0] if counted is not None else 0) - len(rows))
        return [_item(*row) for row in rows]

    def exchange(self, seq: int) -> ExchangeDetail:
        """Return one of its exchanges."""
        return self.session.exchange(seq, max_body=MAX_BODY)


def _item(
    seq: int, method: str, host: str, url: str, status: int | None, state: str, duration: int | None, made: str | None
) -> Item:
    ms = None if duration is None else duration / 1e6
    return Item(seq, f"{method} {made or ''}".strip(), host, url, status or 0, state, ms)


def part_of(open_session: Callable[[str], Session], text: str, wanted: Filter | None = None) -> Part:
    """Return what ``SESSION``, ``SESSION@MARK`` (what follows a mark) or ``SESSION:SEQ`` means.

    Args:
        open_session: opens a session by what people call it.
        text: the name of the part.
        wanted: which exchanges of a session.

    Raises:
        UsageError, NotFoundError: it means nothing.
    """
    session = open_session(session_of(text))
    if session_of(text) == text:
        return Part(session, text, wanted)
    if "@" in text:
        return Part(session, text, msgspec.structs.replace(wanted or Filter(), since=text.partition("@")[2]))
    seq = split_address(text).seq
    session.exchange(seq, bodies=False)  # says why there is none
    return Part(session, text, seqs=[seq])


def session_of(text: str) -> str:
    """Return what the session of a part is called. A name with ``@`` in it is reached by its id."""
    if "@" in text:
        return text.partition("@")[0]
    session, colon, number = text.rpartition(":")
    return session if colon and session and number.isdigit() else text


Pair = tuple[Item | None, Item | None]


def aligned(a: Sequence[Item], b: Sequence[Item]) -> list[Pair]:
    """Put exchanges beside each other that do the same, in the order of ``a``; what has no partner stands alone.

    The longest common runs first; then what is left of the same operation, in order: clients that send several
    requests at once have no fixed order.
    """
    if len(a) == 1 and len(b) == 1:
        return [(a[0], b[0])]
    hosts = len({item.host for item in a}) > 1 and len({item.host for item in b}) > 1
    keys = [[f"{item.op} {item.host if hosts else ''}" for item in side] for side in (a, b)]
    partner: dict[int, int] = {}
    if len(a) * len(b) <= _ALIGNED:  # the time that difflib takes grows with the product
        matcher = difflib.SequenceMatcher(None, keys[0], keys[1], autojunk=False)
        for block in matcher.get_matching_blocks():
            partner.update({block.a + at: block.b + at for at in range(block.size)})
    taken = set(partner.values())
    free: dict[str, list[int]] = {}
    for at in range(len(b) - 1, -1, -1):
        if at not in taken:
            free.setdefault(keys[1][at], []).append(at)
    for at in range(len(a)):
        if at not in partner and free.get(keys[0][at]):
            partner[at] = free[keys[0][at]].pop()
    return _in_order(a, b, partner)


def _in_order(a: Sequence[Item], b: Sequence[Item], partner: dict[int, int]) -> list[Pair]:
    """Return the pairs as ``a`` has them, and what only ``b`` has behind what it follows there."""
    matched = {there: here for here, there in partner.items()}
    pairs: list[tuple[tuple[int, int, int], Pair]] = []
    for here, item in enumerate(a):
        there = partner.get(here)
        pairs.append(((here, 0, 0), (item, None if there is None else b[there])))
    before = -1
    for there, item in enumerate(b):
        if there in matched:
            before = matched[there]
        else:
            pairs.append(((before, 1, there), (None, item)))
    return [pair for _, pair in sorted(pairs, key=lambda one: one[0])]


def problems_of(session: Session, seqs: Iterable[int]) -> dict[int, tuple[int, str]]:
    """Return the outcome and the message of each of these exchanges that went wrong."""
    encoded: Any = msgspec.json.encode(list(seqs)).decode()
    rows = session.index.rows(
        "SELECT seq, outcome, message FROM problems WHERE seq IN (SELECT value FROM json_each(?))", (encoded,)
    )
    return {seq: (outcome, message) for seq, outcome, message in rows}


def operation_of(session: Session, seq: int) -> str:
    """Return what an exchange asked for; empty where its request is lost."""
    row = session.index.one(
        "SELECT method, template FROM endpoint_of JOIN endpoints ON id = endpoint WHERE seq = ?", (seq,)
    )
    return "" if row is None else f"{row[0]} {row[1]}"
