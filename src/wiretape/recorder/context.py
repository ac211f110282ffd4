"""What the parts of one recorder process share."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from wiretape.log.format import Event, FrameType
from wiretape.recorder.credentials import Credentials
from wiretape.recorder.ourselves import Ourselves
from wiretape.recorder.pass_through import PassThrough
from wiretape.recorder.pool import Pool
from wiretape.recorder.ports import Decider
from wiretape.recorder.protocols import Protocols
from wiretape.recorder.reverse import Servers
from wiretape.recorder.session_stream import NullStream, SessionStream
from wiretape.tls.contexts import ServerContexts
from wiretape.wire.h2 import Limits


class Connected(Protocol):
    """A client's connection, as the worker sees it."""

    @property
    def idle(self) -> bool:
        """Whether nothing is running on it."""

    def close(self) -> None:
        """Send what is waiting, then end it."""

    def abort(self) -> None:
        """End it at once."""


@dataclass(slots=True)
class Context:
    """The shared state of a recorder.

    Attributes:
        numbers: numbers of connections, unique within a session also across recorder restarts.
        stream: where new exchanges are recorded; one that has begun keeps the stream it began with.
        decider: who decides about exchanges, where there are rules.
        clients: the connections there are.
        protocols: what servers speak.
        h2_limits: what a client of HTTP/2 may ask of us.
        ourselves: where wiretape itself listens: what leads there is refused.
        credentials: what clients of the proxy have to say of themselves, or None.
        pass_through: whose TLS is not intercepted.
        arriving: what is finding out about connections under a client's TLS.
        servers: where requests go that name no server, or None.
        source: what the log says of how clients came; empty: how each did come.
        exchanges: how many have begun.
        refused: how many requests were refused before there was an exchange, each with an event in the log.
        stopping: the recorder is about to end.
    """

    loop: asyncio.AbstractEventLoop
    pool: Pool
    server_contexts: ServerContexts
    numbers: Iterator[int]
    stream: SessionStream | NullStream = field(default_factory=NullStream)
    decider: Decider | None = None
    clients: set[Connected] = field(default_factory=set)
    protocols: Protocols = field(default_factory=Protocols)
    h2_limits: Limits = field(default_factory=Limits)
    ourselves: Ourselves = field(default_factory=Ourselves)
    credentials: Credentials | None = None
    pass_through: PassThrough = field(default_factory=PassThrough)
    arriving: set[asyncio.Task[None]] = field(default_factory=set)
    servers: Servers | None = None
    source: str = ""
    exchanges: int = 0
    refused: int = 0
    stopping: bool = False

    def note_refused(self, client: str, message: str, code: str, head: bytes | None = None) -> None:
        """Record that a client was turned away before there was an exchange; ``head`` is what it had sent."""
        detail: dict[str, object] = {"client": client, "error": message, "code": code}
        if head is not None:
            detail["head"] = head
        self.refused += 1
        self.stream.append(FrameType.EVENT, 0, Event(time.time_ns(), "refused", detail))
