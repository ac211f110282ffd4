"""Everything that the daemon's faces can ask for: one object, async methods, values in and out."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections import deque
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

import msgspec

from wiretape import __version__
from wiretape.daemon.confirmations import Confirmations
from wiretape.daemon.jobs import Jobs
from wiretape.daemon.listen import bind, bind_unix, exposed
from wiretape.daemon.maintenance_process import Maintenance
from wiretape.daemon.paths import info_path, socket_path
from wiretape.daemon.proxy import COUNTS, Capture
from wiretape.daemon.rules import Rules
from wiretape.daemon.secrecy import Secrecy
from wiretape.daemon.sessions import Library, Progress
from wiretape.daemon.space import space, warnings
from wiretape.daemon.token import ApiToken
from wiretape.daemon.transparent import TransparentPort, TransparentStarted
from wiretape.daemon.values import Cleared, DaemonStatus, Deleted, ProxyStarted, ProxyStopped, Recording
from wiretape.errors import BusyError, NotFoundError, UsageError
from wiretape.model import Filter, MarkSet, RecoverReport
from wiretape.session.ids import LAST
from wiretape.session.query.moments import check_label
from wiretape.settings import (
    Address,
    ArrivalSettings,
    MaintenanceSettings,
    Profile,
    RecordTarget,
    SessionSettings,
    UpstreamSettings,
)
from wiretape.tls.ca_certificate import load_or_create

log = logging.getLogger(__name__)

_RUNNING = 100
"""Exchanges in flight that stay in a view that is cleared, the newest."""

_WITHOUT_HTTP2 = "HTTP/2 is not offered to clients: the library ngh2 is missing or broken; see `wiretape doctor`"
NOTES = 10
"""Sentences about what happened to the recording that the status keeps, the newest."""

PATIENCE = 3.0
"""Seconds to wait for a port that the recorders of a killed daemon may still hold: their grace is two."""


class Service:
    """The daemon of one root.

    Args:
        root: the folder with CA and sessions.
        upstream: settings for every proxy that is started.
        maintenance: what is done in the background.
        loop: the recorders' event loop, ``uvloop`` or ``asyncio``.
        arrivals: how clients may come to every proxy that is started.
    """

    def __init__(
        self,
        root: Path,
        upstream: UpstreamSettings,
        maintenance: MaintenanceSettings = MaintenanceSettings(),  # noqa: B008  it is frozen
        *,
        loop: str = "uvloop",
        arrivals: ArrivalSettings = ArrivalSettings(),  # noqa: B008  it is frozen
    ) -> None:
        self.root = root
        self.arrivals = arrivals
        self.upstream = upstream
        self.authority = load_or_create(root)
        self.library = Library(root)
        self.secrecy = Secrecy(root)
        self.library.forgotten = self.secrecy.forget
        self.rules = Rules(root)
        self.maintenance = Maintenance(root, maintenance)
        self._loop = loop
        self.api: Address | None = None
        self.token: ApiToken | None = None
        # A daemon that ends takes this file away: one that is still there was killed.
        self._after_kill = info_path(root).exists()
        self.bridges = 0
        self.stop_requested = asyncio.Event()
        self.activity = time.monotonic()
        self._capture: Capture | None = None
        self._transparent = TransparentPort()
        self._target: RecordTarget | None = None
        self._last_session: str | None = None
        self._unwanted: set[str] = set()
        self._lowest: dict[str, int] = {}
        self._kept: dict[str, list[int]] = {}
        self.confirmations = Confirmations()
        self.jobs = Jobs()
        self._told_recoveries = 0
        self.profile: Profile = "full"
        self._notes: deque[str] = deque(maxlen=NOTES)
        self._lock = asyncio.Lock()
        self._started_at = time.time_ns() // 1_000_000

    # -- the daemon ---------------------------------------------------------------------------------------------

    async def status(self) -> DaemonStatus:
        """Say what runs."""
        capture = self._capture
        counts = await capture.stats() if capture else dict.fromkeys(COUNTS, 0)
        disk = await asyncio.to_thread(space, self.root)
        return DaemonStatus(
            running=capture is not None,
            proxy=f"http://{capture.address}" if capture else None,
            port=capture.address.port if capture else None,
            url=f"http://{capture.address}" if capture else None,
            session_id=self._target.session_id if self._target else None,
            recording=capture is not None and self._target is not None,
            in_flight=counts["inFlight"],
            connections=counts["connections"],
            exchanges=counts["exchanges"],
            dropped=counts["dropped"],
            recorder_pids=capture.pids if capture else [],
            recorder_restarts=capture.restarts if capture else 0,
            ca_cert=str(self.authority.cert_path),
            cert_fingerprint=self.authority.fingerprint_sha256,
            root=str(self.root),
            mcp=f"http://{self.api}/mcp" if self.api else None,
            ui=f"http://{self.api}/" if self.api else None,
            socket=str(socket_path(self.root)),
            pid=os.getpid(),
            bridges=self.bridges,
            version=__version__,
            started_at=self._started_at,
            background=self.maintenance.state,
            reverse=[str(server) for server in capture.arrivals.reverse] if capture else [],
            pass_hosts=list(capture.arrivals.pass_hosts) if capture else [],
            unreported=counts["unreported"],
            refused=counts["refused"],
            passed_through=counts["passed"],
            disk_free=disk.free if disk else None,
            disk_total=disk.total if disk else None,
            warnings=[
                *exposed(capture.address if capture else None, self.api),
                *self._notes,
                *([self.rules.note] if self.rules.note is not None else []),
                *([self.token.note] if self.token is not None and self.token.note else []),
                *([_WITHOUT_HTTP2] if counts["withoutHttp2"] or find_spec("ngh2") is None else []),
                *warnings(
                    disk,
                    dropped=counts["dropped"],
                    blocked=counts["blocked"] > 0,
                    refuses=self._target is not None and self._target.settings.on_full == "refuse",
                ),
            ],
        )

    def for_the_owner(self, status: DaemonStatus) -> DaemonStatus:
        """Return ``status`` with the token in ``ui``: for the owner's eyes, not for a file, a log or a model."""
        if status.ui is None or self.token is None:
            return status
        return msgspec.structs.replace(status, ui=f"{status.ui}?token={self.token.value}")

    def follow(self) -> None:
        """Have the index of the session being recorded follow its log in the background."""
        self.maintenance.follow(self._target.session_id if self._target else None)

    def idle_since(self) -> float | None:
        """Return the monotonic time since when nobody needs the daemon; None while somebody does."""
        if self.bridges or self._capture is not None or self.jobs.running:
            self.activity = time.monotonic()
            return None
        return self.activity

    async def close(self) -> None:
        """End everything cleanly: recorders seal their logs, then the files are let go."""
        await self.jobs.close()
        async with self._lock:
            if self._capture is not None:
                capture, self._capture = self._capture, None
                await capture.stop()
                await self._drop_unwanted()
        await self.maintenance.stop()
        self.secrecy.close()
        await self.library.close()

    # -- the proxy ----------------------------------------------------------------------------------------------

    async def proxy_start(
        self,
        address: Address,
        settings: SessionSettings | None,
        upstream: UpstreamSettings | None = None,
        arrivals: ArrivalSettings | None = None,
    ) -> ProxyStarted:
        """Start the proxy and return once it accepts connections.

        Args:
            address: where it listens; port 0 picks a free port.
            settings: the session to begin; one that was begun before is used instead if this one needs no name of
                its own. None records to one begun before, or not at all.
            upstream: how servers are trusted, None as the daemon was told.
            arrivals: how clients may come, None as the daemon was told.

        Raises:
            BusyError: it runs already, or the port is in use. DaemonError: a recorder does not start.
        """
        async with self._lock:
            if self._capture is not None:
                raise BusyError(
                    f"the proxy is already running, on port {self._capture.address.port}",
                    hint="use that one (proxy_status says more), or call proxy_stop first",
                    code="proxy-running",
                    pid=os.getpid(),
                )
            upstream = upstream or self.upstream
            # The port first: one that is in use must not leave an empty session behind.
            listener = await asyncio.to_thread(bind, address, patience=PATIENCE if self._after_kill else 0.0)
            capture = Capture(
                listener,
                self.root,
                upstream,
                api=self.api,
                loop=self._loop,
                on_gone=self._replace,
                on_note=self._note,
                arrivals=arrivals or self.arrivals,
            )
            prepared = self._target
            self.rules.attach(capture)
            try:
                if settings is not None and (prepared is None or settings.name is not None):
                    self._target = await self._create(settings)
                await capture.start(self._target)
                if capture.arrivals.unix is not None:
                    await capture.listen({"unix": await asyncio.to_thread(bind_unix, capture.arrivals.unix)})
            except BaseException:
                await self.rules.detach()
                await capture.stop()
                await self._uncreate(prepared)
                raise
            self._capture = capture
            self.follow()
            log.info("proxy on %s, session %s", capture.address, self._target.session_id if self._target else "none")
            for warning in exposed(capture.address, None):
                log.warning("%s", warning)
            return ProxyStarted(
                port=capture.address.port,
                url=f"http://{capture.address}",
                ca_cert=str(self.authority.cert_path),
                cert_fingerprint=self.authority.fingerprint_sha256,
                session_id=self._target.session_id if self._target else None,
            )

    async def proxy_stop(self) -> ProxyStopped:
        """Stop the proxy and close its session; a session that nobody wanted kept is dropped."""
        async with self._lock:
            capture, self._capture = self._capture, None
            target, self._target = self._target, None
            self.activity = time.monotonic()
            if capture is not None:
                await self.rules.detach()
                await capture.stop()
            self.follow()
            dropped = await self._drop_unwanted()
            session_id = target.session_id if target else None
            return ProxyStopped(
                was_running=capture is not None,
                session_id=session_id,
                dropped=session_id is not None and session_id in dropped,
            )

    # -- the transparent port -----------------------------------------------------------------------------------

    async def transparent_start(self, address: Address) -> TransparentStarted:
        """Open the transparent port.

        Raises:
            BusyError: it is open, or the port is in use. DaemonError: no proxy runs.
        """
        async with self._lock:
            return await self._transparent.start(self._capture, address)

    async def transparent_stop(self) -> None:
        """Close the transparent port.

        Raises:
            NotFoundError: it is not open.
        """
        async with self._lock:
            await self._transparent.stop(self._capture)

    async def transparent_status(self) -> tuple[Address | None, int]:
        """Return where the transparent port is, None where it is closed, and the live session's exchanges by it."""
        count = 0
        if self._last_session is not None:
            wanted = Filter(expression="~source transparent")
            count = (await self.library.query(self._last_session, wanted, limit=1, count=True)).total
        return self._transparent.running(self._capture), count

    # -- sessions -----------------------------------------------------------------------------------------------

    async def session_start(self, settings: SessionSettings) -> Recording:
        """Record new exchanges to a new session; the one before is closed once its exchanges have ended."""
        async with self._lock:
            previous = self._target
            target = await self._create(settings)
            try:
                if self._capture is not None:
                    await self._capture.record(target)
            except BaseException:
                self._target = target
                await self._uncreate(previous)
                raise
            self._target = target
            self.follow()
        return await self._recording(previous.session_id if previous else None)

    async def session_stop(self) -> Recording:
        """Record no more; traffic passes on. The session is closed once its exchanges have ended.

        Raises:
            NotFoundError: nothing is being recorded.
        """
        async with self._lock:
            previous = self._target
            if previous is None:
                raise NotFoundError(
                    "no session is being recorded", hint="proxy_session_start begins one", code="not-recording"
                )
            if self._capture is not None:
                await self._capture.record(None)
            self._target = None
            self.follow()
        return await self._recording(previous.session_id)

    async def mark(self, label: str, ref: str | None = None) -> MarkSet:
        """Write a labelled point into the session being recorded, for ``since`` and ``until``.

        Args:
            label: what it is called; of equal ones the newest counts.
            ref: the session, which must be the one being recorded; None means it.

        Raises:
            UsageError: the label reads as a number or a time, or the session is not being recorded.
            NotFoundError: nothing is being recorded, or there is no such session.
        """
        label = check_label(label)
        wanted = await self.library.resolve(ref) if ref is not None else None
        async with self._lock:
            target, capture = self._target, self._capture
            if target is None or capture is None:
                raise NotFoundError(
                    "no session is being recorded, and a mark is written by who records",
                    hint="set it while the proxy runs; times and seqs work on any session",
                    code="not-recording",
                )
            if wanted is not None and wanted != target.session_id:
                raise UsageError(
                    f"session {wanted} is not being recorded: {target.session_id} is",
                    hint="a mark can be set on the live session only; times and seqs work on any session",
                    code="not-recording",
                )
            wall_ns = time.time_ns()
            after = await capture.mark(target.session_id, label, wall_ns)
        names = await asyncio.to_thread(self.library.catalogue.names)
        at = datetime.fromtimestamp(wall_ns / 1e9, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return MarkSet(mark=label, session=names.get(target.session_id) or target.session_id, after_seq=after, at=at)

    async def session_status(self) -> Recording:
        """Say whether and where exchanges are recorded."""
        return await self._recording(None)

    async def delete(self, ref: str) -> Deleted:
        """Delete a session for ever.

        Raises:
            BusyError: it is being recorded. NotFoundError: there is none.
        """
        session_id = await self.library.resolve(ref)
        async with self._lock:
            await self.check_deletable(session_id)
            return await self.library.delete(session_id)

    def untold_recoveries(self) -> list[str]:
        """Return the sessions that the background recovered since this was last asked, newest first."""
        state = self.maintenance.state
        count = min(state.recovered_total - self._told_recoveries, len(state.recovered))
        self._told_recoveries = state.recovered_total
        return list(reversed(state.recovered))[: max(0, count)]

    async def check_deletable(self, session_id: str) -> None:
        """Refuse to delete the session that is being recorded.

        Raises:
            BusyError: it is this one.
        """
        if self._target is not None and self._target.session_id == session_id:
            raise BusyError(
                f"session {session_id} is being recorded",
                hint="end it first with proxy_session_stop or proxy_stop",
                code="session-live",
                pid=os.getpid(),
            )

    @property
    def trusting(self) -> UpstreamSettings:
        """How servers are trusted now: as the running proxy was told, else as the daemon was."""
        return self._capture.upstream if self._capture is not None else self.upstream

    @property
    def recorded_session(self) -> str | None:
        """The session that is recorded now."""
        return self._target.session_id if self._target is not None else None

    @property
    def last_session(self) -> str | None:
        """The session that this daemon recorded last."""
        return self._last_session

    @property
    def recording_settings(self) -> SessionSettings | None:
        """Return how the session that is recorded now is recorded, None where there is none."""
        return self._target.settings if self._target is not None else None

    async def recover(self, ref: str | None, *, progress: Progress | None = None) -> RecoverReport:
        """Recover one session, or all of them; live ones are skipped."""
        return await self.library.recover(ref, progress=progress)

    # -- the view of live traffic -------------------------------------------------------------------------------

    async def live_session(self) -> str:
        """Return the session that is recorded now, or was last, also by an earlier daemon.

        Raises:
            NotFoundError: there is none.
        """
        if self._last_session is None:
            self._last_session = await self.library.resolve(LAST)
        return self._last_session

    def in_view(self, session_id: str, wanted: Filter) -> Filter:
        """Return the filter without what was cleared from the view."""
        lowest, kept = self._lowest.get(session_id), self._kept.get(session_id)
        if lowest is None:
            return wanted
        if not kept:
            return msgspec.structs.replace(wanted, from_seq=lowest)
        inside = f"~seq {','.join(map(str, kept))},{lowest}.."
        both = inside if wanted.expression is None else f"({wanted.expression}) & {inside}"
        return msgspec.structs.replace(wanted, expression=both)

    async def view_size(self) -> int:
        """Return how many exchanges the view has."""
        if self._last_session is None:
            return 0
        page = await self.library.query(
            self._last_session, self.in_view(self._last_session, Filter()), limit=1, count=True
        )
        return page.total

    async def clear_traffic(self) -> Cleared:
        """Leave out of the view what is there now and has ended. The log keeps everything.

        Raises:
            NotFoundError: nothing was recorded yet.
        """
        session_id = await self.live_session()
        hidden = await self.library.query(session_id, self.in_view(session_id, Filter()), limit=1, count=True)
        running = await self.library.query(
            session_id, self.in_view(session_id, Filter(state="inFlight")), limit=_RUNNING
        )
        self._lowest[session_id] = hidden.coverage.through_seq + 1
        self._kept[session_id] = [item.seq for item in reversed(running.items)]
        count = hidden.total - len(running.items)
        return Cleared(session_id=session_id, through_seq=hidden.coverage.through_seq, hidden=count, cleared=count)

    # -- inside -------------------------------------------------------------------------------------------------

    async def _create(self, settings: SessionSettings) -> RecordTarget:
        folder = await asyncio.to_thread(
            self.library.catalogue.create,
            settings.name,
            profile=settings.profile,
            durability=settings.durability,
            max_disk=settings.max_disk,
        )
        self._last_session = folder.session_id
        self.profile = settings.profile
        if not settings.keep:
            self._unwanted.add(folder.session_id)
        return RecordTarget(session_id=folder.session_id, dir=folder.path, settings=settings)

    async def _uncreate(self, prepared: RecordTarget | None) -> None:
        """Remove the session of a proxy that did not start; one that was there before stays."""
        failed, self._target = self._target, prepared
        if failed is not None and failed is not prepared:
            self._unwanted.add(failed.session_id)
            await self._drop_unwanted()

    async def _drop_unwanted(self) -> set[str]:
        """Delete the sessions that were recorded for the view alone."""
        dropped, self._unwanted = self._unwanted, set()
        for session_id in dropped:
            await self.library.forget(session_id)
            try:
                await asyncio.to_thread(self.library.catalogue.delete, session_id, force=True)
            except NotFoundError:
                continue
            if self._last_session == session_id:
                self._last_session = None
        return dropped

    async def _replace(self, session_id: str) -> None:
        """Go on in a new session: the one being recorded was deleted (P10)."""
        async with self._lock:
            gone, capture = self._target, self._capture
            if gone is None or capture is None or gone.session_id != session_id:
                return
            self._target = await self._create(gone.settings)
            try:
                await capture.record(self._target)
            except BaseException:
                await self._uncreate(gone)
                raise
            self.follow()
            self._note(
                f"the log of session {session_id} was deleted while it was recorded: session "
                f"{self._target.session_id} goes on, and counts as dropped what the deleted one missed at its end"
            )

    def _note(self, sentence: str) -> None:
        """Keep a sentence for the status, and log it."""
        log.warning("%s", sentence)
        self._notes.append(sentence)

    async def _recording(self, previous: str | None) -> Recording:
        shown = self._target.session_id if self._target else previous
        return Recording(
            recording=self._target is not None and self._capture is not None,
            proxy_running=self._capture is not None,
            session=await self.library.summary(shown) if shown else None,
            previous_session_id=previous,
        )
