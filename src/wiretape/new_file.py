"""Files that are made, never written over, and never half there: for what is carried away."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from wiretape.errors import StorageError, UsageError

FILE_MODE = 0o600
EXPORTS = "exports"
"""The folder of a root in which files lie that were carried away."""


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """Write a file that only the owner can read, and that appears whole when the block ends; else not at all.

    Raises:
        UsageError: there is something under that name. StorageError: the file system refused.
    """
    if os.path.lexists(path):
        raise _exists(path)
    temporary = path.with_name(f".{path.name[:100]}.{secrets.token_hex(4)}.part")
    try:
        fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE)
    except OSError as error:
        raise _refused(path, error) from error
    try:
        with open(fd, "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, path)  # unlike a rename it fails where another was faster
    except FileExistsError:
        raise _exists(path) from None
    except OSError as error:
        raise _refused(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def _exists(path: Path) -> UsageError:
    return UsageError(f"{path} is there already and is not written over", hint="name another file", code="exists")


def _refused(path: Path, error: OSError) -> StorageError:
    if isinstance(error, FileNotFoundError):
        return StorageError(f"cannot write {path}: its folder is not there", hint="make it, or name another file")
    return StorageError(f"cannot write {path}: {error.strerror}", hint="name another file")


def free_name(folder: Path, stem: str, suffix: str) -> Path:
    """Return the first name in a folder that nothing has: ``stem.suffix``, ``stem-2.suffix`` and so on."""
    clean = "".join(char if char.isalnum() or char in "-_." else "-" for char in stem)[:100].lstrip(".") or "export"
    for number in range(1, 10_000):
        path = folder / (f"{clean}{suffix}" if number == 1 else f"{clean}-{number}{suffix}")
        if not os.path.lexists(path):
            return path
    return folder / f"{clean}-{secrets.token_hex(8)}{suffix}"


def inside(path: Path, folders: Sequence[Path], base: Path) -> Path:
    """Return where a file may be written that a model has named.

    Args:
        path: as it was given; one that is not absolute is taken to be in ``base``.
        folders: where files may be.
        base: the first of them, as a rule.

    Raises:
        UsageError: it is outside of all folders, after following every link.
    """
    if "\0" in str(path):
        raise UsageError(f"{str(path)[:80]!r} is not a path: it has a NUL", hint="give a name such as body.json")
    try:
        wanted = (path.expanduser() if path.is_absolute() or str(path).startswith("~") else base / path).absolute()
        real = Path(os.path.realpath(wanted.parent)) / wanted.name
        allowed = [Path(os.path.realpath(folder)) for folder in folders]
    except (OSError, RuntimeError, ValueError) as error:  # a home of nobody, NUL in it
        raise UsageError(f"{str(path)[:80]!r} is not a path: {error}", hint="give a name such as body.json") from None
    if wanted.name in {"", ".", ".."} or not any(real.is_relative_to(folder) and real != folder for folder in allowed):
        raise UsageError(
            f"No file may be written at {path}",
            hint=f"files go below {' or '.join(map(str, folders))}; `wiretape mcp --files DIR` allows more",
            code="outside",
        )
    return real
