"""One body into a new file: as far as it was recorded, with a sentence for what is not in it."""

from __future__ import annotations

from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import Literal

from wiretape.errors import WiretapeError
from wiretape.model import Lean
from wiretape.new_file import new_file
from wiretape.session.session import Session


class BodyFile(Lean, frozen=True):
    """A body in a file. ``complete`` is false where a part of it is not in the file: ``missing`` says which and why."""

    seq: int
    side: str
    file: str
    bytes: int
    sha256: str
    complete: bool
    missing: str | None = None


def body_file(
    session: Session, seq: int, side: Literal["request", "response"], path: Path, *, raw: bool = False
) -> BodyFile:
    """Write a body to a new file, piece by piece.

    Args:
        path: where; the caller has made sure that it may be there.
        raw: leave the content encoding on.

    Raises:
        NotFoundError: no such exchange. UsageError: there is such a file. StorageError: it cannot be written.
        WiretapeError: nothing of the body can be had; then there is no file.
    """
    pieces = session.raw_body(seq, side, decoded=not raw)
    first = next(pieces, b"")
    digest, size, missing = sha256(), 0, None
    with new_file(path) as file:
        try:
            for piece in chain((first,), pieces):
                file.write(piece)
                digest.update(piece)
                size += len(piece)
        except WiretapeError as error:
            missing = f"{error.message}."
    return BodyFile(
        seq=seq,
        side=side,
        file=str(path),
        bytes=size,
        sha256=digest.hexdigest(),
        complete=missing is None,
        missing=missing,
    )
