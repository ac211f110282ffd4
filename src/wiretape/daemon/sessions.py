"""The sessions of a root for the daemon's faces: work on disk runs in threads, never on the loop."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from wiretape.daemon.values import Deleted
from wiretape.errors import WiretapeError
from wiretape.model import Coverage, ExchangeDetail, Filter, QueryPage, RecoverReport, SessionSummary, VerifyReport
from wiretape.session.catalogue import Catalogue
from wiretape.session.session import Session

T = TypeVar("T")

Progress = Callable[[int, int], None]
"""Called from a worker thread with bytes done and bytes in all."""

OPEN_SESSIONS = 8
"""Sessions kept open between calls, the least recently used is closed first: each holds a database and its caches."""

PATIENCE = 5.0
"""Seconds that an answer may wait for the index; one that is further behind is said to be in the answer's coverage."""


class Library:
    """Async access to the sessions of ``root``. Every method raises what the session layer raises."""

    def __init__(self, root: Path) -> None:
        self.catalogue = Catalogue(root)
        self.forgotten: Callable[[str], None] = lambda _: None
        """Called with a session's id when it is about to be deleted, recovered or moved."""
        self.before: Callable[[Session], None] | None = None
        """Called in the thread before a session answers: what goes to a model needs to know its secrets."""
        self._open: OrderedDict[str, Session] = OrderedDict()
        self._lock = asyncio.Lock()

    async def list(self, after: str | None = None, limit: int | None = None) -> list[SessionSummary]:
        """List the sessions, newest first; ``after`` is the ``mark`` of the one they are to follow."""
        return await asyncio.to_thread(self.catalogue.list, after, limit)

    async def mark(self, session_id: str) -> str:
        """Return what says a session's place in the list."""
        return await asyncio.to_thread(self.catalogue.mark, session_id)

    async def count(self) -> int:
        """Return how many sessions there are."""
        return len(await asyncio.to_thread(self.catalogue.ids))

    async def resolve(self, ref: str) -> str:
        """Return the id that a name, a prefix, an id or ``last`` means."""
        return await asyncio.to_thread(self.catalogue.resolve, ref)

    async def called(self, session_id: str) -> str:
        """Return the shortest reference that a person would use: the session's name where no other has it."""
        return await asyncio.to_thread(self.catalogue.called, session_id)

    async def summary(self, ref: str) -> SessionSummary:
        """Return one session's line of the list."""
        session = await self.session(ref)
        return await asyncio.to_thread(session.summary)

    async def coverage(self, ref: str) -> Coverage:
        """Return how far the session's log reaches and what is missing in it."""
        session = await self.session(ref)
        return await asyncio.to_thread(session.coverage)

    async def query(
        self,
        ref: str,
        wanted: Filter,
        *,
        sort: str = "desc",
        limit: int = 50,
        cursor: str | None = None,
        offset: int = 0,
        count: bool = False,
    ) -> QueryPage:
        """Return one page of the exchanges that ``wanted`` takes."""
        session = await self.session(ref)
        return await self._asked(session, lambda asked: asked.query(wanted, sort, limit, cursor, offset, count=count))

    async def exchange(self, ref: str, seq: int, *, max_body: int) -> ExchangeDetail:
        """Return one exchange whole, with at most ``max_body`` bytes of each body; none at 0."""
        session = await self.session(ref)
        return await self._asked(session, lambda asked: asked.exchange(seq, bodies=max_body > 0, max_body=max_body))

    async def ask(self, ref: str, question: Callable[[Session], T]) -> T:
        """Return what a function of the session layer answers about one session; it runs in a thread."""
        return await self._asked(await self.session(ref), question)

    async def ask_all(self, refs: Iterable[str], question: Callable[[dict[str, Session]], T]) -> T:
        """Return what a function of the session layer answers about several sessions, which it gets by their refs."""
        sessions = {ref: await self.session(ref) for ref in refs}

        def answer() -> T:
            if self.before is not None:
                for session in sessions.values():
                    self.before(session)
            return question(sessions)

        return await asyncio.to_thread(answer)

    async def _asked(self, session: Session, question: Callable[[Session], T]) -> T:
        def answer() -> T:
            if self.before is not None:
                self.before(session)
            return question(session)

        return await asyncio.to_thread(answer)

    async def verify(self, ref: str, progress: Progress | None = None) -> VerifyReport:
        """Check one session's log, reading only."""
        session = await self.session(ref)
        return await asyncio.to_thread(session.verify, progress)

    async def recover(
        self, ref: str | None, *, dry_run: bool = False, progress: Progress | None = None
    ) -> RecoverReport:
        """Recover one session, or all of them; live ones are skipped."""
        # Resolved once: ``last`` is another session as soon as one begins.
        meant = await self.resolve(ref) if ref is not None else None
        # Let go of the indexes first: recovery empties and refills them.
        for session_id in list(self._open) if meant is None else [meant]:
            await self.forget(session_id)
        return await asyncio.to_thread(self.catalogue.recover, meant, dry_run=dry_run, progress=progress)

    async def delete(self, ref: str, *, force: bool = False) -> Deleted:
        """Delete a session for ever."""
        session_id = await self.resolve(ref)
        summary = await self.summary(session_id)
        await self.forget(session_id)
        await asyncio.to_thread(self.catalogue.delete, session_id, force=force)
        return Deleted(session_id=session_id, name=summary.name, bytes=summary.bytes)

    async def session(self, ref: str) -> Session:
        """Return a session, opened unless it is open."""
        session_id = await self.resolve(ref)
        async with self._lock:
            session = self._open.pop(session_id, None)
            if session is None:
                session = await asyncio.to_thread(self.catalogue.open, session_id)
                session.patience = PATIENCE
            self._open[session_id] = session
            while len(self._open) > OPEN_SESSIONS:
                # A thread that still reads from it opens it again for itself.
                await asyncio.to_thread(self._open.popitem(last=False)[1].close)
            return session

    async def forget(self, session_id: str) -> None:
        """Let go of a session that is about to be deleted or moved."""
        self.forgotten(session_id)
        async with self._lock:
            session = self._open.pop(session_id, None)
        if session is not None:
            with suppress(WiretapeError):
                await asyncio.to_thread(session.close)

    async def close(self) -> None:
        """Let go of everything."""
        for session_id in list(self._open):
            await self.forget(session_id)
