"""What every peer gives: an address to load, a tree to watch, and a way to end it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bench.origin import Origin
from bench.procs import Child

HOST = "127.0.0.1"
# Keys of the two checkouts of wiretape that can be in a run, and what the key of one that does not record ends with.
THIS = "wiretape"
BEFORE = "before"
QUIET = "-no-record"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a peer runs: its core, an empty folder of its own, and the origin behind it."""

    cpu: int
    folder: Path
    origin: Origin


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a recorder says it has: exchanges that are complete, and writes that it dropped."""

    complete: int
    dropped: int


@dataclass(frozen=True, slots=True)
class Running:
    """A peer that accepts connections.

    Attributes:
        child: the process at the head of its tree.
        http_port, https_port: on loopback. The same one, where the peer is a proxy.
        is_proxy: requests go to it in absolute form and through CONNECT; otherwise as to any server.
        ca: the CA that its HTTPS answers are signed with.
        recorded: asks what it has recorded; None where nothing is recorded that could be counted.
        visit: lets an agent connect, ask for the tools and leave; None where there is no MCP server.
    """

    child: Child
    http_port: int
    https_port: int
    is_proxy: bool
    ca: Path
    recorded: Callable[[], Recorded] | None = None
    visit: Callable[[], int] | None = None


@dataclass(frozen=True, slots=True)
class Peer:
    """Something to measure.

    Attributes:
        key: what it is called on the command line and in the results.
        title: its column in the table.
        start: starts it.
        version: its version, asked from the program itself.
        note: how it was run, for whoever reads the results.
    """

    key: str
    title: str
    start: Callable[[Place], Running]
    version: Callable[[], str]
    note: str = field(default="")
