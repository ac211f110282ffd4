"""Recovery: everything derived is made again from the log, which is only read (P3 to P7).

What it writes depends on the log alone, never on time or chance, and each file appears whole or not at all; so a run
that was killed is simply repeated, and a second run finds everything as it would write it.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

import msgspec

from wiretape.errors import BusyError, StorageError
from wiretape.log.locks import writer_alive
from wiretape.log.segments import list_segments
from wiretape.log.verify import LogReport, verify_log
from wiretape.model import Gap, RecoveredSession, RecoveryState, Value, VerifyReport
from wiretape.session.files import derived_lock, make_folder, read_private, replace_file, storage_error, sync_folder
from wiretape.session.health import fingerprint, read_health
from wiretape.session.index import Index, Progress
from wiretape.session.manifest import Manifest, pretty, read_manifest, write_manifest
from wiretape.session.rebuild import build_index, is_built

RECOVERY: Final = "recovery.json"
QUARANTINE: Final = "quarantine"
_MAX_RECOVERY: Final = 64 * 1024 * 1024
_HISTORY: Final = 100
_COPY: Final = 1024 * 1024


class PastRecovery(Value, frozen=True):
    """An earlier recovery, of an earlier state of the log."""

    log: str
    exchanges: int
    interrupted: int
    lost_exchanges: int
    gaps: int
    recovery_state: RecoveryState


class Recovery(Value, frozen=True):
    """recovery.json: the last report, the state of the log it is about, and what earlier ones found."""

    session_id: str
    log: str
    report: RecoveredSession
    quarantine: list[str]
    history: list[PastRecovery] = msgspec.field(default_factory=list)
    version: int = 1


def recover_session(
    folder: Path, session_id: str, *, dry_run: bool = False, progress: Progress | None = None
) -> RecoveredSession:
    """Read a session's log and make its index, manifest, recovery report and quarantine again.

    Args:
        folder: the session's folder; the caller has no index of it open.
        dry_run: write nothing; the report is the same.
        progress: called with (bytes read, bytes to read); the log is read once to check it and once for the index.

    Raises:
        BusyError: the session is being written.
        NotFoundError, StorageError, LogVersionError: its log cannot be read, or nothing can be written.
    """
    log_dir = folder / "log"
    _refuse_live(log_dir, session_id)
    segments = list_segments(log_dir)
    total = sum(ref.size for ref in segments)
    passes = 1 if dry_run else 2
    check = None if progress is None else lambda done, _: progress(done, passes * total)
    log = verify_log(log_dir, session_id, check)
    _refuse_live(log_dir, session_id)
    report = _report(session_id, log)
    if dry_run:
        return report
    state = fingerprint(segments)
    with derived_lock(folder):
        names = _quarantine(folder, log.gaps)
        follow = None if progress is None else lambda done, _: progress(total + done, passes * total)
        if not is_built(folder, session_id, state):
            build_index(folder, session_id, state, follow)
        if report.recovery_state != "clean":
            _write_recovery(folder, Recovery(session_id=session_id, log=state, report=report, quarantine=names))
        _write_manifest(folder, report, log, state)
    return report


def _refuse_live(log_dir: Path, session_id: str) -> None:
    holder = writer_alive(log_dir)
    if holder is not None:
        raise BusyError(
            f"Session {session_id} is live: process {holder['pid']} is writing it",
            hint="stop it first, or use verify, which only reads",
            pid=holder["pid"],
        )


def _report(session_id: str, log: LogReport) -> RecoveredSession:
    state: RecoveryState = "clean"
    if log.gaps or log.lost_exchanges:
        state = "damaged"
    elif _unclean(log):
        state = "recovered"
    return RecoveredSession(
        session_id=session_id,
        exchanges=log.exchanges,
        interrupted=len(log.interrupted),
        dropped_tail_bytes=log.torn_tail_bytes,
        lost_exchanges=log.lost_exchanges,
        gaps=log.gaps,
        quarantined_bytes=sum(gap.length for gap in log.gaps),
        recovery_state=state,
    )


def _unclean(log: LogReport) -> bool:
    """Tell whether the log lacks its proper end; one without any segment has nothing to end."""
    return bool(log.segments and not log.closed_cleanly) or bool(log.torn_tail_bytes or log.interrupted)


def verify_report(session_id: str, log: LogReport) -> VerifyReport:
    """Turn what was found in a log into the report that leaves the program."""
    damaged = bool(log.gaps or log.lost_exchanges)
    return VerifyReport(
        session_id=session_id,
        exchanges=log.exchanges,
        interrupted=len(log.interrupted),
        lost_exchanges=log.lost_exchanges,
        gaps=log.gaps,
        torn_tail_bytes=log.torn_tail_bytes,
        state="damaged" if damaged else "live" if log.holder is not None else "unclean" if _unclean(log) else "clean",
        in_flight=len(log.in_flight),
        dropped=log.dropped,
        bytes=log.bytes,
        segments=log.segments,
        notes=list(log.notes),
    )


def _quarantine(folder: Path, gaps: list[Gap]) -> list[str]:
    """Copy damaged ranges for a person to look at; give the names of the copies."""
    copied = []
    for gap in gaps:
        if not gap.length:
            continue
        target = folder / QUARANTINE
        make_folder(target, parents=False)
        if target.is_symlink() or not target.is_dir():
            raise StorageError(f"{target} is no folder, so damage is not copied there", hint="move it away")
        name = f"{gap.segment}-{gap.offset}-{gap.length}.bin"
        source = folder / "log" / gap.segment
        try:
            _copy_range(source, gap.offset, gap.length, target / name)
        except OSError as error:
            raise storage_error("copy a damaged range to", target / name, error) from error
        copied.append(name)
    return copied


def _copy_range(source: Path, offset: int, length: int, target: Path) -> None:
    with open(os.open(source, os.O_RDONLY | os.O_NOFOLLOW), "rb") as reader:
        if _same(reader.fileno(), offset, length, target):
            return
        temporary = target.with_name(f".{target.name}.new")
        temporary.unlink(missing_ok=True)
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with open(fd, "wb") as writer:
            starts = range(offset, offset + length, _COPY)
            writer.writelines(os.pread(reader.fileno(), min(_COPY, offset + length - at), at) for at in starts)
            writer.flush()
            os.fsync(writer.fileno())
    temporary.rename(target)
    sync_folder(target.parent)


def _same(source: int, offset: int, length: int, target: Path) -> bool:
    try:
        fd = os.open(target, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return False
    with open(fd, "rb") as copy:
        if os.fstat(copy.fileno()).st_size != length:
            return False
        for at in range(0, length, _COPY):
            size = min(_COPY, length - at)
            if os.pread(source, size, offset + at) != os.pread(copy.fileno(), size, at):
                return False
    return True


def _write_recovery(folder: Path, new: Recovery) -> None:
    old = read_recovery(folder)
    if old is not None:
        history = old.history
        if old.log != new.log:
            report = old.report
            past = PastRecovery(
                log=old.log,
                exchanges=report.exchanges,
                interrupted=report.interrupted,
                lost_exchanges=report.lost_exchanges,
                gaps=len(report.gaps),
                recovery_state=report.recovery_state,
            )
            history = [*history, past][-_HISTORY:]
        new = msgspec.structs.replace(new, history=history)
    replace_file(folder / RECOVERY, pretty(new))


def read_recovery(folder: Path) -> Recovery | None:
    """Read the last recovery report; None when there is none or it cannot be read."""
    data = read_private(folder / RECOVERY, _MAX_RECOVERY)
    if data is None:
        return None
    with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return msgspec.json.decode(data, type=Recovery)
    return None


def _write_manifest(folder: Path, report: RecoveredSession, log: LogReport, state: str) -> None:
    session_id = report.session_id
    old = read_manifest(folder, session_id)
    index = Index(folder, session_id)
    try:
        index.follow()
        begun, ended, _ = index.times()
        dropped = read_health(index).dropped
    finally:
        index.close()
    if old is None:
        old = Manifest(session_id=session_id, name=session_id, created_ns=begun * 1_000_000)
    new = msgspec.structs.replace(
        old,
        started_at=begun or old.started_at,
        ended_at=ended or old.ended_at,
        exchanges=report.exchanges,
        interrupted=report.interrupted,
        lost=log.lost_exchanges,
        dropped=max(dropped, log.dropped),
        recovery_state=report.recovery_state,
        log=state,
    )
    write_manifest(folder, new)
