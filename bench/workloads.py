"""The workloads: what is asked of every peer, how often, and which figure is taken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from bench.load.spec import LoadResult, LoadSpec
from bench.origin import Origin
from bench.peers.base import Running


@dataclass(frozen=True, slots=True)
class Extent:
    """How much is done.

    Attributes:
        rounds: how often everything is measured.
        seconds, warmup: of each load, and of what comes before it and does not count.
        big: bytes of the big download.
        rest: seconds that a peer has to be idle before its memory is read. wiretape starts its background a few seconds
            after itself.
    """

    rounds: int
    seconds: float
    warmup: float
    big: int
    rest: float = 5.0


FULL = Extent(rounds=5, seconds=3.0, warmup=1.0, big=1 << 30)
QUICK = Extent(rounds=1, seconds=2.0, warmup=0.5, big=1 << 26)


LATENCY_STRETCH = 2.0


@dataclass(frozen=True, slots=True)
class Workload:
    """One load that gives one or more figures.

    Attributes:
        key: what it is called on the command line and in the results.
        title: its row in the table.
        tls: whether it goes through HTTPS.
        shape: the load, before it is pointed at a peer.
        figures: name of each figure and how it is read from the result.
        unit: of the figures.
        more_is_better: whether a higher figure is a better one.
        stretch: how many times the extent's seconds it takes: a tail needs many samples.
    """

    key: str
    title: str
    tls: bool
    shape: LoadSpec
    figures: dict[str, Callable[[LoadResult], float]]
    unit: str
    more_is_better: bool = True
    stretch: float = 1.0


_RATE: dict[str, Callable[[LoadResult], float]] = {"": lambda result: result.per_second}
_LATENCY: dict[str, Callable[[LoadResult], float]] = {
    "p50": lambda result: result.p50_ms,
    "p99": lambda result: result.p99_ms,
}
_SMALL = LoadSpec(host="", path="/small")
_LARGE = LoadSpec(host="", path="/100k", connections=20)
# The same by wrk: where the proxy is fast, our own client is what limits it.
_LARGE_WRK = replace(_LARGE, tool="wrk")
# Two hundred a second is far from anyone's limit: what is left is the way through, not a queue.
_SPARSE = LoadSpec(host="", path="/small", connections=1, rate=200.0)
_CONNECTING = LoadSpec(host="", path="/small", connections=16, requests=1)

WORKLOADS = (
    Workload("http", "HTTP, small GET, kept alive", False, _SMALL, _RATE, "/s"),
    Workload("https", "HTTPS, small GET, kept alive", True, _SMALL, _RATE, "/s"),
    Workload("http-100k", "HTTP, 100 KB bodies", False, _LARGE, _RATE, "/s"),
    Workload("http-100k-wrk", "HTTP, 100 KB bodies, by wrk", False, _LARGE_WRK, _RATE, "/s"),
    Workload("https-100k", "HTTPS, 100 KB bodies", True, _LARGE, _RATE, "/s"),
    Workload("tls-new", "New TLS connections", True, _CONNECTING, _RATE, "/s"),
    Workload(
        "latency-http",
        "HTTP latency at 200/s",
        False,
        _SPARSE,
        _LATENCY,
        "ms",
        more_is_better=False,
        stretch=LATENCY_STRETCH,
    ),
    Workload(
        "latency-https",
        "HTTPS latency at 200/s",
        True,
        _SPARSE,
        _LATENCY,
        "ms",
        more_is_better=False,
        stretch=LATENCY_STRETCH,
    ),
)


def aimed(workload: Workload, running: Running, origin: Origin, extent: Extent) -> LoadSpec:
    """The workload's load, pointed at a running peer."""
    return replace(
        workload.shape,
        host=origin.host(tls=workload.tls),
        port=running.https_port if workload.tls else running.http_port,
        tls=workload.tls,
        connect=workload.tls and running.is_proxy,
        absolute=running.is_proxy and not workload.tls,
        duration=extent.seconds * workload.stretch,
        warmup=extent.warmup,
    )


def download(running: Running, origin: Origin) -> LoadSpec:
    """One download of the origin's big file over HTTPS."""
    return LoadSpec(
        host=origin.host(tls=True),
        path="/big",
        port=running.https_port,
        tls=True,
        connect=running.is_proxy,
        connections=1,
        requests=1,
        reconnect=False,
        duration=300.0,
        warmup=0.0,
    )
