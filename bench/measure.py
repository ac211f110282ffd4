"""One measurement: a fresh peer, one load, the check that what was answered was recorded, and an orderly end."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from bench import workloads
from bench.errors import BenchError
from bench.load import run as load
from bench.load.spec import LoadResult, LoadSpec
from bench.origin import Origin
from bench.peers.base import Peer, Place, Running
from bench.procs import PeakMemory, memory, settle
from bench.workloads import Extent, Workload

_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Ground:
    """What all measurements of a run share."""

    origin: Origin
    extent: Extent
    proxy_cpu: int
    load_cpu: int
    folder: Path


@dataclass(frozen=True, slots=True)
class Account:
    """What was answered against what was recorded.

    Attributes:
        answered: whole answers that clients had, the first request of each peer included.
        recorded: complete exchanges in the log.
        unfinished: requests whose clients had gone before the end; they may be recorded or not.
        dropped: writes that the recorder itself says it dropped.
    """

    answered: int
    recorded: int
    unfinished: int
    dropped: int

    @property
    def holds(self) -> bool:
        """Whether all that was answered is recorded, and nothing that was never asked."""
        return self.answered <= self.recorded <= self.answered + self.unfinished and not self.dropped


@dataclass(frozen=True, slots=True)
class Measurement:
    """The figures of one workload on one peer in one round."""

    workload: str
    peer: str
    round: int
    figures: dict[str, float]
    errors: dict[str, int] = field(default_factory=dict)
    busy: dict[str, float] = field(default_factory=dict)
    account: Account | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """Something that is measured on each peer in each round.

    Attributes:
        key: what it is called on the command line and in the results.
        title: what is said while it goes on.
        take: measures it on a peer, in a round.
    """

    key: str
    title: str
    take: Callable[[Peer, Ground, int], Measurement]


def throughput(workload: Workload, peer: Peer, ground: Ground, round_: int) -> Measurement:
    """Load ``peer`` with ``workload`` once.

    Raises:
        BenchError: the peer did not start or did not answer.
    """
    with running(peer, ground) as proxy:
        load.probe(proxy, ground.origin, tls=workload.tls)
        spec = workloads.aimed(workload, proxy, ground.origin, ground.extent)
        result = load.run(spec, cpu=ground.load_cpu)
        return Measurement(
            workload=workload.key,
            peer=peer.key,
            round=round_,
            figures={name: read(result) for name, read in workload.figures.items()},
            errors=result.errors,
            busy={
                "proxy": result.busy[str(ground.proxy_cpu)],
                "load": result.busy[str(ground.load_cpu)],
            },
            account=_account(proxy, [result]),
        )


def memory_use(peer: Peer, ground: Ground, round_: int) -> Measurement:
    """Memory of the peer's whole tree in MiB: idle, after its first MCP client, and at its highest under load."""
    with running(peer, ground) as proxy:
        pid = proxy.child.pid
        load.probe(proxy, ground.origin, tls=True)
        settle(pid, seconds=ground.extent.rest)
        figures = {"idle": memory(pid)}
        if proxy.visit is not None:
            proxy.visit()
            settle(pid, seconds=ground.extent.rest)
            figures["mcp"] = memory(pid)
        small = [w for w in workloads.WORKLOADS if w.key in {"http", "https"}]
        specs = [workloads.aimed(workload, proxy, ground.origin, ground.extent) for workload in small]
        figures["load"], results = _peak(pid, specs, ground)
        return Measurement(
            workload="memory",
            peer=peer.key,
            round=round_,
            figures={name: used / _MIB for name, used in figures.items()},
            account=_account(proxy, results),
        )


def download(peer: Peer, ground: Ground, round_: int) -> Measurement:
    """One big download over HTTPS: its rate in MB/s, and the memory of the peer's whole tree in MiB.

    Raises:
        BenchError: the download ended early.
    """
    with running(peer, ground) as proxy:
        pid = proxy.child.pid
        load.probe(proxy, ground.origin, tls=True)
        settle(pid, seconds=ground.extent.rest)
        idle = memory(pid)
        highest, results = _peak(pid, [workloads.download(proxy, ground.origin)], ground)
        size = sum(result.bytes for result in results)
        if size < ground.extent.big:
            raise BenchError(f"the download ended after {size} bytes")
        return Measurement(
            workload="download",
            peer=peer.key,
            round=round_,
            figures={
                "rate": size / sum(result.seconds for result in results) / 1e6,
                "highest": highest / _MIB,
                "above": (highest - idle) / _MIB,
                "after": memory(pid) / _MIB,
            },
            account=_account(proxy, results),
        )


STEPS = (
    *(Step(workload.key, workload.title, partial(throughput, workload)) for workload in workloads.WORKLOADS),
    Step("memory", "Memory", memory_use),
    Step("download", "The big download", download),
)


def _peak(pid: int, specs: list[LoadSpec], ground: Ground) -> tuple[int, list[LoadResult]]:
    peak = PeakMemory(pid)
    with peak.watching():
        results = [load.run(spec, cpu=ground.load_cpu) for spec in specs]
    return peak.bytes, results


@contextmanager
def running(peer: Peer, ground: Ground) -> Iterator[Running]:
    """The peer, started in a folder of its own; both are gone when the block ends."""
    folder = Path(tempfile.mkdtemp(prefix=f"{peer.key}-", dir=ground.folder))
    try:
        proxy = peer.start(Place(ground.proxy_cpu, folder, ground.origin))
        try:
            yield proxy
        finally:
            proxy.child.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _account(proxy: Running, results: list[LoadResult]) -> Account | None:
    if proxy.recorded is None:
        return None
    recorded = proxy.recorded()
    return Account(
        answered=1 + sum(result.answered for result in results),
        recorded=recorded.complete,
        unfinished=sum(result.unfinished + sum(result.errors.values()) for result in results),
        dropped=recorded.dropped,
    )
