"""The facts of a session that its recorder writes into the log, so that a lost manifest costs nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from wiretape.errors import UsageError
from wiretape.model import Durability, Profile, Value
from wiretape.session.ids import check_name
from wiretape.session.manifest import Manifest, read_manifest

if TYPE_CHECKING:
    # The recorder needs this module and no database.
    from wiretape.session.index.database import Index

SESSION_EVENT: Final = "session"
"""``kind`` of the EVENT that holds them; every recorder writes it at the beginning of its stream."""


class Facts(Value, frozen=True):
    """What cannot be worked out from traffic. ``created_ns`` is since the epoch, ``max_disk`` in bytes."""

    name: str
    created_ns: int
    profile: Profile = "full"
    durability: Durability = "group"
    max_disk: int | None = None


def facts_of(folder: Path, session_id: str) -> dict[str, Any] | None:
    """Give the detail of the event for a session, from its manifest; None when that cannot be read."""
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


def new_manifest(session_id: str, index: Index, begun_ms: int) -> Manifest:
    """Make a manifest from the log's facts; where there are none, a session is called by its id.

    Raises:
        StorageError, BusyError: the index cannot be read.
    """
    rows = index.rows(
        "SELECT e.detail FROM events AS e JOIN segments AS s ON s.id = e.segment WHERE e.kind = ?"
        " ORDER BY s.stream, s.number, e.offset LIMIT 100",
        (SESSION_EVENT,),
    )
    for (detail,) in rows:
        try:
            facts = msgspec.json.decode(detail, type=Facts)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue
        if not 0 <= facts.created_ns < 2**63:
            continue
        return Manifest(
            session_id=session_id,
            name=_name(facts.name, session_id),
            created_ns=facts.created_ns,
            profile=facts.profile,
            durability=facts.durability,
            max_disk=facts.max_disk,
        )
    return Manifest(session_id=session_id, name=session_id, created_ns=begun_ms * 1_000_000)


def _name(name: str, session_id: str) -> str:
    try:
        return check_name(name)
    except UsageError:
        return session_id
