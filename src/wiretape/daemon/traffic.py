"""Traffic as it comes, for who looks at a terminal: the exchanges that have ended since the last look."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, Literal, Protocol

from wiretape.daemon.service import Service
from wiretape.errors import WiretapeError
from wiretape.model import ExchangeSummary, Filter, QueryPage

LOOK_EVERY: Final = 0.5
"""Seconds between two looks: often enough for eyes, seldom enough for the core that the recorder runs on."""

MOST: Final = 20
"""Exchanges of one look that are shown; further ones are counted."""

_RUNNING: Final = 500
"""Exchanges that were running and are looked at again; beyond that, the oldest are forgotten."""


class Watcher(Protocol):
    """A person at a terminal."""

    def traffic(self, ended: Sequence[ExchangeSummary], more: int) -> None:
        """Show exchanges that have ended, and how many more there are."""

    def end(self, session_id: str | None, exchanges: int) -> None:
        """Say what was recorded, when everything is closed."""


class Traffic:
    """Looks at the session that is being recorded.

    Args:
        service: the daemon.
        show: called when something has ended.
    """

    def __init__(self, service: Service, show: Callable[[Sequence[ExchangeSummary], int], None]) -> None:
        self._service = service
        self._show = show
        self._session: str | None = None
        self._next = 1
        self._running: dict[int, None] = {}

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY)
            with suppress(WiretapeError):  # a session that is just being made, or was deleted
                await self.look()

    async def look(self) -> None:
        """Show what has ended since the last look.

        Raises:
            WiretapeError: the session cannot be read.
        """
        session_id = self._service.recorded_session
        if session_id is None:
            return
        if session_id != self._session:
            self._session, self._next, self._running = session_id, 1, {}
        ended = await self._again(session_id) if self._running else []
        page = await self._page(session_id, Filter(from_seq=self._next), "desc")
        newest = list(reversed(page.items))
        newest_seq = page.items[0].seq if page.items else self._next - 1
        # A page counts no further than it has to; seqs are given one after the other.
        more = max(0, newest_seq - self._next + 1 - page.returned)
        if newest:
            self._next = newest[-1].seq + 1
        for item in newest:
            if item.state == "inFlight":
                self._running[item.seq] = None
            else:
                ended.append(item)
        while len(self._running) > _RUNNING:
            del self._running[next(iter(self._running))]
        if ended or more:
            self._show(ended, more)

    async def _page(self, session_id: str, wanted: Filter, sort: Literal["asc", "desc"]) -> QueryPage:
        # Not a question of the library: that reads every exchange for its secrets first, and nothing goes to a model.
        session = await self._service.library.session(session_id)
        return await asyncio.to_thread(session.query, wanted, sort=sort, limit=MOST)

    async def _again(self, session_id: str) -> list[ExchangeSummary]:
        """Return those that were running at the last look and are not any more."""
        seqs = list(self._running)[:MOST]
        page = await self._page(session_id, Filter(seqs=seqs), "asc")
        ended = [item for item in page.items if item.state != "inFlight"]
        for item in ended:
            del self._running[item.seq]
        return ended
