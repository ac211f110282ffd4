"""What `wiretape serve` was asked for, as one value. Imports nothing heavy: the command line builds it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A host and port to listen on; port 0 picks a free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """How a daemon starts.

    Attributes:
        root: the folder that holds the CA and the sessions; made when it is not there.
        proxy: where the recording proxy listens; None starts none until a client asks (`proxy_start`).
        api: where MCP over Streamable HTTP is served; None serves the Unix socket alone.
        record: open a session at once; False passes traffic on unrecorded until a session is started.
        session: the first session's name, or None for one without.
        max_disk: bytes the session's log may take, None for no cap.
        workers: recorder processes.
        insecure_upstream: do not verify the servers' certificates.
        upstream_ca: a PEM file of further roots to trust for servers.
        json: print the one line of JSON when connections are accepted, and nothing else, on stdout.
        idle_exit: end after this many seconds without a bridge and without a proxy; None never.
    """

    root: Path
    proxy: Address | None = Address(host="127.0.0.1", port=8080)
    api: Address | None = Address(host="127.0.0.1", port=8081)
    record: bool = True
    session: str | None = None
    profile: Literal["full", "preview"] = "full"
    durability: Literal["os", "group", "always"] = "group"
    max_disk: int | None = None
    on_full: Literal["pass", "refuse"] = "pass"
    workers: int = 1
    insecure_upstream: bool = False
    upstream_ca: Path | None = None
    json: bool = False
    idle_exit: float | None = None
