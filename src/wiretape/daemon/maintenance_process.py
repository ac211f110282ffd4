"""The daemon's hold on its background process: started, told what to follow, asked how far it is, and started again."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec

from wiretape.channel.messages import LINE_MAX
from wiretape.channel.peer import Peer
from wiretape.daemon.values import Background
from wiretape.settings import MaintenanceSettings, to_wire

log = logging.getLogger(__name__)

EXIT_TIMEOUT: Final = 2.0
"""Seconds that the process gets to notice the end of its input; it holds nothing that a kill could harm."""

NEWEST: Final = 100
"""Recovered sessions, problems and damaged ranges that the status names, the newest."""

STEADY: Final = 60.0
"""Seconds after which an end counts as an accident, not as one of a series."""

BACKOFF_FIRST, BACKOFF_MAX = 0.25, 60.0
"""Seconds between two starts of a process that ends again and again."""


class Maintenance:
    """Owns the background process of a root.

    Without it everything works: only the first query after much traffic takes longer, and nothing is scrubbed.

    Attributes:
        state: what it is doing.
    """

    def __init__(self, root: Path, settings: MaintenanceSettings) -> None:
        self._root = root
        self._settings = settings
        self._follow: str | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._peer: Peer | None = None
        self._keeper: asyncio.Task[None] | None = None
        self.state = Background(doing="nothing")

    async def start(self) -> None:
        """Start the process, and watch it from now on."""
        await self._launch()
        self._keeper = asyncio.create_task(self._keep())

    def follow(self, session_id: str | None) -> None:
        """Say which session's log to follow, None for none."""
        self._follow = session_id
        if self._peer is not None:
            self._peer.tell("follow", sessionId=session_id)

    async def stop(self) -> None:
        """End the process."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)
        process, self._process = self._process, None
        if process is None:
            return
        if self._peer is not None:
            self._peer.close()
        try:
            async with asyncio.timeout(EXIT_TIMEOUT):
                await process.wait()
        except TimeoutError:
            # It may be in the middle of a recovery: killed at any point, the next one gives the same (P7).
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        self._set(doing="nothing", done=0, total=0, pid=None)

    async def _launch(self) -> None:
        """Start a process and tell it what it has to know; why that fails is said."""
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "wiretape.maintenance.background", str(self._root)),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                process_group=0,
                limit=LINE_MAX,
            )
        except OSError as error:
            self._problem(f"the background process cannot be started: {error}")
            return
        assert process.stdout is not None
        assert process.stdin is not None
        self._process = process
        self._peer = Peer(process.stdout, process.stdin, name="the background process", on_event=self._take)
        self._peer.tell("configure", settings=to_wire(self._settings))
        self._peer.tell("follow", sessionId=self._follow)
        self._set(doing="recovering", done=0, total=0, pid=process.pid)

    async def _keep(self) -> None:
        """Start another one whenever it ends, ever later when it ends again and again."""
        delay = BACKOFF_FIRST
        while True:
            started = time.monotonic()
            if self._process is not None and self._peer is not None:
                await self._peer.run()
                code = await self._process.wait()
                self._process = self._peer = None
                if time.monotonic() - started > STEADY:
                    delay = BACKOFF_FIRST
                how = f"was ended by signal {-code}" if code < 0 else f"ended with status {code}"
                self._problem(f"the background process {how}; another one starts in {delay:g} s")
            self._set(doing="restarting", done=0, total=0, pid=None, restarts=self.state.restarts + 1)
            await asyncio.sleep(delay)
            delay = min(BACKOFF_MAX, delay * 2)
            await self._launch()

    def _take(self, event: dict[str, Any]) -> None:
        """Take note of what the process tells."""
        match event["event"]:
            case "doing":
                self._set(doing=event["doing"], done=event["done"], total=event["total"])
            case "recovered":
                log.info("recovered: %s", ", ".join(event["items"]))
                self._set(
                    recovered=[*self.state.recovered, *event["items"]][-NEWEST:],
                    recovered_total=self.state.recovered_total + len(event["items"]),
                )
            case "damage":
                for sentence in event["items"]:
                    log.error("%s", sentence)
                self._set(damage=[*self.state.damage, *event["items"]][-NEWEST:])
            case "pruned":
                log.info("deleted by retention: %s", event["sentence"])
            case "problem":
                self._problem(event["sentence"])

    def _problem(self, sentence: str) -> None:
        log.warning("%s", sentence)
        self._set(problems=[*self.state.problems, sentence][-NEWEST:])

    def _set(self, **changed: Any) -> None:
        self.state = msgspec.structs.replace(self.state, **changed)
