"""What the parts of one recorder process share: its loop, pool, tape, and who it is."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wiretape.recorder.ourselves import Ourselves
from wiretape.recorder.pool import Pool
from wiretape.recorder.session_stream import NullTape, Tape
from wiretape.recorder.upstream import Connector
from wiretape.tls.contexts import ServerContexts

if TYPE_CHECKING:
    from wiretape.recorder.client import ClientConnection


@dataclass(slots=True)
class Context:
    """The shared state of a recorder.

    Attributes:
        tape: where new exchanges are recorded; one that has begun keeps the tape it began with.
        ourselves: where wiretape itself listens: what leads there is refused.
    """

    loop: asyncio.AbstractEventLoop
    pool: Pool
    connector: Connector
    server_contexts: ServerContexts
    tape: Tape | NullTape = field(default_factory=NullTape)
    clients: set[ClientConnection] = field(default_factory=set)
    ourselves: Ourselves = field(default_factory=Ourselves)
    exchanges: int = 0
    stopping: bool = False
    _connection: int = field(default_factory=lambda: secrets.randbits(30) << 32)

    def next_connection(self) -> int:
        """Give a number for a client connection, unique within the session also across recorder restarts."""
        self._connection += 1
        return self._connection
