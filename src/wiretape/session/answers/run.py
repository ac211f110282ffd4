"""What a command caused: how many exchanges, which failed, and why there may be none."""

from __future__ import annotations

import msgspec

from wiretape.model import Filter, Lean, Table
from wiretape.secrets.veil import Veil
from wiretape.session.answers.overview import overview
from wiretape.session.session import Session

_LOOKED_AT = 200
"""Failed exchanges that are looked at for their reasons."""
_UNTRUSTED = ("unknown-issuer", "self-signed", "does not trust")
"""What an exchange's error says where a server's certificate is from an issuer that is not trusted."""
_HANDSHAKES = "SELECT host, count(*) FROM handshakes WHERE side = 'client' AND failed GROUP BY host ORDER BY 2 DESC"


def is_untrusted(error: str | None) -> bool:
    """Return whether an exchange failed because its server's certificate is from an issuer that is not trusted."""
    return any(word in (error or "") for word in _UNTRUSTED)


class RunSummary(Lean, frozen=True, kw_only=True):
    """The exchanges of one command; ``errors`` has a row for each kind, and the seq of its first."""

    exchanges: int
    failed: int
    errors: Table | None = None
    warnings: list[str] = msgspec.field(default_factory=list)


def run_summary(session: Session, *, veil: Veil, trust: str) -> RunSummary:
    """Return what a command that has ended left in its session.

    Args:
        session: the command's own.
        veil: hides secrets.
        trust: how the caller has servers trusted, for a warning: ``--upstream-ca FILE``.

    Raises:
        NotFoundError, StorageError: as ``Session.follow``.
    """
    found = overview(session, veil=veil)
    failed = found.states.get("failed", 0)
    return RunSummary(
        exchanges=found.exchanges,
        failed=failed,
        errors=_errors(found.errors),
        warnings=[*_silence(found.exchanges, session), *_untrusted(session, found.exchanges, failed, trust)],
    )


def _errors(table: Table | None) -> Table | None:
    if table is None:
        return None
    at = {name: place for place, name in enumerate(table.columns)}
    rows = []
    for row in table.rows:
        name = row[at["endpoint"]] if "host" not in at else f"{row[at['endpoint']]} on {row[at['host']]}"
        rows.append([row[at["sampleSeq"]], name, row[at["status"]], *row[at["message"] :]])
    return Table(["seq", "op", "status", "message"], rows, table.left)


def _silence(exchanges: int, session: Session) -> list[str]:
    """Say why nothing, or not everything, may have been recorded."""
    refused = session.index.run(lambda db: db.execute(_HANDSHAKES).fetchall())
    warnings = []
    if refused:
        hosts = ", ".join(str(host) for host, _ in refused[:3]) + (", ..." if len(refused) > 3 else "")
        count = sum(number for _, number in refused)
        warnings.append(
            f"{count} TLS connection{'s' if count > 1 else ''} to {hosts} ended before a request: the command does not "
            "trust wiretape's CA (it may bring its own list of roots)"
        )
    elif not exchanges:
        warnings.append(
            "0 exchanges: the command did not use the proxy (it may clear its environment, or ask localhost: see "
            "NO_PROXY)"
        )
    return warnings


def _untrusted(session: Session, exchanges: int, failed: int, trust: str) -> list[str]:
    if not failed:
        return []
    page = session.query(Filter(state="failed"), limit=_LOOKED_AT)
    unknown = sum(is_untrusted(item.error) for item in page.items)
    if not unknown:
        return []
    cause = "the server's certificate is from an issuer this machine does not trust"
    return [f"{unknown} of {exchanges} exchanges failed: {cause}; {trust}"]
