"""The token of a root's API: 256 bits in ``<root>/token``, for the owner's eyes alone (P14).

It is made once per root and then only read. Programs send it as ``Authorization: Bearer``, the address that `wiretape
serve` prints as ``ui`` carries it for browsers. The Unix socket needs none: its folder keeps other users out.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from wiretape.errors import StorageError
from wiretape.private_files import open_regular, replace_file, storage_error

log = logging.getLogger(__name__)

BYTES: Final = 32
"""256 bits: nobody guesses them."""

_TOKEN: Final = re.compile(r"[0-9a-f]{64}\n?")


@dataclass(frozen=True, slots=True)
class ApiToken:
    """A root's token.

    Attributes:
        value: 64 hexadecimal digits; never printed by ``repr``.
        note: a sentence for the user where the file had to be replaced, else "".
    """

    value: str = field(repr=False)
    note: str = ""


def token_path(root: Path) -> Path:
    """Return the file that holds the token of ``root``."""
    return root / "token"


def load_or_create(root: Path) -> ApiToken:
    """Read the token of ``root``; make one where there is none, or where the file cannot be trusted.

    A file that others can read or write, that somebody else owns, or that holds no token is replaced. The caller holds
    the root's lock.

    Raises:
        StorageError: something else than a file lies there, or it cannot be read or written.
    """
    path = token_path(root)
    try:
        found = path.lstat()
    except FileNotFoundError:
        return ApiToken(_write(path))
    except OSError as error:
        raise storage_error("read", path, error) from error
    if not stat.S_ISREG(found.st_mode):
        raise StorageError(f"{path} is not a file: the API's token belongs there", hint="move it away, and start again")
    why = _not_to_be_trusted(found)
    if not why:
        known = _read(path)
        if known is not None:
            return ApiToken(known)
        why = "held no token"
    note = f"{path} {why}: it has a new token now, and clients of the API have to be given that"
    log.warning("%s", note)
    return ApiToken(_write(path), note)


def _not_to_be_trusted(found: os.stat_result) -> str:
    """Return why a token file is not ours alone, "" where it is."""
    if found.st_uid != os.getuid():
        return f"belonged to user {found.st_uid}"
    if found.st_mode & 0o077:
        return f"could be read or written by others (mode {stat.S_IMODE(found.st_mode):o})"
    return ""


def _read(path: Path) -> str | None:
    """Return the token in the file, None where it holds none.

    Raises:
        StorageError: it cannot be read; it is not replaced for that.
    """
    fd = open_regular(path)
    if fd is None:
        raise StorageError(f"{path} cannot be read", hint="check the file's owner and mode, or move it away")
    with open(fd, "rb") as file:
        text = file.read(2 * BYTES + 2).decode("latin-1")
    return text.strip() if _TOKEN.fullmatch(text) else None


def _write(path: Path) -> str:
    value = secrets.token_hex(BYTES)
    replace_file(path, f"{value}\n".encode())
    return value
