"""The daemon's hold on its background process (background.py): started, told what to follow, asked how far it is."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from wiretape.daemon.values import Background

log = logging.getLogger(__name__)

EXIT_TIMEOUT = 2.0
"""Seconds that the process gets to notice the end of its input; it holds nothing that a kill could harm."""

DAMAGE = 100
"""Damaged ranges that the status names, the newest."""


class Housekeeper:
    """Owns the background process. ``state`` says what it is doing."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self.state = Background(doing="nothing")

    async def start(self) -> None:
        """Start the process; without it everything works, only the first query after much traffic takes longer."""
        try:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "wiretape.maintenance.background", str(self._root)),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            log.warning("no background process: %s", error)
            return
        self.state = Background(doing="recovering")
        self._reader = asyncio.create_task(self._read(self._process))

    def follow(self, session_id: str | None) -> None:
        """Say which session's log to follow, None for none."""
        if self._process is not None and self._process.stdin is not None and not self._process.stdin.is_closing():
            self._process.stdin.write(json.dumps({"follow": session_id}).encode() + b"\n")

    async def stop(self) -> None:
        """End the process."""
        if self._process is None or self._reader is None:
            return
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(EXIT_TIMEOUT):
                await self._process.wait()
        except TimeoutError:
            # It may be in the middle of a recovery: killed at any point, the next one gives the same (P7).
            with suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
        await self._reader
        self._process = None

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while line := await process.stdout.readline():
            with suppress(ValueError):
                self._take(json.loads(line))
        self.state = msgspec.structs.replace(self.state, doing="nothing", done=0, total=0)

    def _take(self, message: dict[str, Any]) -> None:
        state = self.state
        if "recovered" in message:
            if message["recovered"]:
                log.info("recovered: %s", ", ".join(message["recovered"]))
            self.state = msgspec.structs.replace(state, recovered=[*state.recovered, *message["recovered"]])
        elif "damage" in message:
            for sentence in message["damage"]:
                log.error("%s", sentence)
            self.state = msgspec.structs.replace(state, damage=[*state.damage, *message["damage"]][-DAMAGE:])
        elif "pruned" in message:
            log.info("deleted by retention: %s", message["pruned"])
        elif "problem" in message:
            log.warning("%s", message["problem"])
            self.state = msgspec.structs.replace(state, problems=[*state.problems, message["problem"]][-20:])
        else:
            self.state = msgspec.structs.replace(
                state, doing=message["doing"], done=message.get("done", 0), total=message.get("total", 0)
            )
