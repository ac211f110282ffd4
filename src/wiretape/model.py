"""The values that every layer speaks: exchanges, sessions, reports and their JSON.

Python names are snake_case; what leaves the program is camelCase (``rename="camel"``). Times are milliseconds since the
epoch unless a name ends in ``_ns``. Everything here is frozen: made once, passed around, never changed.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from wiretape.settings import Durability, Profile

State = Literal["inFlight", "complete", "aborted", "failed", "interrupted", "mocked", "blocked", "dropped"]
"""An exchange's state: ``aborted`` the client left, ``failed`` the server or the network did, ``interrupted`` the
recorder ended in the middle, ``inFlight`` still running."""

RecoveryState = Literal["clean", "recovered", "damaged"]
SessionStatus = Literal["active", "stopped"]

PREVIEW_BYTES = 4096
"""Bytes of each body that the ``preview`` profile keeps; the rest is counted, not recorded (as proxy-mcp does)."""


class Value(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """Base of the values that leave the program as JSON."""


class Lean(Value, frozen=True, omit_defaults=True):
    """Base of answers in which absent means nothing: a field that has its default is left out.

    A number that is worth telling when it is 0 gets no default.
    """


class Table(Lean, frozen=True):
    """Rows that say the names of their columns once; ``left`` tells what is not among them, and how much of it."""

    columns: list[str]
    rows: list[list[Any]]
    left: dict[str, int] = {}


def to_json(value: Any) -> Any:
    """Turn a value (or a list or dict of them) into plain JSON types with camelCase keys."""
    return msgspec.to_builtins(value)


class Gap(Value, frozen=True):
    """A damaged or missing range of one segment: what is wrong, where exactly, and which exchanges it touched.

    ``exchanges`` are the ``seq`` numbers known or inferred to be affected, ``lost`` those of them of which nothing
    is left. ``offset`` and ``length`` are bytes within the segment's file; a missing segment has length 0.
    """

    segment: str
    offset: int
    length: int
    reason: str
    exchanges: list[int] = []
    lost: list[int] = []


class RefusedRequest(Value, frozen=True):
    """A client that was turned away before there was an exchange; ``request`` is its request line, if it sent one."""

    timestamp: int
    client: str
    code: str
    error: str
    request: str


class Coverage(Value, frozen=True):
    """What an answer was made from: nothing is silently missing (P11).

    Attributes:
        through_seq: the highest ``seq`` of the log that the answer took into account.
        in_flight: exchanges still running.
        dropped: exchanges that passed while nothing could be recorded (full disk, cap).
        damaged: exchanges lost or harmed by damage to the log.
        notes: sentences for a person where the numbers alone would mislead.
        refused: requests that were refused before there was an exchange; ``refused_requests`` are the newest of them.
        passed_through: TLS connections that were not intercepted: tunnels, of which the log has no requests.
    """

    through_seq: int
    in_flight: int
    dropped: int
    damaged: int
    notes: list[str] = []
    refused: int | UnsetType = UNSET
    refused_requests: list[RefusedRequest] | UnsetType = UNSET
    passed_through: int | UnsetType = UNSET


class ExchangeSummary(Value, frozen=True):
    """One line of a list of exchanges. ``duration`` is in milliseconds, sizes are bytes on the wire.

    ``damaged`` says that damage to the log took a part of it, ``error_in_body`` that the answer says itself that
    something went wrong, though its status does not. ``messages`` counts those of a WebSocket so far, both sides'.
    """

    seq: int
    exchange_id: str
    timestamp: int
    method: str
    url: str
    status_code: int | None
    state: str
    duration: float | None
    request_body_size: int
    response_body_size: int
    response_content_type: str | None
    error: str | None = None
    damaged: bool | UnsetType = UNSET
    error_in_body: bool | UnsetType = UNSET
    messages: int | UnsetType = UNSET


class QueryPage(Value, frozen=True):
    """One page of a query. ``next_cursor`` is None on the last page.

    ``matched`` says how many match in all; above 10,000 they are not counted unless that is asked for, and there is
    ``matched_at_least`` in its place.
    """

    matched: int | UnsetType
    returned: int
    items: list[ExchangeSummary]
    next_cursor: str | None
    coverage: Coverage
    matched_at_least: int | UnsetType = UNSET

    @property
    def total(self) -> int:
        """How many match, as far as they were counted."""
        return next(count for count in (self.matched, self.matched_at_least, self.returned) if isinstance(count, int))


class Groups(Lean, frozen=True):
    """Matches counted by something they have in common, the largest groups first.

    Of each group there are how many (``n``), how many of them are errors as ``~err`` takes them, the ``bytes`` of their
    response bodies on the wire, the mean and the longest duration, and the newest (``lastSeq``).
    """

    by: str
    matched: int
    groups: Table
    coverage: Coverage | UnsetType = UNSET


class MarkSet(Lean, frozen=True):
    """A labelled point in a recording: what follows exchange ``after_seq`` is since the mark; ``at`` is ISO 8601."""

    mark: str
    session: str
    after_seq: int
    at: str


class Filter(Value, frozen=True):
    """Which exchanges to take; None means no condition. All given conditions hold together.

    ``status`` is ``"404"`` or a class as ``"4xx"``; ``text`` is found anywhere in URL, headers or (decoded) bodies;
    ``from_ts`` and ``to_ts`` are inclusive milliseconds since the epoch, ``from_seq`` is inclusive too; ``host``
    matches the host or its end after a dot (``example.com`` takes ``api.example.com``), ``host_contains`` any part.
    ``sources`` are the ways a client can come that FORMAT.md names for OPENED: ``explicit``, ``connect`` ...
    ``expression`` is a filter in the language of docs/filters.md; ``since`` and ``until`` are moments: an ISO time, a
    time of day, ms since the epoch, ``-5m``, a seq, or a mark's label. All other values are literal.
    """

    method: str | None = None
    host: str | None = None
    host_contains: str | None = None
    url_contains: str | None = None
    status: str | None = None
    state: str | None = None
    from_ts: int | None = None
    to_ts: int | None = None
    from_seq: int | None = None
    text: str | None = None
    seqs: list[int] | None = None
    sources: list[str] | None = None
    expression: str | None = None
    since: str | None = None
    until: str | None = None


class BodyPart(Value, frozen=True):
    """A stretch of a body that damage left: ``offset`` is where in the body it begins (of a decoded one, always 0)."""

    offset: int
    size: int
    body: str | UnsetType = UNSET
    body_base64: str | UnsetType = UNSET


class InterimResponse(Value, frozen=True):
    """A 1xx answer before the response; ``at`` is in milliseconds since the exchange began."""

    http_version: str
    status_code: int
    status_message: str
    headers: list[tuple[str, str]]
    at: float | None


class Message(Value, frozen=True):
    """Request or response of one exchange, as it was on the wire.

    ``headers`` keep order, case and duplicates. ``body`` is given where the bytes (content encoding removed) are valid
    text, else ``body_base64``; neither when there is none or it was not asked for. ``body_size`` is the size on the
    wire, ``body_recorded`` how many of those bytes the log holds, ``body_gaps`` the ranges ``[from, to)`` that damage
    took; then ``body_parts`` has what is left, and there is no ``body``. ``pieces`` tells of the first pieces of a long
    body where they begin and when they came, in ms since the exchange began. ``unparsed`` says that no head could be
    read from what came: that is in ``raw`` or ``raw_base64``.
    """

    http_version: str
    headers: list[tuple[str, str]]
    body_size: int
    body_recorded: int
    method: str | None = None
    url: str | None = None
    status_code: int | None = None
    status_message: str | None = None
    trailers: list[tuple[str, str]] = []
    body: str | None = None
    body_base64: str | None = None
    body_truncated: bool = False
    body_gaps: list[tuple[int, int]] = []
    body_note: str | None = None
    body_parts: list[BodyPart] | UnsetType = UNSET
    pieces: list[tuple[int, float]] | UnsetType = UNSET
    unparsed: bool | UnsetType = UNSET
    raw: str | UnsetType = UNSET
    raw_base64: str | UnsetType = UNSET


class Timings(Value, frozen=True):
    """Milliseconds spent in each part; None where the part did not happen (a pooled connection has no ``connect``)."""

    dns: float | None = None
    connect: float | None = None
    tls: float | None = None
    send: float | None = None
    wait: float | None = None
    receive: float | None = None
    total: float | None = None


class RuleActed(Value, frozen=True):
    """A rule that acted on an exchange.

    ``id`` and ``description`` are the rule's; ``stage`` is ``answer``, ``request`` or ``response``; ``at`` is when, in
    ms after the exchange began; ``note`` says what it could not do.
    """

    id: str
    stage: str
    at: float | None = None
    description: str | UnsetType = UNSET
    note: str | UnsetType = UNSET


class ExchangeDetail(Value, frozen=True):
    """One exchange whole. ``request`` is None only where damage took it and the rest is left.

    ``damaged`` says that damage to the log took a part of it, and ``notes`` which. ``interim`` are the 1xx answers
    before the response. ``connections`` names both by their ids, with the addresses of both ends; ``retried`` says that
    the request was sent a second time, ``process`` which program the client is. ``messages`` counts those of a
    WebSocket, both sides'. ``request`` is what the client sent,
    ``response`` what it got; where a rule changed one, ``sent_request`` went to the server and ``received_response``
    came from it. ``rules`` are those that acted, in order.
    """

    seq: int
    exchange_id: str
    state: str
    timestamp: int
    request: Message | None
    response: Message | None
    timings: Timings
    tls: dict[str, Any] | None
    client: str | None
    server: str | None
    error: dict[str, str] | None = None
    notes: list[str] = []
    damaged: bool | UnsetType = UNSET
    interim: list[InterimResponse] | UnsetType = UNSET
    connections: dict[str, dict[str, Any]] | UnsetType = UNSET
    retried: bool | UnsetType = UNSET
    process: str | UnsetType = UNSET
    messages: int | UnsetType = UNSET
    sent_request: Message | UnsetType = UNSET
    received_response: Message | UnsetType = UNSET
    rules: list[RuleActed] | UnsetType = UNSET


class SessionSummary(Value, frozen=True):
    """One session in a list. ``bytes`` is what its log takes on disk; times are milliseconds since the epoch.

    ``errors`` counts exchanges that went wrong, as an overview does; absent where nothing has indexed the log yet.
    ``verified`` says whether every byte of the log was checked since it last grew; ``note`` what the counts leave out.
    ``pinned`` keeps the session from being deleted.
    """

    session_id: str
    name: str
    status: SessionStatus
    recovery_state: RecoveryState
    exchanges: int
    interrupted: int
    bytes: int
    started_at: int
    ended_at: int | None
    profile: Profile = "full"
    durability: Durability = "group"
    dropped: int = 0
    verified: bool = False
    pinned: bool = False
    note: str | None = None
    errors: int | UnsetType = UNSET


class VerifyReport(Value, frozen=True):
    """What a read-only check of a session's log found.

    ``state`` is ``clean``, ``unclean`` (not closed cleanly, or a torn tail; nothing lost), ``damaged``, or ``live``
    (being written, no damage so far). ``deep`` says whether bodies were compared with their digests too: ``bodies``
    counts the exchanges, ``disagreeing`` are those whose bodies are not what was recorded, though no frame is damaged.
    """

    session_id: str
    exchanges: int
    interrupted: int
    lost_exchanges: int
    gaps: list[Gap]
    torn_tail_bytes: int
    state: Literal["clean", "unclean", "damaged", "live"]
    in_flight: int = 0
    dropped: int = 0
    bytes: int = 0
    segments: int = 0
    notes: list[str] = []
    deep: bool = False
    bodies: int = 0
    disagreeing: list[int] = []


class HealedSegment(Value, frozen=True):
    """A damaged segment that has parity: how many bytes were given back, or why none were (``error``)."""

    segment: str
    bytes: int
    error: str | None = None


class RecoveredSession(Value, frozen=True):
    """What recovery found and did for one session.

    ``verified`` is false when the session was only opened: what the index had read before was not read again.
    ``healed`` names damaged segments that have parity; what is left of the damage is in ``gaps``. ``ended``, ``by``,
    ``after_end``, ``resume`` and ``interrupted_exchanges`` tell how the recording ended, where that was asked for.
    """

    session_id: str
    exchanges: int
    interrupted: int
    dropped_tail_bytes: int
    lost_exchanges: int
    gaps: list[Gap]
    quarantined_bytes: int
    recovery_state: RecoveryState
    verified: bool = True
    healed: list[HealedSegment] = []
    ended: str | UnsetType = UNSET
    by: str | UnsetType = UNSET
    after_end: str | UnsetType = UNSET
    resume: str | UnsetType = UNSET
    interrupted_exchanges: Table | UnsetType = UNSET


class SkippedSession(Value, frozen=True):
    """A session that recovery left alone, and why."""

    session_id: str
    reason: str


class RecoverReport(Value, frozen=True):
    """The result of recovering one or all sessions."""

    recovered: list[RecoveredSession]
    skipped: list[SkippedSession]
    status: Literal["success", "failed"] = "success"
