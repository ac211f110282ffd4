"""Which version of HTTP a server speaks, and what speaks it here.

A client is offered what its server offers, so that it sees the protocol that it would see without us. That is known
after the first connection to the server, whose handshake says it; a client that could speak HTTP/2 waits for that.
"""

from __future__ import annotations

from typing import Final

from wiretape.recorder.route import Route
from wiretape.wire.h2 import MakeEngine

H2: Final = "h2"
HTTP1: Final = "http/1.1"
SERVERS: Final = 4096
"""How many servers are remembered; those that answered last."""


class Protocols:
    """What speaks HTTP/2, and for each server whether it does. One for all of a recorder's connections."""

    def __init__(self) -> None:
        self._make: MakeEngine | None = None
        self._known: dict[tuple[str, int, str], str] = {}
        self.missing = ""
        """Why there is no HTTP/2, as far as anybody has asked for it; empty where there is."""

    @property
    def engine(self) -> MakeEngine | None:
        """What makes HTTP/2's engines, or None where the library cannot be loaded; the first call loads it (20 ms)."""
        if self._make is None and not self.missing:
            try:
                from wiretape.wire.h2_ngh2 import Ngh2Engine  # noqa: PLC0415 -- 0.8 MiB that HTTP/1.1 does not need
            except ImportError as error:
                self.missing = f"the library ngh2 cannot be loaded: {error}"
            else:
                self._make = Ngh2Engine
        return self._make

    def of(self, route: Route) -> str:
        """Return what a server spoke last, ``h2`` or ``http/1.1``; empty where nobody knows."""
        return self._known.get(route[1:4], "")

    def forget(self, route: Route) -> None:
        """Have a server asked again."""
        self._known.pop(route[1:4], None)

    def note(self, route: Route, protocol: str) -> None:
        """Remember what a server speaks; ``http/1.1`` where it has not chosen."""
        key = route[1:4]
        self._known.pop(key, None)
        self._known[key] = protocol or HTTP1
        if len(self._known) > SERVERS:
            del self._known[next(iter(self._known))]
