"""What the sessions of a root are called and when they were made, in one file: a look-up reads that, not all manifests.

The file is derived: a session that is missing in it is read from its manifest, and without the file all are. It also
says which session was made last, because ids go by the clock, and a clock can be set back.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

from wiretape.errors import NotFoundError, StorageError
from wiretape.private_files import derived_lock, read_private, replace_file
from wiretape.session.manifest import read_manifest

ROLL: Final = ".roll.json"
"""Beside the folder of the sessions."""
_MAX_BYTES: Final = 64 * 1024 * 1024


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """One session: its name, None where its manifest could not be read, and when it was made."""

    name: str | None
    created_ns: int


class Roll(msgspec.Struct, frozen=True, rename="camel"):
    """The file. ``newest`` is the session that was made last."""

    sessions: dict[str, Entry] = msgspec.field(default_factory=dict)
    newest: str | None = None
    version: int = 1


def read_roll(folder: Path, ids: Iterable[str]) -> Roll:
    """Return what is known of the sessions ``ids`` of a folder; what the file does not have yet is added to it."""
    roll, ids = _read(folder), list(ids)
    known = roll.sessions
    found = {one: known[one] if one in known and known[one].name is not None else _look(folder, one) for one in ids}
    roll = Roll(found, roll.newest if roll.newest in found else None)
    if any(known.get(one) != entry for one, entry in found.items()):
        _write(folder, Roll({**known, **found}, roll.newest))
    return roll


def enrol(folder: Path, session_id: str, name: str, created_ns: int) -> None:
    """Note a session that was just made: it is the newest. Where that cannot be written it is not remembered."""
    with contextlib.suppress(StorageError, NotFoundError), derived_lock(folder.parent):
        sessions = {one: entry for one, entry in _read(folder).sessions.items() if (folder / one).is_dir()}
        _put(folder, Roll({**sessions, session_id: Entry(name, created_ns)}, session_id))


def _write(folder: Path, roll: Roll) -> None:
    with contextlib.suppress(StorageError, NotFoundError), derived_lock(folder.parent):
        newest = _read(folder).newest or roll.newest
        _put(folder, Roll(roll.sessions, newest))


def _put(folder: Path, roll: Roll) -> None:
    replace_file(folder.parent / ROLL, msgspec.json.encode(roll))


def _read(folder: Path) -> Roll:
    data = read_private(folder.parent / ROLL, _MAX_BYTES)
    if data is not None:
        with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return msgspec.json.decode(data, type=Roll)
    return Roll()


def _look(folder: Path, session_id: str) -> Entry:
    manifest = read_manifest(folder / session_id, session_id)
    if manifest is not None:
        return Entry(manifest.name, manifest.created_ns)
    created = 0
    with contextlib.suppress(OSError):
        created = (folder / session_id / "log").stat().st_mtime_ns
    return Entry(None, created)
