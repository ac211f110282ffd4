"""Recovery: everything derived is made again from the log, which is only read (P3 to P7).

What it writes depends on the log alone, never on time or chance, and each file appears whole or not at all; so a run
that was killed is simply repeated, and a second run finds everything as it would write it.

There are two ways. ``recover_session`` reads the whole log. ``adopt_account`` takes what the index found when it read
the log, so that a session can be used at once; it reports the same, but what has been damaged since is not noticed, so
its report is not ``verified``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from wiretape.errors import BusyError
from wiretape.log.body_check import DeepCheck
from wiretape.log.locks import writer_alive
from wiretape.log.report import LogReport
from wiretape.log.reserve import remove_reserves
from wiretape.log.store import SegmentRef, list_segments
from wiretape.log.verify import verify_log
from wiretape.model import HealedSegment, RecoveredSession, RecoveryState, VerifyReport
from wiretape.private_files import derived_lock
from wiretape.session.index.database import Index, Progress
from wiretape.session.index.health import fingerprint, read_health
from wiretape.session.index.rebuild import build_index, is_built
from wiretape.session.manifest import read_manifest, write_manifest
from wiretape.session.metadata import new_manifest
from wiretape.session.recovery.heal import heal_session
from wiretape.session.recovery.history import Recovery, read_recovery, write_recovery
from wiretape.session.recovery.quarantine import quarantine


def recover_session(
    folder: Path,
    session_id: str,
    *,
    dry_run: bool = False,
    progress: Progress | None = None,
    keep_index: bool = False,
) -> RecoveredSession:
    """Read a session's log and make its index, manifest, recovery report and quarantine again.

    Args:
        folder: the session's folder; the caller has no index of it open.
        dry_run: write nothing; the report is the same.
        progress: called with (bytes read, bytes to read); the log is read once to check it and, where the index is not
            one that was made in this way, once more for that.
        keep_index: leave an index that agrees with the log as it is, however it was made.

    Raises:
        BusyError: the session is being written.
        NotFoundError, StorageError, LogVersionError: its log cannot be read, or nothing can be written.
    """
    log_dir = folder / "log"
    _refuse_live(log_dir, session_id)
    segments = list_segments(log_dir)
    total = sum(ref.size for ref in segments)
    passes = 1 if dry_run or keep_index else 2
    check = None if progress is None else lambda done, _: progress(done, passes * total)
    log = verify_log(log_dir, session_id, check)
    _refuse_live(log_dir, session_id)
    healed = heal_session(folder, {gap.segment for gap in log.gaps}, dry_run=dry_run)
    if dry_run:
        return _report(session_id, log, verified=True, healed=healed)
    if healed or list_segments(log_dir) != segments:
        segments, log = list_segments(log_dir), verify_log(log_dir, session_id)
    report = _report(session_id, log, verified=True, healed=healed)
    state = fingerprint(segments)
    follow = None if progress is None else lambda done, _: progress((passes - 1) * total + done, passes * total)
    with derived_lock(folder):
        kept = keep_index or is_built(folder, session_id, state)
        if not (kept and _agrees(folder, report, segments)) and not build_index(folder, session_id, state, follow):
            _tell_index(folder, report)
        index = Index(folder, session_id)
        try:
            index.follow()
            _write(folder, report, log, state, index)
        finally:
            index.close()
    return report


def adopt_account(folder: Path, index: Index, segments: list[SegmentRef], log: LogReport) -> RecoveredSession:
    """Write manifest, recovery report and quarantine from the account that the index drew up as it read the log.

    Args:
        folder: the session's folder.
        index: the session's index; it has followed ``segments`` to their end.
        log: what ``Index.report`` gave.

    Raises:
        NotFoundError, StorageError: nothing can be written.
    """
    report = _report(index.session_id, log, verified=False)
    with derived_lock(folder):
        _write(folder, report, log, fingerprint(segments), index)
    return report


def _refuse_live(log_dir: Path, session_id: str) -> None:
    holder = writer_alive(log_dir)
    if holder is not None:
        raise BusyError(
            f"Session {session_id} is live: process {holder['pid']} is writing it",
            hint="stop it first, or use verify, which only reads",
            pid=holder["pid"],
        )


def _agrees(folder: Path, report: RecoveredSession, segments: list[SegmentRef]) -> bool:
    """Tell whether the index accounts for the log as it was just found to be."""
    index = Index(folder, report.session_id)
    try:
        index.follow()
        if index.private:
            return False
        log = index.report(segments)
        if log is None:
            return not index.unknown(report.gaps)
        return _report(report.session_id, log, verified=True, healed=report.healed) == report
    finally:
        index.close()


def _tell_index(folder: Path, report: RecoveredSession) -> None:
    """Note the damage in an index that cannot be replaced because another process has it open."""
    index = Index(folder, report.session_id)
    try:
        index.follow()
        index.note_damage(report.gaps)
    finally:
        index.close()


# -- reports ------------------------------------------------------------------------------------------------------


def _report(
    session_id: str, log: LogReport, *, verified: bool, healed: Sequence[HealedSegment] = ()
) -> RecoveredSession:
    state: RecoveryState = "clean"
    if log.gaps or log.lost_exchanges:
        state = "damaged"
    elif _unclean(log):
        state = "recovered"
    return RecoveredSession(
        session_id=session_id,
        exchanges=log.exchanges,
        interrupted=len(log.interrupted) + log.interrupted_unlisted,
        dropped_tail_bytes=log.torn_tail_bytes,
        lost_exchanges=log.lost_exchanges,
        gaps=log.gaps,
        quarantined_bytes=sum(gap.length for gap in log.gaps),
        recovery_state=state,
        verified=verified,
        healed=list(healed),
    )


def _unclean(log: LogReport) -> bool:
    """Tell whether the log lacks its proper end; one without any segment has nothing to end."""
    return bool(log.segments and not log.closed_cleanly) or bool(log.torn_tail_bytes or log.interrupted)


def verify_report(session_id: str, log: LogReport, check: DeepCheck | None = None) -> VerifyReport:
    """Turn what was found in a log, and in its bodies, into the report that leaves the program."""
    named = {seq for gap in log.gaps for seq in gap.exchanges}
    disagreeing = [seq for seq in check.disagreeing if seq not in named] if check is not None else []
    damaged = bool(log.gaps or log.lost_exchanges or disagreeing)
    return VerifyReport(
        session_id=session_id,
        exchanges=log.exchanges,
        interrupted=len(log.interrupted) + log.interrupted_unlisted,
        lost_exchanges=log.lost_exchanges,
        gaps=log.gaps,
        torn_tail_bytes=log.torn_tail_bytes,
        state="damaged" if damaged else "live" if log.holder is not None else "unclean" if _unclean(log) else "clean",
        in_flight=len(log.in_flight),
        dropped=log.dropped,
        bytes=log.bytes,
        segments=log.segments,
        notes=list(log.notes),
        deep=check is not None,
        bodies=check.bodies if check is not None else 0,
        disagreeing=disagreeing,
    )


# -- files --------------------------------------------------------------------------------------------------------


def _write(folder: Path, report: RecoveredSession, log: LogReport, state: str, index: Index) -> None:
    """Write everything that follows from a report; the caller holds ``derived_lock``, the index is at the log's end."""
    remove_reserves(folder / "log")
    begun, ended, _ = index.times()
    names = quarantine(folder, log.gaps)
    recovery = Recovery(session_id=report.session_id, log=state, report=report, quarantine=names, log_ended_at=ended)
    write_recovery(folder, recovery)
    _write_manifest(folder, report, log, state, index, (begun, ended))


def _write_manifest(
    folder: Path, report: RecoveredSession, log: LogReport, state: str, index: Index, times: tuple[int, int]
) -> None:
    begun, ended = times
    old = read_manifest(folder, report.session_id) or new_manifest(report.session_id, index, begun)
    new = msgspec.structs.replace(
        old,
        started_at=begun or old.started_at,
        ended_at=ended or old.ended_at,
        exchanges=report.exchanges,
        interrupted=report.interrupted,
        lost=log.lost_exchanges,
        dropped=max(read_health(index).dropped, log.dropped),
        recovery_state=report.recovery_state,
        verified=report.verified or _was_verified(folder, state),
        log=state,
    )
    write_manifest(folder, new)


def _was_verified(folder: Path, state: str) -> bool:
    recovery = read_recovery(folder)
    return recovery is not None and recovery.log == state and recovery.report.verified
