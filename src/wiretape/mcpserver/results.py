"""Results of tools that are no value of the model already. ``status`` is put in front of all of them."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from wiretape.daemon.values import Background
from wiretape.mcpserver.lean import Whole
from wiretape.model import Coverage, Lean, SessionSummary, Value
from wiretape.session.answers.ending import Ending

PREVIEW: Final = 'Only the first 4 KB of each body are kept; capture_profile "full" keeps bodies whole.'
"""What is said of a recording that keeps no whole bodies."""


class SessionList(Value, frozen=True):
    """The sessions, newest first. ``next_cursor`` is None when there are no more."""

    sessions: list[SessionSummary]
    total: int
    next_cursor: str | None


class OneSession(Value, frozen=True):
    """One session and how complete its log is."""

    session: SessionSummary
    coverage: Coverage
    ending: Ending | None = None


class DeletePlan(Value, frozen=True):
    """What would be deleted, and the token that deletes it."""

    would_delete: str
    name: str
    exchanges: int
    bytes: int
    confirm: str
    next: str


class ShortStatus(Lean, frozen=True, kw_only=True):
    """What is going on, in a few words. ``session`` is the name of the session that is recorded."""

    running: bool
    recording: bool
    url: str | None = None
    session: str | None = None
    session_id: str | None = None
    exchanges: int
    ca_cert: str
    warnings: list[str] = msgspec.field(default_factory=list)
    recovered: list[Ending] = msgspec.field(default_factory=list)


class FullStatus(Whole, frozen=True):
    """Everything: first proxy-mcp's keys, then the daemon's own."""

    running: bool
    port: int | None
    url: str | None
    cert_fingerprint: str
    global_upstream: None
    host_upstreams: dict[str, Any]
    rule_count: int
    traffic_count: int
    transparent_proxy: dict[str, Any]
    persistence: dict[str, Any]
    proxy: str | None
    session_id: str | None
    recording: bool
    in_flight: int
    connections: int
    exchanges: int
    dropped: int
    unreported: int
    recorder_pids: list[int]
    recorder_restarts: int
    ca_cert: str
    root: str
    mcp: str | None
    socket: str
    pid: int
    bridges: int
    version: str
    started_at: int
    background: Background
    disk_free: int | None
    disk_total: int | None
    warnings: list[str]


class Certificate(Value, frozen=True):
    """The CA that clients have to trust: the file, the PEM text and the SHA-256 fingerprint, as asked for."""

    ca_cert: str
    cert_pem: str | None
    fingerprint: str | None
    instructions: list[str] = msgspec.field(default_factory=list)
