"""What a load is, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class LoadSpec:
    """One load on one address.

    Attributes:
        host: ``name:port`` of the origin.
        path: the request's path.
        port: where to connect to on loopback: the proxy, or the origin itself.
        connect: open a tunnel with CONNECT first.
        absolute: write the target in absolute form, as to a proxy for plain HTTP.
        tls: speak TLS, inside the tunnel where there is one.
        connections: requests in flight at any time.
        requests: requests per connection, 0 for as many as there is time for.
        reconnect: open a new connection for one that has had its requests.
        duration, warmup: seconds that count, and seconds before them that do not.
        rate: requests per second on each connection, 0 for as many as possible; meant for one connection.
        tool: what puts the load on: ``client``, or ``wrk`` for plain HTTP without ``requests`` and ``rate``.
    """

    host: str
    path: str
    port: int = 0
    connect: bool = False
    absolute: bool = False
    tls: bool = False
    connections: int = 50
    requests: int = 0
    reconnect: bool = True
    duration: float = 5.0
    warmup: float = 1.0
    rate: float = 0.0
    tool: str = "client"

    def as_dict(self) -> dict[str, Any]:
        """The same as a mapping, for JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What a load measured.

    Attributes:
        answered: whole answers with status 200, warm-up and the end included.
        measured: those of them within ``seconds``.
        seconds: how long was measured.
        bytes: received within that time.
        errors: connections that failed, by cause.
        unfinished: requests whose answers, if any, were not waited for.
        p50_ms, p99_ms: latency of a request, or of a whole connection where each has one request.
        busy: share of the time that each core was busy, by core.
    """

    answered: int
    measured: int
    seconds: float
    bytes: int
    errors: dict[str, int] = field(default_factory=dict)
    unfinished: int = 0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    busy: dict[str, float] = field(default_factory=dict)

    @property
    def per_second(self) -> float:
        """Answers per second."""
        return self.measured / self.seconds if self.seconds else 0.0

    def as_dict(self) -> dict[str, Any]:
        """The same as a mapping, for JSON."""
        return asdict(self)


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The value below which ``percent`` of the ``ordered`` values lie (nearest rank); 0 when there are none."""
    if not ordered:
        return 0.0
    rank = min(len(ordered) - 1, round(percent / 100 * len(ordered)))
    return ordered[rank]
