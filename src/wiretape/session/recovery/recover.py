"""Recovery: everything derived is made again from the log, which is only read (P3 to P7).

What it writes depends on the log alone, never on time or chance, and each file appears whole or not at all; so a run
that was killed is simply repeated, and a second run finds everything as it would write it.

There are two ways. ``recover_session`` reads the whole log. ``adopt_audit`` takes what the index found when it read the
log, so that a session can be used at once. It reports the same, but what has been damaged since is not noticed; a
report's ``verified`` says whether every byte was read for it. The index is made again where it does not say what was
found; its bytes may differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

import msgspec

from wiretape.errors import BusyError
from wiretape.log.body_check import DeepCheck
from wiretape.log.locks import writer_alive
from wiretape.log.report import LogReport
from wiretape.log.reserve import remove_reserves
from wiretape.log.store import fingerprint, list_segments
from wiretape.log.verify import verify_log
from wiretape.model import HealedSegment, RecoveredSession, VerifyReport
from wiretape.private_files import derived_lock
from wiretape.session.index.database import Index, Progress
from wiretape.session.manifest import read_manifest, write_manifest
from wiretape.session.metadata import new_manifest
from wiretape.session.query.coverage import count_errors, recovery_state
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
        folder: the session's folder.
        session_id: the session.
        dry_run: write nothing; the report is the same.
        progress: called with (bytes read, bytes to read); the log is read once to check it, and once more to make the
            index again.
        keep_index: leave an index that says of the log what was found, or none where there is none.

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
    follow = None if progress is None else lambda done, _: progress((passes - 1) * total + done, passes * total)
    index = Index(folder, session_id)
    try:
        # Before the reports: whoever finds those takes the index for one of the log as they describe it.
        again = not keep_index or (index.exists() and not _agrees(index, log))
        if again:
            index.restart()
        with derived_lock(folder):
            _write(folder, report, log, fingerprint(segments))
        if again:
            index.follow(follow)
        if index.exists():
            note_errors(folder, session_id, fingerprint(segments), index)
    finally:
        index.close()
    return report


def note_errors(folder: Path, session_id: str, state: str, index: Index) -> None:
    """Write into the manifest how many exchanges of the log in this state went wrong; the index has come to its end.

    Raises:
        NotFoundError, StorageError: it cannot be written.
    """
    errors = count_errors(index)
    with derived_lock(folder):
        manifest = read_manifest(folder, session_id)
        if manifest is not None and manifest.log == state and manifest.errors != errors:
            write_manifest(folder, msgspec.structs.replace(manifest, errors=errors))


def adopt_audit(folder: Path, session_id: str, log: LogReport, *, verified: bool) -> RecoveredSession:
    """Write manifest, recovery report and quarantine from what an audit of the log says.

    Args:
        folder: the session's folder; nobody writes its log.
        session_id: the session.
        log: what the audit says of the log to its end.
        verified: whether every byte of the log was read for it.

    Raises:
        NotFoundError, StorageError: nothing can be written.
    """
    report = _report(session_id, log, verified=verified)
    with derived_lock(folder):
        _write(folder, report, log, fingerprint(list_segments(folder / "log")))
    return report


def _refuse_live(log_dir: Path, session_id: str) -> None:
    holder = writer_alive(log_dir)
    if holder is not None:
        raise BusyError(
            f"Session {session_id} is live: process {holder['pid']} is writing it",
            hint="stop it first, or use verify, which only reads",
            pid=holder["pid"],
        )


def _agrees(index: Index, log: LogReport) -> bool:
    """Return whether the index says of the log what was just found."""
    index.follow()
    return index.report() == log


# -- reports ------------------------------------------------------------------------------------------------------


def _report(
    session_id: str, log: LogReport, *, verified: bool, healed: Sequence[HealedSegment] = ()
) -> RecoveredSession:
    return RecoveredSession(
        session_id=session_id,
        exchanges=log.exchanges,
        interrupted=len(log.interrupted) + log.interrupted_unlisted,
        dropped_tail_bytes=log.torn_tail_bytes,
        lost_exchanges=log.lost_exchanges,
        gaps=log.gaps,
        quarantined_bytes=sum(gap.length for gap in log.gaps),
        recovery_state=recovery_state(log),
        verified=verified,
        healed=list(healed),
    )


_UNHARMED: Final[dict[str, Literal["clean", "unclean"]]] = {"clean": "clean", "recovered": "unclean"}


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
        state="damaged" if damaged else "live" if log.holder is not None else _UNHARMED[recovery_state(log)],
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


def _write(folder: Path, report: RecoveredSession, log: LogReport, state: str) -> None:
    """Write everything that follows from a report; the caller holds ``derived_lock``."""
    remove_reserves(folder)
    ended_ms = log.ended_ns // 1_000_000
    names = quarantine(folder, log.gaps)
    recovery = Recovery(session_id=report.session_id, log=state, report=report, quarantine=names, log_ended_at=ended_ms)
    write_recovery(folder, recovery)
    old = read_manifest(folder, report.session_id) or new_manifest(report.session_id, log)
    new = msgspec.structs.replace(
        old,
        started_at=log.begun_ns // 1_000_000 or old.started_at,
        ended_at=ended_ms or old.ended_at,
        exchanges=report.exchanges,
        interrupted=report.interrupted,
        errors=old.errors if old.log == state else None,
        lost=log.lost_exchanges,
        dropped=log.dropped,
        recovery_state=report.recovery_state,
        verified=report.verified or _was_verified(folder, state),
        log=state,
    )
    write_manifest(folder, new)


def _was_verified(folder: Path, state: str) -> bool:
    recovery = read_recovery(folder)
    return recovery is not None and recovery.log == state and recovery.report.verified
