"""Which recordings of other programs a path means."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from wiretape.errors import NotFoundError, UsageError
from wiretape.formats.har import BEGINNING, is_har
from wiretape.formats.proxy_mcp import RECORDS
from wiretape.private_files import storage_error

_HAR: Final = ".har"
_PACKED: Final = {b"\x1f\x8b": "gzip", b"PK": "zip", b"\x78\x9c": "zlib", b"\x78\xda": "zlib", b"\x78\x01": "zlib"}


def recordings_at(path: Path) -> list[Path]:
    """Return the recordings that ``path`` means: itself, or those in the folder, by name.

    What a file is it shows by what is in it; one whose beginning is damaged is a HAR if it is called so.

    Raises:
        NotFoundError: there are none. UsageError: it is a file of another kind. StorageError: it cannot be read.
    """
    try:
        if path.is_file():
            return [_recording(path)]
        if (path / RECORDS).is_file():
            return [path]
        found = sorted(entry for entry in path.iterdir() if _is_recording(entry)) if path.is_dir() else []
    except OSError as error:
        raise storage_error("import", path, error) from error
    if not found:
        raise NotFoundError(
            f"{path} is not a recording and holds none: there is no HAR and no {RECORDS}",
            hint="sessions of proxy-mcp are folders with records.ndjson, index.ndjson and manifest.json",
        )
    return found


def _is_recording(entry: Path) -> bool:
    return (entry / RECORDS).is_file() or (entry.suffix.lower() == _HAR and entry.is_file())


def _recording(path: Path) -> Path:
    if path.name == RECORDS:
        return path.parent
    with path.open("rb") as file:
        beginning = file.read(BEGINNING)
    packed = _PACKED.get(beginning[:2])
    if packed is not None:
        raise UsageError(f"{path} is packed with {packed}", hint="unpack it, and import what was in it")
    if beginning[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        raise UsageError(f"{path} is UTF-16; a HAR is UTF-8", hint="`iconv -f utf-16 -t utf-8` makes one of it")
    if not is_har(beginning) and path.suffix.lower() != _HAR:
        raise UsageError(
            f"{path} is not a recording that wiretape knows", hint="it reads HAR files and session folders of proxy-mcp"
        )
    return path
