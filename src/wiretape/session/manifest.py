"""A session's manifest.json: derived, replaced atomically, made again from the log when it cannot be read."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

import msgspec

from wiretape.model import RecoveryState, Value
from wiretape.private_files import read_private, replace_file
from wiretape.settings import Durability, Profile

MANIFEST: Final = "manifest.json"
_MAX_BYTES: Final = 1024 * 1024


class Manifest(Value, frozen=True):
    """What is known of a session without reading its log.

    ``created_ns`` orders sessions of the same second. ``log`` is the state of the log (see ``fingerprint``) for which
    the counts below hold; None while the session is written; ``verified`` says whether every byte of that state was
    checked, or only what the index had not read before. ``errors`` is None where nothing has indexed the log yet.
    ``max_disk`` is in bytes. Name, profile, durability and
    ``max_disk`` are in the log too (metadata.py), unless an older program wrote it.
    """

    session_id: str
    name: str
    created_ns: int
    version: Literal[1] = 1
    profile: Profile = "full"
    durability: Durability = "group"
    max_disk: int | None = None
    started_at: int | None = None
    ended_at: int | None = None
    exchanges: int = 0
    interrupted: int = 0
    errors: int | None = None
    lost: int = 0
    dropped: int = 0
    recovery_state: RecoveryState = "clean"
    verified: bool = False
    log: str | None = None


def read_manifest(folder: Path, session_id: str) -> Manifest | None:
    """Read the manifest; None when it is missing, unreadable, or of another session."""
    data = read_private(folder / MANIFEST, _MAX_BYTES)
    if data is None:
        return None
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return manifest if manifest.session_id == session_id else None


def write_manifest(folder: Path, manifest: Manifest) -> bool:
    """Replace the manifest; return whether it changed. The caller holds ``derived_lock``.

    Raises:
        StorageError: the file system refused.
    """
    return replace_file(folder / MANIFEST, pretty(manifest))


def pretty(value: Value) -> bytes:
    """Return a value as indented JSON, the same bytes for the same value."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"
