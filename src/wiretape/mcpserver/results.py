"""Results of tools that are no value of the model already. ``status`` is put in front of all of them."""

from __future__ import annotations

import msgspec

from wiretape.model import Coverage, ExchangeSummary, SessionSummary, Value


class SessionList(Value, frozen=True):
    """The sessions, newest first. ``next_cursor`` is None when there are no more."""

    sessions: list[SessionSummary]
    total: int
    next_cursor: str | None


class OneSession(Value, frozen=True):
    """One session and how complete its log is."""

    session: SessionSummary
    coverage: Coverage


class Traffic(Value, frozen=True):
    """A page of live traffic: what ``query`` gives, and from which session."""

    session_id: str
    matched: int
    returned: int
    items: list[ExchangeSummary]
    next_cursor: str | None
    coverage: Coverage


class Certificate(Value, frozen=True):
    """The CA that clients have to trust: the file, the PEM text and the SHA-256 fingerprint, as asked for."""

    ca_cert: str
    pem: str | None
    cert_fingerprint: str | None
    trust: list[str] = msgspec.field(default_factory=list)
