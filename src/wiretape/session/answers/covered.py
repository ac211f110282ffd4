"""What an answer did not see, in the form that all answers share (P11)."""

from __future__ import annotations

from wiretape.session.manifest import read_manifest
from wiretape.session.query.coverage import Reach, coverage
from wiretape.session.session import Session


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
