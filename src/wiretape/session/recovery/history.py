"""recovery.json: the last recovery's report, and what earlier ones found. What was once found is never forgotten.

It holds no time of day, so that a recovery that is run again writes the same bytes (P7): when something was first found
is told by the state of the log, and by the last time that stood in the log then.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Final

import msgspec

from wiretape.model import RecoveredSession, RecoveryState, Value
from wiretape.private_files import read_private, replace_file
from wiretape.session.manifest import pretty
from wiretape.session.recovery.quarantine import copy_name

RECOVERY: Final = "recovery.json"
_MAX_BYTES: Final = 8 * 1024 * 1024
_HISTORY: Final = 100
_DAMAGE: Final = 10_000


class PastRecovery(Value, frozen=True):
    """An earlier recovery: of an earlier state of the log, or one that found something else in the same."""

    log: str
    exchanges: int
    interrupted: int
    lost_exchanges: int
    gaps: int
    recovery_state: RecoveryState
    dropped_tail_bytes: int = 0
    verified: bool = True
    log_ended_at: int = 0


class KnownDamage(Value, frozen=True):
    """A damaged range that a recovery found: where, what it cost, its copy in ``quarantine``, when it was first found.

    ``present`` says whether the last recovery found it still. ``found_in`` is the state of the log at the first time,
    ``log_ended_at`` the last time (ms) that stood in it.
    """

    segment: str
    offset: int
    length: int
    reason: str
    found_in: str
    log_ended_at: int
    present: bool = True
    quarantine: str | None = None
    exchanges: list[int] = msgspec.field(default_factory=list)
    lost: list[int] = msgspec.field(default_factory=list)


class Recovery(Value, frozen=True):
    """recovery.json. ``log`` is the state of the log that ``report`` is about, ``log_ended_at`` its last time in ms."""

    session_id: str
    log: str
    report: RecoveredSession
    quarantine: list[str]
    log_ended_at: int = 0
    damage: list[KnownDamage] = msgspec.field(default_factory=list)
    history: list[PastRecovery] = msgspec.field(default_factory=list)
    version: int = 1


def read_recovery(folder: Path) -> Recovery | None:
    """Read the last recovery's report; None when there is none or it cannot be read."""
    data = read_private(folder / RECOVERY, _MAX_BYTES)
    if data is None:
        return None
    with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return msgspec.json.decode(data, type=Recovery)
    return None


def write_recovery(folder: Path, new: Recovery) -> None:
    """Write the report of a recovery, and keep what earlier ones found. The caller holds ``derived_lock``.

    Raises:
        StorageError: the file system refused.
    """
    old = read_recovery(folder)
    if old is None and new.report.recovery_state == "clean":
        return
    if old is not None and old.log == new.log and _unverified(old.report) == _unverified(new.report):
        # The same found again; what was once checked in full stays checked.
        report = msgspec.structs.replace(new.report, verified=new.report.verified or old.report.verified)
        new = msgspec.structs.replace(new, report=report, history=old.history)
    elif old is not None:
        new = msgspec.structs.replace(new, history=[*old.history, _past(old)][-_HISTORY:])
    new = msgspec.structs.replace(new, damage=_damage(new, old.damage if old is not None else []))
    replace_file(folder / RECOVERY, pretty(new))


def _unverified(report: RecoveredSession) -> RecoveredSession:
    return msgspec.structs.replace(report, verified=False)


def _past(old: Recovery) -> PastRecovery:
    report = old.report
    return PastRecovery(
        log=old.log,
        exchanges=report.exchanges,
        interrupted=report.interrupted,
        lost_exchanges=report.lost_exchanges,
        gaps=len(report.gaps),
        recovery_state=report.recovery_state,
        dropped_tail_bytes=report.dropped_tail_bytes,
        verified=report.verified,
        log_ended_at=old.log_ended_at,
    )


def _damage(new: Recovery, known: list[KnownDamage]) -> list[KnownDamage]:
    """Return every range that was ever found, in the order of finding; those found for the first time last."""
    found = {(gap.segment, gap.offset, gap.length, gap.reason): gap for gap in new.report.gaps}
    all_damage = []
    for one in known:
        gap = found.pop((one.segment, one.offset, one.length, one.reason), None)
        if gap is None:
            all_damage.append(msgspec.structs.replace(one, present=False))
        else:
            all_damage.append(msgspec.structs.replace(one, present=True, exchanges=gap.exchanges, lost=gap.lost))
    all_damage += [
        KnownDamage(
            segment=gap.segment,
            offset=gap.offset,
            length=gap.length,
            reason=gap.reason,
            found_in=new.log,
            log_ended_at=new.log_ended_at,
            quarantine=copy_name(gap),
            exchanges=gap.exchanges,
            lost=gap.lost,
        )
        for gap in found.values()
    ]
    return all_damage[:_DAMAGE]
