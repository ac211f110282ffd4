"""What went wrong in a session or a part of it, a row for each exchange: how a run is summed up."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from wiretape.secrets.veil import Veil
from wiretape.session.answers.parts import operation_of
from wiretape.session.answers.tally import outcome_text
from wiretape.session.session import Session

_ROWS: Final = (
    "SELECT seq, outcome, message FROM problems"
    " WHERE ? IS NULL OR seq IN (SELECT value FROM json_each(?)) ORDER BY seq LIMIT ?"
)


def error_rows(session: Session, veil: Veil, seqs: Iterable[int] | None = None, limit: int = 20) -> list[list[Any]]:
    """Return ``[seq, op, status, message]`` of the exchanges that went wrong, in their order: a run's summary.

    Args:
        session: the session, followed.
        veil: hides secrets.
        seqs: only these; None: all.
        limit: rows at most.
    """
    chosen = None if seqs is None else msgspec.json.encode(list(seqs)).decode()
    rows = session.index.rows(_ROWS, (chosen, chosen, limit))
    found = []
    for seq, outcome, message in rows:
        row = [seq, veil.text(operation_of(session, seq)), outcome_text(outcome)]
        found.append([*row, veil.text(message)] if message else row)
    return found
