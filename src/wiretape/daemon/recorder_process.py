"""One recorder process and the channel to it, over a socket pair."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import msgspec

from wiretape.channel.messages import LINE_MAX
from wiretape.channel.peer import ASK_WITHIN, Peer
from wiretape.errors import DaemonError, WiretapeError
from wiretape.settings import RecorderSettings, to_wire

log = logging.getLogger(__name__)

EXIT_TIMEOUT = 15.0
"""Seconds that a recorder may take to seal its log when told to stop; its own grace for clients is two."""


class RecorderProcess:
    """A running recorder. Made by ``spawn``; ends with ``stop``, with its daemon, or by itself."""

    def __init__(self, process: asyncio.subprocess.Process, peer: Peer, handover: socket.socket) -> None:
        self._process = process
        self._peer = peer
        self._handover = handover
        self._listening = asyncio.create_task(peer.run())

    @classmethod
    async def spawn(
        cls, settings: RecorderSettings, *, loop: str, on_event: Callable[[dict[str, Any]], None]
    ) -> RecorderProcess:
        """Start a recorder, which inherits the listening socket ``settings.listen_fd``, and configure it.

        It does not accept yet. ``on_event`` gets what it tells unasked.

        Raises:
            DaemonError: it does not start, or refuses its settings.
        """
        ours, theirs = socket.socketpair()
        handover, taking = socket.socketpair()
        settings = msgspec.structs.replace(settings, handover_fd=taking.fileno())
        try:
            # A process group of its own: Ctrl-C in the terminal reaches the daemon, which ends its recorders in order.
            # Not a session: see ``give_way`` of the background.
            # -P: nothing in the working folder may stand in for the recorder's modules.
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "wiretape.recorder.worker", str(theirs.fileno()), loop),
                pass_fds=(theirs.fileno(), taking.fileno(), settings.listen_fd),
                stdin=subprocess.DEVNULL,
                stdout=sys.stderr.fileno(),
                process_group=0,
            )
        except OSError as error:
            ours.close()
            handover.close()
            raise DaemonError(f"a recorder could not be started: {error.strerror}") from error
        finally:
            theirs.close()
            taking.close()
        ours.setblocking(False)
        reader, writer = await asyncio.open_connection(sock=ours, limit=LINE_MAX)
        recorder = cls(process, Peer(reader, writer, name=f"recorder {process.pid}", on_event=on_event), handover)
        try:
            await recorder.ask("configure", **to_wire(settings))
        except BaseException:
            recorder.kill()
            await recorder.ended()
            raise
        return recorder

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the channel is open: a recorder closes it by ending."""
        return not self._peer.ended

    async def ask(self, cmd: str, *, within: float = ASK_WITHIN, **fields: Any) -> dict[str, Any]:
        """Send a command and return its answer.

        Raises:
            DaemonError: the recorder refused, ended, or did not answer in ``within`` seconds.
        """
        try:
            return await self._peer.ask(cmd, within=within, **fields)
        except DaemonError:
            raise
        except WiretapeError as error:
            raise DaemonError(error.message, hint=error.hint, code=error.code) from error

    async def hand_over(self, kind: str, listener: socket.socket) -> None:
        """Give the recorder another socket to serve; it comes beside the command that says what it is.

        Raises:
            DaemonError: the recorder has ended, or did not take it.
        """
        try:
            socket.send_fds(self._handover, [b"L"], [listener.fileno()])
        except OSError as error:
            raise DaemonError(f"recorder {self.pid} has ended", hint="`wiretape status` says more") from error
        await self.ask("listen", kind=kind)

    async def ended(self) -> str:
        """Wait until the process has ended and return how, in words."""
        code = await self._process.wait()
        self._handover.close()
        await asyncio.wait([self._listening])
        if code < 0:
            try:
                return f"was ended by {signal.Signals(-code).name}"
            except ValueError:
                return f"was ended by signal {-code}"
        return f"ended with status {code}"

    async def stop(self) -> bool:
        """Let the recorder finish and seal its log; return False when it had to be killed."""
        self._peer.tell("stop")
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
