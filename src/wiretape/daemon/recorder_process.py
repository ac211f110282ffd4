"""One recorder process and the channel to it: newline-delimited JSON over a socket pair, commands down, events up."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wiretape.daemon.options import Address
from wiretape.errors import DaemonError

log = logging.getLogger(__name__)

COMMAND_TIMEOUT = 30.0
"""Seconds in which a recorder has to answer a command that does no waiting of its own."""

EXIT_TIMEOUT = 15.0
"""Seconds that a recorder may take to seal its log when told to stop; its own grace for clients is two."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecorderConfig:
    """What a recorder is told first. ``stream`` of ``streams`` is the log stream that it alone writes.

    ``api`` is where the daemon's API listens: what leads there is refused, so that no recording has its token (P14).
    """

    root: Path
    stream: int
    streams: int
    upstream_ca: Path | None
    insecure: bool
    api: Address | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordTarget:
    """The session that new exchanges are recorded to, as the recorder needs to know it."""

    session_id: str
    dir: Path
    profile: str
    durability: str
    max_disk: int | None
    on_full: str

    def command(self) -> dict[str, Any]:
        """Give the fields of the ``record`` command."""
        return {
            "sessionId": self.session_id,
            "dir": str(self.dir),
            "profile": self.profile,
            "durability": self.durability,
            "maxDisk": self.max_disk,
            "onFull": self.on_full,
        }


@dataclass(slots=True)
class _Waiter:
    event: str
    session_id: str | None
    future: asyncio.Future[dict[str, Any]]


class RecorderProcess:
    """A running recorder. Made by ``spawn``; ends with ``stop``, with its daemon, or by itself."""

    def __init__(self, process: asyncio.subprocess.Process, reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
        self._process = process
        self._reader = reader
        self._writer = writer
        self._waiters: list[_Waiter] = []
        self._last_error: DaemonError | None = None
        self._listener = asyncio.create_task(self._listen())

    @classmethod
    async def spawn(cls, config: RecorderConfig, listener: socket.socket) -> RecorderProcess:
        """Start a recorder that shares ``listener`` and give it its configuration. It does not accept yet."""
        ours, theirs = socket.socketpair()
        try:
            # A session of its own: Ctrl-C in the terminal reaches the daemon, which ends its recorders in order.
            # -P: nothing in the working folder may stand in for the recorder's modules.
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "wiretape.recorder.worker", str(theirs.fileno())),
                pass_fds=(theirs.fileno(), listener.fileno()),
                stdin=subprocess.DEVNULL,
                stdout=sys.stderr.fileno(),
                start_new_session=True,
            )
        except OSError as error:
            ours.close()
            raise DaemonError(f"a recorder could not be started: {error.strerror}") from error
        finally:
            theirs.close()
        ours.setblocking(False)
        reader, writer = await asyncio.open_connection(sock=ours)
        recorder = cls(process, reader, writer)
        recorder.send(
            "config",
            root=str(config.root),
            stream=config.stream,
            streams=config.streams,
            upstreamCa=str(config.upstream_ca) if config.upstream_ca else None,
            insecure=config.insecure,
            api=[config.api.host, config.api.port] if config.api else None,
            listenFd=listener.fileno(),
        )
        return recorder

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the channel is open: a recorder closes it by ending."""
        return not self._listener.done()

    def send(self, cmd: str, **fields: Any) -> None:
        """Send a command without waiting for an event; one to a recorder that has ended is dropped."""
        if not self._writer.is_closing():
            self._writer.write(json.dumps({"cmd": cmd, **fields}).encode() + b"\n")

    async def ask(
        self, cmd: str, event: str, *, session_id: str | None = None, within: float = COMMAND_TIMEOUT, **fields: Any
    ) -> dict[str, Any]:
        """Send a command and wait for the event that answers it.

        Raises:
            DaemonError: the recorder refused, ended, or did not answer in ``within`` seconds.
        """
        waiter = _Waiter(event, session_id, asyncio.get_running_loop().create_future())
        if self._listener.done():
            raise self._gone()
        self._waiters.append(waiter)
        self.send(cmd, **fields)
        try:
            async with asyncio.timeout(within):
                return await waiter.future
        except TimeoutError as error:
            raise DaemonError(
                f"recorder {self.pid} did not answer {cmd!r} within {within:g} s", hint="see the daemon's messages"
            ) from error
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)

    async def ended(self) -> str:
        """Wait until the process has ended and give how, in words."""
        code = await self._process.wait()
        await asyncio.wait([self._listener])
        if code < 0:
            try:
                return f"was ended by {signal.Signals(-code).name}"
            except ValueError:
                return f"was ended by signal {-code}"
        return f"ended with status {code}"

    async def stop(self) -> bool:
        """Let the recorder finish and seal its log. False when it had to be killed."""
        self.send("stop")
        try:
            async with asyncio.timeout(EXIT_TIMEOUT):
                await self.ended()
            return True
        except TimeoutError:
            log.warning("recorder %d did not stop within %g s and is killed", self.pid, EXIT_TIMEOUT)
            self.kill()
            await self.ended()
            return False

    def kill(self) -> None:
        """Kill the process; its log loses nothing by that."""
        try:
            self._process.kill()
        except ProcessLookupError:
            return

    async def _listen(self) -> None:
        """Hand events to those who wait for them, until the channel ends."""
        try:
            while line := await self._reader.readline():
                self._on_event(json.loads(line))
        except ConnectionError:
            # Killed with a command unread in its socket; how it ended is said by who watches the process.
            log.debug("recorder %d broke off its channel", self.pid)
        except (ValueError, OSError) as error:
            log.warning("recorder %d: unreadable event: %s", self.pid, error)
        self._writer.close()
        for waiter in self._waiters:
            if not waiter.future.done():
                waiter.future.set_exception(self._gone())

    def _on_event(self, event: dict[str, Any]) -> None:
        name = event.get("event")
        if name == "error":
            self._on_error(event)
            return
        for waiter in self._waiters:
            if (
                waiter.event == name
                and waiter.session_id in {None, event.get("sessionId")}
                and not waiter.future.done()
            ):
                waiter.future.set_result(event)
                return
        log.debug("recorder %d: %s", self.pid, event)

    def _on_error(self, event: dict[str, Any]) -> None:
        """An error answers the command that has waited longest: commands are worked off in order.

        Only ``close`` is answered later than it is worked off, so its waiters come last.
        """
        error = DaemonError(
            str(event.get("message", "a recorder failed")),
            hint=str(event.get("hint", "")),
            code=str(event.get("code", "daemon")),
        )
        self._last_error = error
        for waiter in sorted(self._waiters, key=lambda waiter: waiter.event == "closed"):
            if not waiter.future.done():
                waiter.future.set_exception(error)
                return
        log.error("recorder %d: %s", self.pid, error)

    def _gone(self) -> DaemonError:
        return self._last_error or DaemonError(
            f"recorder {self.pid} ended before it answered", hint="see the daemon's messages"
        )
