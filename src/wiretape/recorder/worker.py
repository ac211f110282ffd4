"""A recorder process: ``python -m wiretape.recorder.worker CONTROL_FD``, started and steered by the daemon.

Commands and answers are lines of JSON on the control socket. When that closes the daemon is gone: the recorder seals
its segments and ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import secrets
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any, Final

from wiretape import __version__
from wiretape.errors import UsageError, WiretapeError
from wiretape.log.format import Event, FrameType
from wiretape.log.reserve import Reserve, reserve_path
from wiretape.log.resume import resume_point
from wiretape.log.store import list_segments
from wiretape.log.stream_writer import LogWriter, StreamIdentity
from wiretape.recorder.context import Context
from wiretape.recorder.listener import Listener
from wiretape.recorder.ourselves import Ourselves
from wiretape.recorder.pool import Pool
from wiretape.recorder.session_stream import NullTape, Tape
from wiretape.recorder.upstream import Connector
from wiretape.session.metadata import SESSION_EVENT, facts_of
from wiretape.tls.authority import CertificateAuthority
from wiretape.tls.contexts import ServerContexts, UpstreamContexts

GRACE_SECONDS: Final = 2.0


class Worker:
    """Carries out what the daemon says."""

    def __init__(self, loop: asyncio.AbstractEventLoop, control: socket.socket) -> None:
        self._loop = loop
        self._control = control
        self._context: Context | None = None
        self._listener: Listener | None = None
        self._tapes: dict[str, Tape] = {}
        self._stream = 0
        self._streams = 1
        self._run = secrets.randbits(63)
        self._stopping = asyncio.Event()
        self._writer: asyncio.StreamWriter | None = None

    async def main(self) -> None:
        """Serve the control socket until it closes or says stop."""
        reader, self._writer = await asyncio.open_unix_connection(sock=self._control)
        self._loop.add_signal_handler(signal.SIGTERM, self._stopping.set)
        self._loop.add_signal_handler(signal.SIGINT, lambda: None)  # a terminal sends it to all; the daemon decides
        listening = self._loop.create_task(self._listen(reader))
        await self._stopping.wait()
        listening.cancel()
        await self._finish()

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        try:
            while line := await reader.readline():
                try:
                    await self._obey(json.loads(line))
                except WiretapeError as error:
                    self._say({"event": "error", **error.to_json()})
                except OSError as error:
                    self._say({"event": "error", "code": "storage", "message": str(error), "hint": ""})
                except (ValueError, KeyError, TypeError) as error:
                    self._say({"event": "error", "code": "usage", "message": f"bad command: {error!r}", "hint": ""})
        finally:
            self._stopping.set()  # however listening ended: a recorder must never outlive its daemon

    def _say(self, message: dict[str, Any]) -> None:
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(json.dumps(message).encode() + b"\n")

    async def _obey(self, command: dict[str, Any]) -> None:
        kind = command["cmd"]
        if kind == "config":
            self._configure(command)
        elif kind == "record":
            self._record(command)
        elif kind == "close":
            self._close(command["sessionId"])
        elif kind == "accept":
            if self._listener is not None:
                self._listener.start()
            self._say({"event": "accepting"})
        elif kind == "stats":
            for tape in self._tapes.values():
                tape.report_dropped()
            # Behind the write: what is said to be in the log is.
            self._loop.call_soon(lambda: self._say({"event": "stats", **self._stats()}))
        elif kind == "stop":
            self._stopping.set()
        else:
            raise UsageError(f"the recorder knows no command {kind!r}")

    def _configure(self, command: dict[str, Any]) -> None:
        self._stream, self._streams = command.get("stream", 0), command.get("streams", 1)
        extra = command.get("upstreamCa")
        upstream = UpstreamContexts(bool(command.get("insecure")), Path(extra) if extra else None)
        authority = CertificateAuthority.load_or_create(Path(command["root"]))
        pool = Pool(self._loop)
        listening = socket.socket(fileno=command["listenFd"])
        api = command.get("api")
        ourselves = Ourselves([listening.getsockname()[:2], *([(api[0], api[1])] if api else [])])
        self._context = Context(
            self._loop,
            pool,
            Connector(self._loop, upstream, ourselves),
            ServerContexts(authority),
            ourselves=ourselves,
        )
        self._listener = Listener(self._context, listening)
        self._say({"event": "configured"})

    def _record(self, command: dict[str, Any]) -> None:
        context = self._ready()
        session_id = command["sessionId"]
        if session_id not in self._tapes:
            self._tapes[session_id] = self._open(session_id, command)
        context.tape = self._tapes[session_id]
        # Said once it is true: the segment and what the session is called are written.
        self._tapes[session_id].release(self._say, {"event": "recording", "sessionId": session_id})

    def _open(self, session_id: str, command: dict[str, Any]) -> Tape:
        log_dir = Path(command["dir"]) / "log"
        log_dir.mkdir(mode=0o700, exist_ok=True)
        number, seq = resume_point(log_dir, self._stream, self._streams)
        identity = StreamIdentity(
            session_id=session_id,
            stream=self._stream,
            streams=self._streams,
            run=self._run,
            pid=os.getpid(),
            boot_id=_boot_id(),
            program=f"wiretape {__version__}",
        )
        room = self._room(log_dir, command.get("maxDisk"))
        writer = LogWriter(
            log_dir,
            identity,
            clock_ns=time.time_ns,
            next_number=number,
            next_seq=seq,
            reserve=Reserve(reserve_path(log_dir, self._stream)),
            patient=bool(command.get("resume")),
        )
        tape = Tape(
            self._loop,
            writer,
            session_id,
            durability=command.get("durability", "group"),
            profile=command.get("profile", "full"),
            max_disk=room,
            on_full=command.get("onFull", "pass"),
        )
        # In the log, what only the manifest knows otherwise: a lost manifest costs nothing.
        facts = facts_of(Path(command["dir"]), session_id)
        if facts is not None:
            tape.append(FrameType.EVENT, 0, Event(time.time_ns(), SESSION_EVENT, facts))
        return tape

    def _room(self, log_dir: Path, cap: int | None) -> int | None:
        """Give how much this run may write: the cap is the session's, so it counts all streams and all runs.

        Each stream has its share, so that recorders need not ask each other.
        """
        if cap is None:
            return None
        written = sum(ref.size for ref in list_segments(log_dir) if ref.stream == self._stream)
        return cap // self._streams - written

    def _close(self, session_id: str) -> None:
        context = self._ready()
        tape = self._tapes.pop(session_id, None)
        if tape is None:
            self._say({"event": "closed", "sessionId": session_id})
            return
        if context.tape is tape:
            context.tape = NullTape()

        def sealed() -> None:
            tape.close()
            self._say({"event": "closed", "sessionId": session_id})

        tape.when_drained(sealed)

    def _ready(self) -> Context:
        if self._context is None:
            raise UsageError("the recorder was not configured", hint="send config first")
        return self._context

    def _stats(self) -> dict[str, int]:
        context = self._ready()
        tapes = self._tapes.values()
        return {
            "inFlight": sum(tape.in_flight for tape in tapes),
            "dropped": sum(tape.dropped for tape in tapes),
            "unreported": sum(tape.unreported for tape in tapes),
            "blocked": sum(tape.blocked for tape in tapes),
            "connections": len(context.clients),
            "exchanges": context.exchanges,
        }

    async def _finish(self) -> None:
        """Stop accepting, let what runs end within the grace, break off the rest, seal."""
        context = self._context
        if context is not None:
            context.stopping = True
            if self._listener is not None:
                self._listener.stop()
            for client in list(context.clients):
                if client.idle:
                    client.transport.close()
            deadline = self._loop.time() + GRACE_SECONDS
            while self._busy(context) and self._loop.time() < deadline:  # noqa: ASYNC110 -- many small states, one end
                await asyncio.sleep(0.01)
            for client in list(context.clients):
                client.transport.abort()
            await asyncio.sleep(0)
            context.pool.close()
        await asyncio.sleep(0)
        deadline = self._loop.time() + GRACE_SECONDS
        while any(tape.syncing for tape in self._tapes.values()) and self._loop.time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        for session_id, tape in self._tapes.items():
            tape.close()
            self._say({"event": "closed", "sessionId": session_id})
        if self._writer is not None:
            with contextlib.suppress(ConnectionError, OSError):
                await self._writer.drain()
            self._writer.close()

    def _busy(self, context: Context) -> bool:
        return any(tape.in_flight for tape in self._tapes.values()) or any(not c.idle for c in context.clients)


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def new_loop() -> asyncio.AbstractEventLoop:
    """Give a loop: uvloop where there is one, unless WIRETAPE_LOOP=asyncio asks for the plain one."""
    if os.environ.get("WIRETAPE_LOOP") != "asyncio":
        try:
            import uvloop  # noqa: PLC0415 -- optional
        except ImportError:
            pass
        else:
            return uvloop.new_event_loop()
    return asyncio.new_event_loop()


def main(argv: list[str]) -> int:
    """Run a recorder on the control socket whose descriptor is ``argv[1]``."""
    control = socket.socket(fileno=int(argv[1]))
    control.setblocking(False)
    loop = new_loop()
    asyncio.set_event_loop(loop)
    # An exchange leaves no cycles behind; the collector's young generation would run every 350 exchanges for nothing.
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    try:
        loop.run_until_complete(_run(loop, control))
    finally:
        loop.close()
    return 0


async def _run(loop: asyncio.AbstractEventLoop, control: socket.socket) -> None:
    await Worker(loop, control).main()


if __name__ == "__main__":
    sys.exit(main(sys.argv))
