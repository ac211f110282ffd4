"""The log's account as the index keeps it: gone on with where the index goes on, so that nothing is read twice.

What an incremental reader cannot account for exactly (segments under a wrong name, of another session, that appear
late) makes it give the account up; then the whole log has to be read for a report, and is.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final

from google_crc32c import value as crc32c

from wiretape.errors import DamagedError
from wiretape.log.audit import Account
from wiretape.log.format import SegmentHead
from wiretape.log.inventory import Placed, missing_gaps
from wiretape.log.items import Damage, Frame
from wiretape.log.report import LogReport
from wiretape.log.store import SegmentRef

_MAX_BYTES: Final = 1024 * 1024
"""An account that is larger than this is given up: it is written with every transaction."""
_CRC_BYTES: Final = 4
"""SQLite does not check its content, and a number that is off by a bit would be believed."""


class Tally:
    """The account during one transaction of the index."""

    def __init__(self, db: sqlite3.Connection) -> None:
        """Go on with what the index holds.

        Raises:
            sqlite3.DatabaseError: it cannot be read; the index is broken.
        """
        self._db = db
        self._account = read_account(db)

    def take(self, ref: SegmentRef, items: Sequence[Frame | Damage]) -> None:
        """Take what was read next in a segment, at least one item."""
        if self._account is not None and self._account.last(ref.stream) != ref.number:
            self._begin(ref, _head(items[0]))
        if self._account is not None:
            self._account.read(ref.stream, items)

    def reached(self, ref: SegmentRef, position: int, *, live: bool) -> None:
        """Say how far a segment was read; one without any frame counts once its writer is gone."""
        if self._account is not None and self._account.last(ref.stream) < ref.number and not live:
            self._begin(ref, None)
        if self._account is not None and self._account.last(ref.stream) == ref.number:
            self._account.reached(ref.stream, position)

    def give_up(self) -> None:
        """Keep no account of this log any more."""
        self._account = None

    def write(self) -> None:
        """Put the account into the database, within the caller's transaction."""
        state = None
        if self._account is not None and self._account.whole:
            try:
                state = self._account.save()
            except OverflowError:  # a forged number; msgpack's have 64 bits
                state = None
        if state is not None and len(state) > _MAX_BYTES:
            state = None
        sealed = None if state is None else crc32c(state).to_bytes(_CRC_BYTES, "little") + state
        self._db.execute("INSERT OR REPLACE INTO account VALUES (1, ?)", (sealed,))

    def _begin(self, ref: SegmentRef, head: SegmentHead | None) -> None:
        account = self._account
        assert account is not None
        last = account.last(ref.stream)
        if ref.number < last or not _in_order(account, ref, head):
            self._account = None
            return
        missing = missing_gaps(ref.stream, last + 1, ref.number - last - 1) if ref.number > last + 1 else []
        account.begin(Placed(ref.stream, ref.number, ref, head, None), missing)


def _in_order(account: Account, ref: SegmentRef, head: SegmentHead | None) -> bool:
    """Tell whether reading from end to end would have met this segment in the same way."""
    if head is None:
        return account.step != 0
    if (head.stream, head.number) != (ref.stream, ref.number):
        return False
    return account.step in {0, head.streams} or not account.begins_before(ref.stream)


def _head(item: Frame | Damage) -> SegmentHead | None:
    if isinstance(item, Damage) or item.offset:
        return None
    try:
        record = item.record()
    except DamagedError:
        return None
    return record if isinstance(record, SegmentHead) else None


def read_account(db: sqlite3.Connection) -> Account | None:
    """Give the account that the index holds; None when it was given up.

    Raises:
        sqlite3.DatabaseError: it cannot be read; the index is broken.
    """
    found = db.execute("SELECT state FROM account").fetchone()
    if found is None:
        return Account()
    if found[0] is None:
        return None
    crc, state = found[0][:_CRC_BYTES], found[0][_CRC_BYTES:]
    if crc32c(state).to_bytes(_CRC_BYTES, "little") != crc:
        raise sqlite3.DatabaseError("the account in the index is damaged")
    try:
        return Account.load(state)
    except DamagedError as error:
        raise sqlite3.DatabaseError(error.message) from error


def report_of(account: Account | None, session_id: str, segments: list[SegmentRef]) -> LogReport | None:
    """Give what a check of the whole log would report, of a log that nobody writes; None when only that can tell."""
    if account is None or not account.whole:
        return None
    for stream in account.streams:
        account.end(stream)
    return account.report(session_id, size=sum(ref.size for ref in segments), segments=len(segments))
