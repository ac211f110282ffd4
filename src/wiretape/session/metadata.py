"""The facts of a session that its recorder writes into the log, so that a lost manifest costs nothing."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import msgspec

from wiretape.errors import UsageError
from wiretape.log.report import SESSION_EVENT, LogReport
from wiretape.model import Value
from wiretape.session.ids import check_name
from wiretape.session.manifest import Manifest, read_manifest
from wiretape.settings import Durability, Profile

__all__ = ["SESSION_EVENT", "Facts", "facts_of", "new_manifest"]


class Facts(Value, frozen=True):
    """What cannot be worked out from traffic. ``created_ns`` is since the epoch, ``max_disk`` in bytes."""

    name: str
    created_ns: int
    profile: Profile = "full"
    durability: Durability = "group"
    max_disk: int | None = None


def facts_of(folder: Path, session_id: str) -> dict[str, Any] | None:
    """Return the detail of the event for a session, from its manifest; None when that cannot be read."""
    manifest = read_manifest(folder, session_id)
    if manifest is None:
        return None
    facts = Facts(
        name=manifest.name,
        created_ns=manifest.created_ns,
        profile=manifest.profile,
        durability=manifest.durability,
        max_disk=manifest.max_disk,
    )
    return dict(msgspec.to_builtins(facts))


def new_manifest(session_id: str, log: LogReport) -> Manifest:
    """Make a manifest from what the log says of its session; where it says nothing, a session is called by its id."""
    if log.facts is not None:
        with contextlib.suppress(msgspec.ValidationError):
            facts = msgspec.convert(log.facts, Facts)
            if 0 <= facts.created_ns < 2**63:
                return Manifest(
                    session_id=session_id,
                    name=_name(facts.name, session_id),
                    created_ns=facts.created_ns,
                    profile=facts.profile,
                    durability=facts.durability,
                    max_disk=facts.max_disk,
                )
    return Manifest(session_id=session_id, name=session_id, created_ns=log.begun_ns)


def _name(name: str, session_id: str) -> str:
    try:
        return check_name(name)
    except UsageError:
        return session_id
