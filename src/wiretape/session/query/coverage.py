"""What an answer was made from: the audit of the log, how far the index has come, and what that means (P11)."""

from __future__ import annotations

import sqlite3
from typing import Final

import msgspec
from msgspec import UNSET

from wiretape.log.report import LogReport
from wiretape.model import Coverage, RecoveryState, RefusedRequest
from wiretape.secrets.veil import Veil
from wiretape.session.index.audits import read_report
from wiretape.session.index.database import Index

_COUNTS: Final = (
    "SELECT (SELECT ifnull(max(seq), 0) FROM exchanges), (SELECT count(*) FROM exchanges WHERE damaged),"
    " (SELECT count(*) FROM refusals), (SELECT count(*) FROM handshakes WHERE passed)"
)
_REFUSED: Final = "SELECT wall_ns, client, code, error, request FROM refusals ORDER BY wall_ns DESC LIMIT ?"
_PASSED: Final = "SELECT DISTINCT host FROM handshakes WHERE passed ORDER BY host LIMIT ?"
_ERRORS: Final = "SELECT ifnull(sum(errors), 0) FROM endpoint_minutes"
_SHOWN: Final = 10
_NAMED: Final = 3


class Reach(msgspec.Struct, frozen=True):
    """What is known of the log at one moment.

    Attributes:
        log: what the audit says, as far as the log was read.
        through_seq: the highest seq that is known.
        damaged: exchanges of which damage took a part.
        refused: clients that were turned away before there was an exchange; ``refusals`` are the newest of them.
        passed: TLS connections that were not intercepted; ``passed_hosts`` are some of their hosts.
        unread: bytes of the log that are not in the index, because reading them would have taken too long.
        size: bytes of the log, where some are unread.
    """

    log: LogReport
    through_seq: int
    damaged: int
    refused: int = 0
    refusals: tuple[RefusedRequest, ...] = ()
    passed: int = 0
    passed_hosts: tuple[str, ...] = ()
    unread: int = 0
    size: int = 0


def read_reach(index: Index, *, end: bool) -> Reach:
    """Return what the index knows; ``end`` says that it has followed the log to its end."""
    reach = index.run(lambda db: _read(db, index.session_id))
    if end:
        return reach
    read, size = index.progress()
    return msgspec.structs.replace(reach, unread=size - read, size=size)


def _read(db: sqlite3.Connection, session_id: str) -> Reach:
    # One transaction: other processes bring the index on, and counts of two moments would contradict each other.
    db.execute("BEGIN")
    try:
        through, damaged, refused, passed = db.execute(_COUNTS).fetchone()
        newest = db.execute(_REFUSED, (_SHOWN,)).fetchall() if refused else []
        hosts = tuple(row[0] for row in db.execute(_PASSED, (_SHOWN,))) if passed else ()
        log = read_report(db, session_id)
    finally:
        db.execute("COMMIT")
    refusals = tuple(
        RefusedRequest(timestamp=at // 1_000_000, client=client, code=code, error=error, request=request)
        for at, client, code, error, request in newest
    )
    return Reach(log, through, damaged, refused, refusals, passed, hosts)


def count_errors(index: Index) -> int:
    """Return how many exchanges ended in an error, by status or by what their answer says, as far as the index goes."""
    found = index.one(_ERRORS)
    return int(found[0]) if found is not None else 0


def recovery_state(log: LogReport) -> RecoveryState:
    """Say what the state of a log is; streams that are being written are not expected to be closed."""
    if log.gaps or log.lost_exchanges:
        return "damaged"
    if (log.segments and log.unclosed) or log.torn_tail_bytes or log.interrupted:
        return "recovered"
    return "clean"


def coverage(reach: Reach, *, empty: bool = False, notes: list[str] | None = None) -> Coverage:
    """Say what an answer was made from; an empty one over incomplete data gets a sentence (P11)."""
    log, found = reach.log, list(notes or [])
    unread = unread_note(reach)
    if unread is not None:
        found.append(unread)
    if log.dropped:
        found.append(f"{_many(log.dropped)} passed while nothing could be recorded and cannot be found.")
    if log.lost_exchanges:
        found.append(f"{_many(log.lost_exchanges)} lost to damage and cannot be found.")
    if reach.damaged:
        found.append(f"{_many(reach.damaged)} damaged: parts may be missing.")
    if empty and log.in_flight:
        found.append(f"{_many(len(log.in_flight))} still running: what has not arrived cannot match.")
    if empty and log.gaps and not (reach.damaged or log.lost_exchanges):
        found.append("Parts of the log are damaged.")
    if reach.refused:
        found.append(_refused_note(reach))
    if reach.passed:
        hosts = ", ".join(reach.passed_hosts[:_NAMED]) + (", ..." if len(reach.passed_hosts) > _NAMED else "")
        many = "1 TLS connection was" if reach.passed == 1 else f"{reach.passed} TLS connections were"
        found.append(f"{many} not intercepted (to {hosts}): of them the log has sizes and times, no requests.")
    return Coverage(
        through_seq=reach.through_seq,
        in_flight=len(log.in_flight),
        dropped=log.dropped,
        damaged=reach.damaged + log.lost_exchanges,
        notes=found,
        refused=reach.refused or UNSET,
        passed_through=reach.passed or UNSET,
        refused_requests=list(reach.refusals) or UNSET,
    )


def veiled_coverage(told: Coverage, veil: Veil) -> Coverage:
    """Return a coverage as it may be shown: what was refused is recorded, too."""
    refused = told.refused_requests
    if isinstance(refused, list):
        refused = [
            msgspec.structs.replace(one, error=veil.text(one.error), request=veil.text(one.request)) for one in refused
        ]
    return msgspec.structs.replace(told, notes=[veil.text(note) for note in told.notes], refused_requests=refused)


def _refused_note(reach: Reach) -> str:
    """Say which requests are no exchanges because they were refused, the newest by name."""
    named = [f"{one.request or one.client} ({one.error or one.code})" for one in reach.refusals[:_NAMED]]
    what = "1 request was" if reach.refused == 1 else f"{reach.refused} requests were"
    more = "; ..." if reach.refused > _NAMED else ""
    return f"{what} refused before there was an exchange: {'; '.join(named)}{more}."


def unread_note(reach: Reach) -> str | None:
    """Say how far an index that is still being made goes; None when it goes to the log's end."""
    if not reach.unread:
        return None
    read, size = ((count / 1_000_000) for count in (reach.size - reach.unread, reach.size))
    return (
        f"The index is still being made: {read:,.0f} of {size:,.0f} MB of the log are read, up to exchange"
        f" {reach.through_seq}; what follows cannot be found yet. Ask again."
    )


def _many(count: int) -> str:
    return "1 exchange" if count == 1 else f"{count} exchanges"
