"""What the daemon says of itself, as JSON values."""

from __future__ import annotations

import msgspec

from wiretape.model import SessionSummary, Value


class ProxyStarted(Value, frozen=True):
    """A proxy that accepts connections. ``ca_cert`` is the file that clients must trust; None for no session."""

    port: int
    url: str
    ca_cert: str
    cert_fingerprint: str
    session_id: str | None
    notes: list[str] = msgspec.field(default_factory=list)


class ProxyStopped(Value, frozen=True):
    """What a stopped proxy left: the session, and whether it was dropped because nobody wanted it kept."""

    was_running: bool
    session_id: str | None
    dropped: bool


class Background(Value, frozen=True):
    """What runs in the background: recovering unclean sessions, following the live log, reading old ones again.

    ``done`` and ``total`` are bytes of the logs under recovery; both 0 when none is. ``damage`` is what was found since
    the daemon started in segments that were sound when they were written, a sentence for each range. ``recovered``,
    ``problems`` and ``damage`` name the newest hundred; ``recovered_total`` counts all. ``pid`` is None while no
    process does it; ``restarts`` counts those that ended by themselves and were replaced.
    """

    doing: str
    done: int = 0
    total: int = 0
    recovered: list[str] = msgspec.field(default_factory=list)
    problems: list[str] = msgspec.field(default_factory=list)
    damage: list[str] = msgspec.field(default_factory=list)
    recovered_total: int = 0
    pid: int | None = None
    restarts: int = 0


class DaemonStatus(Value, frozen=True):
    """Everything about a running daemon. Counts are since each recorder started; ``dropped`` passed unrecorded.

    ``unreported`` are those of the dropped of which the log itself says nothing yet, because it cannot be written.
    ``refused`` are requests that were turned away before there was an exchange, each with its reason in the log.
    ``disk_free`` and ``disk_total`` are bytes of the disk under the sessions, None where it does not say. ``warnings``
    are sentences for a person.

    ``reverse`` are the servers that requests go to which name none. ``pass_hosts`` are the hosts whose TLS is not
    intercepted, ``passed_through`` how many connections were not, those after a client's refusal included.
    ``proxy`` is what `wiretape serve --json` calls it, ``running``, ``port`` and ``url`` what proxy-mcp does.
    """

    running: bool
    proxy: str | None
    port: int | None
    url: str | None
    session_id: str | None
    recording: bool
    in_flight: int
    connections: int
    exchanges: int
    dropped: int
    recorder_pids: list[int]
    recorder_restarts: int
    ca_cert: str
    cert_fingerprint: str
    root: str
    mcp: str | None
    ui: str | None
    socket: str
    pid: int
    bridges: int
    version: str
    started_at: int
    background: Background
    reverse: list[str] = msgspec.field(default_factory=list)
    pass_hosts: list[str] = msgspec.field(default_factory=list)
    passed_through: int = 0
    unreported: int = 0
    refused: int = 0
    disk_free: int | None = None
    disk_total: int | None = None
    warnings: list[str] = msgspec.field(default_factory=list)


class Recording(Value, frozen=True):
    """Whether exchanges are being recorded, and to which session."""

    recording: bool
    proxy_running: bool
    session: SessionSummary | None
    previous_session_id: str | None = None
    notes: list[str] = msgspec.field(default_factory=list)


class Cleared(Value, frozen=True):
    """A cleared view: what has ended up to ``through_seq`` is no longer listed; it is still in the log.

    ``cleared`` is ``hidden`` under proxy-mcp's name.
    """

    session_id: str
    through_seq: int
    hidden: int
    cleared: int


class Deleted(Value, frozen=True):
    """A session that is gone for ever."""

    session_id: str
    name: str
    bytes: int
