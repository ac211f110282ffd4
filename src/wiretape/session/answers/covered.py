"""What an answer did not see, in the form that all answers share (P11)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from wiretape.session.manifest import read_manifest
from wiretape.session.messages import MessageLog
from wiretape.session.query.coverage import Reach, coverage
from wiretape.session.session import Session

UPGRADED: Final = "nothing recorded after the upgrade"


def missing(reach: Reach) -> str:
    """Say what a session's log or index does not have; empty when nothing is missing."""
    log = reach.log
    if not (reach.unread or reach.damaged or log.dropped or log.lost_exchanges or log.gaps):
        return ""
    return " ".join(coverage(reach, empty=True).notes)


def called(session: Session) -> str:
    """Return what people call a session: its name, else its id."""
    manifest = read_manifest(session.folder, session.session_id)
    return manifest.name if manifest is not None else session.session_id


def unheard(session: Session, chosen: Iterable[int] | None = None) -> str:
    """Name the exchanges, all or of those chosen, that led to another protocol of which no message is recorded."""
    seqs = MessageLog(session.index).silent()
    if seqs and chosen is not None:
        seqs = sorted(set(seqs).intersection(chosen))
    return f"{ranges(seqs)}: {UPGRADED}." if seqs else ""


def ranges(seqs: Iterable[int]) -> str:
    """Write ascending numbers shortly: ``6-28,30-32``."""
    runs: list[list[int]] = []
    for seq in seqs:
        if runs and seq == runs[-1][1] + 1:
            runs[-1][1] = seq
        else:
            runs.append([seq, seq])
    shown_runs = [
        str(low) if low == high else f"{low},{high}" if high == low + 1 else f"{low}-{high}" for low, high in runs[:40]
    ]
    return ",".join(shown_runs) + (",..." if len(runs) > 40 else "")
