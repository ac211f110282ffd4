"""A session over time, and what stands out in it: the resources of proxy-mcp, read from the counts of the index."""

from __future__ import annotations

from collections import Counter

from wiretape.model import Value
from wiretape.secrets.veil import Veil
from wiretape.session.answers.tally import Sum, read_times, tally
from wiretape.session.ids import exchange_id
from wiretape.session.session import Session

BUCKET_MS = 60_000
_TOP = 10


class Bucket(Value, frozen=True):
    """Exchanges that began within one minute; ``bucket_start`` is in ms since the epoch."""

    bucket_start: int
    count: int
    error_count: int


class Timeline(Value, frozen=True):
    """Exchanges by the minute; minutes without any are left out."""

    session_id: str
    bucket_ms: int
    timeline: list[Bucket]


class EndpointErrors(Value, frozen=True):
    """An endpoint and how often it went wrong."""

    endpoint: str
    errors: int


class SlowExchange(Value, frozen=True):
    """One of the slowest exchanges; ``duration`` is in ms."""

    exchange_id: str
    duration: float
    url: str


class HostErrors(Value, frozen=True):
    """A host, how often it was asked and how often that went wrong; the rate is a part of 1."""

    hostname: str
    total: int
    errors: int
    error_rate: float


class FindingsOf(Value, frozen=True):
    """What stands out in a session."""

    high_error_endpoints: list[EndpointErrors]
    slowest_exchanges: list[SlowExchange]
    host_error_rates: list[HostErrors]


class Findings(Value, frozen=True):
    """What stands out in a session. An error is a status of 400 or more, a failure, or an answer that says so."""

    session_id: str
    findings: FindingsOf


class HostCount(Value, frozen=True):
    """A host and its exchanges."""

    hostname: str
    count: int


class Totals(Value, frozen=True):
    """A session in numbers; ``avg_duration_ms`` is of exchanges that have ended, None where none has."""

    exchanges: int
    avg_duration_ms: float | None
    top_hostnames: list[HostCount]
    statuses: dict[str, int]
    methods: dict[str, int]


def timeline(session: Session) -> Timeline:
    """Count a session's exchanges and errors by the minute in which they began.

    Raises:
        NotFoundError, StorageError: as ``Session.follow``.
    """
    session.follow()
    counts: Counter[int] = Counter()
    errors: Counter[int] = Counter()
    for minute, n, wrong in session.index.rows("SELECT minute, n, errors FROM endpoint_minutes"):
        counts[minute] += n
        errors[minute] += wrong
    for minute, n in session.index.rows("SELECT wall_ns / 60000000000, count(*) FROM unended GROUP BY 1"):
        counts[minute] += n
    buckets = [Bucket(minute * BUCKET_MS, counts[minute], errors[minute]) for minute in sorted(counts)]
    return Timeline(session.session_id, BUCKET_MS, buckets)


def findings(session: Session, *, veil: Veil) -> Findings:
    """Return the endpoints and hosts that go wrong most, and the slowest exchanges.

    Raises:
        NotFoundError, StorageError: as ``Session.follow``.
    """
    session.follow()
    found = tally(session.index)
    wrong = sorted((one for one in found.endpoints.items() if one[1].errors), key=lambda one: -one[1].errors)
    hosts: dict[str, Sum] = {}
    for (_, host), one in found.endpoints.items():
        into = hosts.setdefault(host, Sum())
        into.add(one.n, one.bytes, one.first_seq)
        into.errors += one.errors
    rates = [
        HostErrors(veil.text(host), one.n, one.errors, round(one.errors / one.n, 4))
        for host, one in hosts.items()
        if one.n
    ]
    rates.sort(key=lambda one: (-one.error_rate, -one.total, one.hostname))
    slow = []
    for ns, seq, _ in found.slowest[:_TOP]:
        row = session.index.one("SELECT substr(url, 1, 2000) FROM exchanges WHERE seq = ?", (seq,))
        url = veil.text(row[0]) if row is not None else ""
        slow.append(SlowExchange(exchange_id(session.session_id, seq), round(ns / 1e6, 3), url))
    errors = [EndpointErrors(veil.text(f"{key[0]} ({key[1]})"), one.errors) for key, one in wrong[:_TOP]]
    return Findings(session.session_id, FindingsOf(errors, slow, rates[:_TOP]))


def totals(session: Session, *, veil: Veil) -> Totals:
    """Return a session in numbers.

    Raises:
        NotFoundError, StorageError: as ``Session.follow``.
    """
    session.follow()
    found = tally(session.index)
    read_times(session.index, found, list(found.untimed))
    hosts: Counter[str] = Counter()
    methods: Counter[str] = Counter()
    statuses: Counter[str] = Counter()
    for (endpoint, host), one in found.endpoints.items():
        hosts[host] += one.n
        methods[veil.text(endpoint.partition(" ")[0])] += one.n
    for status, n in session.index.rows("SELECT outcome & 1023, sum(n) FROM endpoint_counts GROUP BY 1"):
        statuses[str(status) if status else "none"] += n
    times = [(ns, n) for one in found.endpoints.values() for ns, n in one.times]
    ended = sum(n for _, n in times)
    average = round(sum(ns * n for ns, n in times) / ended / 1e6, 3) if ended else None
    top = [HostCount(veil.text(host), n) for host, n in sorted(hosts.items(), key=lambda one: (-one[1], one[0]))[:_TOP]]
    return Totals(found.exchanges, average, top, dict(statuses.most_common()), dict(methods.most_common()))
