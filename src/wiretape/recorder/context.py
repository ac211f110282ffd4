"""What the parts of one recorder process share."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from wiretape.recorder.ourselves import Ourselves
from wiretape.recorder.pool import Pool
from wiretape.recorder.ports import Decider
from wiretape.recorder.session_stream import NullStream, SessionStream
from wiretape.tls.contexts import ServerContexts


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
        ourselves: where wiretape itself listens: what leads there is refused.
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
    ourselves: Ourselves = field(default_factory=Ourselves)
    source: str = ""
    exchanges: int = 0
    refused: int = 0
    stopping: bool = False
