"""Retention: which sessions go, and why. Only what a person or a setting of theirs asks for ever goes (P3).

A rule names sessions that may go; a session goes when any of the rules given names it. Sessions that are being written,
and pinned ones, never go.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

import msgspec

from wiretape.errors import UsageError, WiretapeError
from wiretape.model import SessionSummary, SkippedSession, Value
from wiretape.session.catalogue import Catalogue
from wiretape.session.ids import made_ms

_MS: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneRules:
    """What may go.

    Args:
        older_than: seconds since a session's end.
        keep_last: all but so many of the newest.
        max_total: bytes; the oldest, until what is left (with what cannot go) takes no more than that.
        name: a pattern of the shell; only sessions with such a name are looked at. Given alone, all of those go.
    """

    older_than: float | None = None
    keep_last: int | None = None
    max_total: int | None = None
    name: str | None = None

    @property
    def empty(self) -> bool:
        """Whether there is no rule at all."""
        return self == PruneRules()


class PrunedSession(Value, frozen=True):
    """A session that goes. ``reason`` says by which rule; ``ended_at`` is milliseconds since the epoch."""

    session_id: str
    name: str
    bytes: int
    started_at: int
    ended_at: int | None
    reason: str


class PruneReport(Value, frozen=True):
    """What went, or with ``dry_run`` would go. ``kept`` counts the sessions that stay, ``pinned`` those among them."""

    pruned: list[PrunedSession]
    freed_bytes: int
    kept: int
    pinned: int
    dry_run: bool
    skipped: list[SkippedSession] = msgspec.field(default_factory=list)


def plan(sessions: list[SessionSummary], rules: PruneRules, now_ms: int) -> list[PrunedSession]:
    """Choose what goes, oldest first.

    Args:
        sessions: all sessions, newest first.
        now_ms: the time, in milliseconds since the epoch.
    """
    looked_at = [session for session in sessions if rules.name is None or fnmatchcase(session.name, rules.name)]
    may_go = [session for session in looked_at if session.status != "active" and not session.pinned]
    reasons: dict[str, str] = {}
    if rules == PruneRules(name=rules.name) and rules.name is not None:
        reasons = {session.session_id: f"is named like {rules.name}" for session in may_go}
    if rules.older_than is not None:
        for session in may_go:
            # What was imported is as old as its import: nobody imports a session to have it deleted.
            ended = max(session.ended_at or session.started_at, made_ms(session.session_id))
            if now_ms - ended > rules.older_than * _MS:
                reasons.setdefault(session.session_id, "is too old")
    if rules.keep_last is not None:
        for session in looked_at[rules.keep_last :]:
            if session in may_go:
                reasons.setdefault(session.session_id, f"is not among the newest {rules.keep_last}")
    if rules.max_total is not None:
        _fit(looked_at, may_go, rules.max_total, reasons)
    return [_pruned(session, reasons[session.session_id]) for session in may_go[::-1] if session.session_id in reasons]


def _fit(looked_at: list[SessionSummary], may_go: list[SessionSummary], most: int, reasons: dict[str, str]) -> None:
    total = sum(session.bytes for session in looked_at if session.session_id not in reasons)
    for session in may_go[::-1]:
        if total <= most:
            return
        if session.session_id not in reasons:
            reasons[session.session_id] = "is the oldest while all take too much room"
            total -= session.bytes


def _pruned(session: SessionSummary, reason: str) -> PrunedSession:
    return PrunedSession(
        session_id=session.session_id,
        name=session.name,
        bytes=session.bytes,
        started_at=session.started_at,
        ended_at=session.ended_at,
        reason=reason,
    )


def prune(root: Path, rules: PruneRules, *, dry_run: bool = False, now_ms: int | None = None) -> PruneReport:
    """Delete what the rules name.

    Raises:
        UsageError: there is no rule. StorageError: the sessions cannot be listed.
    """
    if rules.empty:
        raise UsageError(
            "prune has no rule, so nothing says what may go",
            hint="give --older-than, --keep-last, --max-total or --name; --dry-run shows what each would do",
        )
    catalogue = Catalogue(root)
    sessions = catalogue.list()
    chosen = plan(sessions, rules, now_ms if now_ms is not None else time.time_ns() // 1_000_000)
    gone: list[PrunedSession] = []
    skipped: list[SkippedSession] = []
    for session in chosen:
        try:
            if not dry_run:
                catalogue.delete(session.session_id)
            gone.append(session)
        except WiretapeError as error:  # begun to be written or pinned meanwhile, deleted by somebody else
            skipped.append(SkippedSession(session_id=session.session_id, reason=str(error)))
    return PruneReport(
        pruned=gone,
        freed_bytes=sum(session.bytes for session in gone),
        kept=len(sessions) - len(gone),
        pinned=sum(session.pinned for session in sessions),
        dry_run=dry_run,
        skipped=skipped,
    )
