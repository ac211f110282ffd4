"""A recorder process: ``python -m wiretape.recorder.worker CONTROL_FD [LOOP]``, started and steered by the daemon.

The control socket is a channel (see wiretape.channel): ``configure``, ``record``, ``accept``, ``stats``, ``close`` and
``stop``. When it closes the daemon is gone: the recorder seals its segments and ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import os
import secrets
import signal
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wiretape import __version__, memory
from wiretape.channel.messages import LINE_MAX
from wiretape.channel.peer import Peer, Request
from wiretape.errors import NotFoundError, StorageError, UsageError, WiretapeError
from wiretape.log.format import Event, FrameType, Marked
from wiretape.log.reserve import Reserve, reserve_path
from wiretape.log.resume import resume_point
from wiretape.log.store import list_segments
from wiretape.log.stream_writer import StreamIdentity, StreamWriter
from wiretape.recorder import place
from wiretape.recorder.blocked_udp import BlockedUdp
from wiretape.recorder.context import Context
from wiretape.recorder.credentials import Credentials
from wiretape.recorder.decider import RuleDecider, Spent
from wiretape.recorder.dial import Dialer
from wiretape.recorder.listener import Listener
from wiretape.recorder.ourselves import Ourselves
from wiretape.recorder.pass_through import PassThrough
from wiretape.recorder.place import Missing, Place
from wiretape.recorder.pool import Pool
from wiretape.recorder.ports import Timeouts
from wiretape.recorder.protocols import Protocols
from wiretape.recorder.reverse import Servers
from wiretape.recorder.session_stream import NullStream, SessionStream
from wiretape.rules.ruleset import CompiledRule, Ruleset, checked
from wiretape.rules.values import rule_from
from wiretape.session.metadata import SESSION_EVENT, facts_of
from wiretape.settings import SESSION_GONE, RecorderSettings, RecordTarget, from_wire
from wiretape.tls.authority import CertificateAuthority
from wiretape.tls.contexts import ServerContexts, UpstreamContexts

KEYLOG: Final = "SSLKEYLOGFILE"
"""The variable by which curl, browsers and Python take the file that Wireshark reads."""
GRACE_SECONDS: Final = 2.0
CROWD: Final = 100
"""Connections of clients from which memory is rather kept for the next one than given back."""


@dataclass(slots=True)
class _OpenStream:
    """A session's stream that is open.

    Attributes:
        stream: where its exchanges put their frames.
        place: where it is written.
        sure: of all exchanges of this recorder, those that had begun and ended when the place was last seen sound.
    """

    stream: SessionStream
    place: Place
    sure: int


class Worker:
    """Carries out what the daemon says."""

    def __init__(self, loop: asyncio.AbstractEventLoop, control: socket.socket, keylog: str = "") -> None:
        self._loop = loop
        self._keylog = keylog
        self._control = control
        self._context: Context | None = None
        self._listener: Listener | None = None
        self._further: dict[str, Listener | BlockedUdp] = {}
        self._handover: socket.socket | None = None
        self._opened: dict[str, _OpenStream] = {}
        self._stream = 0
        self._streams = 1
        self._run = secrets.randbits(63)
        self._spent = Spent()
        self._stopping = asyncio.Event()

    async def main(self) -> None:
        """Serve the control socket until it closes or says stop."""
        reader, writer = await asyncio.open_unix_connection(sock=self._control, limit=LINE_MAX)
        daemon = Peer(reader, writer, name="the daemon", on_request=self._obey)
        self._loop.add_signal_handler(signal.SIGTERM, self._stopping.set)
        self._loop.add_signal_handler(signal.SIGINT, lambda: None)  # a terminal sends it to all; the daemon decides
        listening = self._loop.create_task(daemon.run())
        self._loop.call_later(memory.LOOK_EVERY, self._give_back, memory.Trimmer())
        self._loop.call_later(place.LOOK_EVERY, self._look, daemon)
        # However listening ends: a recorder must never outlive its daemon.
        listening.add_done_callback(lambda _: self._stopping.set())
        await self._stopping.wait()
        await self._finish()
        with contextlib.suppress(OSError):
            await daemon.drain()
        daemon.close()
        listening.cancel()

    def _look(self, daemon: Peer) -> None:
        """See whether what is written is still in its place; tell the daemon when it is not (P10).

        A deleted segment is left for a new one. For a deleted folder the daemon begins a new session, and asks for it;
        until then it is told every second.
        """
        for session_id, opened in self._opened.items():
            missing = opened.place.look(opened.stream.fd)
            if missing is Missing.FOLDER:
                daemon.event("gone", sessionId=session_id)
                continue
            if missing is Missing.SEGMENT:
                opened.stream.leave_segment()
                daemon.event("segment-gone", sessionId=session_id)
            if self._context is not None:
                # Who was in flight then, or began later, is not in the log if the next look finds it gone.
                opened.sure = self._context.exchanges - opened.stream.in_flight
        if not self._stopping.is_set():
            self._loop.call_later(place.LOOK_EVERY, self._look, daemon)

    def _give_back(self, trimmer: memory.Trimmer) -> None:
        """Give back memory that a burst of clients has left; not in the middle of one (P8)."""
        trimmer.look(busy=self._context is not None and len(self._context.clients) > CROWD)
        if not self._stopping.is_set():
            self._loop.call_later(memory.LOOK_EVERY, self._give_back, trimmer)

    def _obey(self, request: Request) -> None:
        """Carry out what the daemon asks; what cannot be done is the answer."""
        try:
            self._carry_out(request)
        except OSError as error:
            raise StorageError(f"the recorder cannot {request.cmd}: {error}") from error
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(f"bad command {request.cmd!r}: {error!r}") from error

    def _carry_out(self, request: Request) -> None:
        match request.cmd:
            case "configure" | "accept" | "listen" | "unlisten":
                self._open_or_close(request)
                request.answer()
            case "record":
                self._record(from_wire(RecordTarget, request.fields), request)
            case "mark":
                self._mark(
                    str(request.fields["sessionId"]),
                    Marked(int(request.fields["wallNs"]), str(request.fields["label"])),
                    request,
                )
            case "rules":
                self._rules(request)
            case "hits":
                request.answer(hits=self._spent.tell())
            case "close":
                self._close(str(request.fields["sessionId"]), request)
            case "stats":
                for stream in self._open_streams():
                    stream.report_dropped()
                # After the write: what is said to be in the log is.
                self._loop.call_soon(lambda: request.answer(**self._stats()))
            case "stop":
                self._stopping.set()
            case _:
                raise UsageError(f"the recorder knows no command {request.cmd!r}")

    def _open_or_close(self, request: Request) -> None:
        """Carry out what is about sockets."""
        match request.cmd:
            case "configure":
                self._configure(from_wire(RecorderSettings, request.fields))
            case "accept":
                if self._listener is not None:
                    self._listener.start()
            case "listen":
                self._listen(str(request.fields["kind"]))
            case "unlisten":
                found = self._further.pop(str(request.fields["kind"]), None)
                if found is not None:
                    found.close()

    def _configure(self, settings: RecorderSettings) -> None:
        self._stream, self._streams = settings.stream, settings.streams
        if self._keylog:  # for nobody else's eyes, and writable: told now, not with the first connection
            os.close(os.open(self._keylog, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))
        upstream = UpstreamContexts(settings.upstream.insecure, settings.upstream.ca, keylog=self._keylog)
        authority = CertificateAuthority.load_or_create(settings.root)
        listening = socket.socket(fileno=settings.listen_fd)
        if settings.handover_fd >= 0:
            self._handover = socket.socket(fileno=settings.handover_fd)
            self._handover.setblocking(False)
        api = [(settings.api.host, settings.api.port)] if settings.api else []
        ourselves = Ourselves([listening.getsockname()[:2], *api])
        # Unique within a session also across recorder restarts: each run has 32 bits of its own.
        numbers = itertools.count((secrets.randbits(30) << 32) + 1)
        asked = settings.upstream
        timeouts = Timeouts(asked.connect_timeout, asked.first_byte_timeout, asked.idle_timeout)
        strict = asked.strict_http
        protocols = Protocols()
        dialer = Dialer(self._loop, upstream, ourselves, numbers, protocols, timeouts.connect, strict_http=strict)
        pool = Pool(self._loop, dialer, timeouts)
        arrivals = settings.arrivals
        self._context = Context(
            self._loop,
            pool,
            ServerContexts(authority, keylog=self._keylog),
            numbers,
            protocols=protocols,
            ourselves=ourselves,
            credentials=Credentials(arrivals.credentials) if arrivals.credentials else None,
            pass_through=PassThrough(arrivals.pass_hosts, after_refusal=arrivals.pass_refused),
            servers=Servers(arrivals.reverse) if arrivals.reverse else None,
            source=settings.source,
        )
        self._listener = Listener(self._context, listening)

    def _listen(self, kind: str) -> None:
        """Serve the socket that has come beside the command."""
        context = self._ready()
        if self._handover is None:
            raise UsageError("the recorder takes no further sockets")
        _, (fd, *_), _, _ = socket.recv_fds(self._handover, 1, 1)
        sock = socket.socket(fileno=fd)
        if kind == "udp":
            self._further[kind] = BlockedUdp(context, sock)
            return
        if kind == "transparent":
            context.ourselves.add(*sock.getsockname()[:2])
        self._further[kind] = listener = Listener(context, sock, transparent=kind == "transparent")
        listener.start()

    def _record(self, target: RecordTarget, request: Request) -> None:
        context = self._ready()
        opened = self._opened.get(target.session_id)
        if opened is None:
            stream = self._open(target)
            opened = _OpenStream(stream, Place(target.dir / "log"), context.exchanges)
            self._opened[target.session_id] = opened
        stream = opened.stream
        for before in self._opened.values():
            if before.stream is context.stream and before.place.look(before.stream.fd) is Missing.FOLDER:
                # What the deleted session has not kept is said where somebody will look (P11).
                stream.count_unrecorded(context.exchanges - before.sure)
        context.stream = stream
        # Said once it is true: the segment and what the session is called are written.
        stream.release(lambda _: request.answer(), None)

    def _mark(self, session_id: str, mark: Marked, request: Request) -> None:
        """Write a labelled point into a session that is open; said once it is in the log."""
        opened = self._opened.get(session_id)
        if opened is None:
            raise NotFoundError(f"session {session_id} is not being recorded", hint="a mark needs a live session")
        stream = opened.stream
        if stream.blocked:
            raise StorageError(
                f"session {session_id} cannot be written at the moment", hint="free some space, or raise its cap"
            )
        last, epoch = stream.last_seq, stream.epoch
        stream.append(FrameType.MARKED, last, mark)

        def written(_: object) -> None:
            if stream.epoch == epoch:
                request.answer(lastSeq=last)
            else:
                request.refuse(StorageError("the mark could not be written", hint="`wiretape status` says why"))

        stream.release(written, None)

    def _open(self, target: RecordTarget) -> SessionStream:
        settings = target.settings
        log_dir = target.dir / "log"
        if target.resume and not _has_segments(log_dir, self._stream):
            # Its numbers would be given a second time (P5).
            raise StorageError(
                f"the log of session {target.session_id} is not there any more",
                hint="record to another session",
                code=SESSION_GONE,
            )
        log_dir.mkdir(mode=0o700, exist_ok=True)
        number, seq = resume_point(log_dir, self._stream, self._streams)
        identity = StreamIdentity(
            session_id=target.session_id,
            stream=self._stream,
            streams=self._streams,
            run=self._run,
            pid=os.getpid(),
            boot_id=_boot_id(),
            program=f"wiretape {__version__}",
        )
        room = self._room(log_dir, settings.max_disk)
        writer = StreamWriter(
            log_dir,
            identity,
            clock_ns=time.time_ns,
            next_number=number,
            next_seq=seq,
            reserve=Reserve(reserve_path(log_dir, self._stream)),
            patient=target.resume,
        )
        stream = SessionStream(
            self._loop,
            writer,
            target.session_id,
            durability=settings.durability,
            profile=settings.profile,
            max_disk=room,
            on_full=settings.on_full,
        )
        # In the log, what only the manifest knows otherwise: a lost manifest costs nothing.
        facts = facts_of(target.dir, target.session_id)
        if facts is not None:
            stream.append(FrameType.EVENT, 0, Event(time.time_ns(), SESSION_EVENT, facts))
        return stream

    def _room(self, log_dir: Path, cap: int | None) -> int | None:
        """Return how much this run may write: the cap is the session's, so it counts all streams and all runs.

        Each stream has its share, so that recorders need not ask each other.
        """
        if cap is None:
            return None
        written = sum(ref.size for ref in list_segments(log_dir) if ref.stream == self._stream)
        return cap // self._streams - written

    def _rules(self, request: Request) -> None:
        """Put a whole set of rules in the place of the one before, for exchanges that begin from now on (P16).

        It is compiled beside the loop: ten thousand rules take seconds, and what passes meanwhile is not to wait.
        """
        context = self._ready()
        fields = list(request.fields["rules"])
        event = request.fields.get("event")
        if isinstance(event, dict) and event:
            for stream in self._open_streams():
                stream.append(FrameType.EVENT, 0, Event(time.time_ns(), "rules", event))
        if not fields:
            self._spent.keep(())
            context.decider = None
            request.answer()
            return

        def take(compiling: asyncio.Future[list[CompiledRule]]) -> None:
            try:
                rules = compiling.result()
            except WiretapeError as error:
                request.refuse(error)
                return
            self._spent.keep(rules)
            context.decider = RuleDecider(Ruleset(rules), self._spent, self._loop)
            request.answer()

        self._loop.run_in_executor(None, _compile, fields).add_done_callback(take)

    def _close(self, session_id: str, request: Request) -> None:
        context = self._ready()
        opened = self._opened.pop(session_id, None)
        if opened is None:
            request.answer()
            return
        stream = opened.stream
        if context.stream is stream:
            context.stream = NullStream()

        def sealed() -> None:
            stream.close()
            request.answer()

        stream.when_drained(sealed)

    def _ready(self) -> Context:
        if self._context is None:
            raise UsageError("the recorder was not configured", hint="send config first")
        return self._context

    def _open_streams(self) -> list[SessionStream]:
        return [opened.stream for opened in self._opened.values()]

    def _stats(self) -> dict[str, int]:
        context = self._ready()
        streams = self._open_streams()
        return {
            "inFlight": sum(stream.in_flight for stream in streams),
            "dropped": sum(stream.dropped for stream in streams),
            "unreported": sum(stream.unreported for stream in streams),
            "blocked": sum(stream.blocked for stream in streams),
            "connections": len(context.clients),
            "exchanges": context.exchanges,
            "refused": context.refused,
            "passed": context.pass_through.passed,
            "withoutHttp2": int(bool(context.protocols.missing)),
        }

    async def _finish(self) -> None:
        """Stop accepting, let what runs end within the grace, break off the rest, seal."""
        context = self._context
        if context is not None:
            context.stopping = True
            if self._listener is not None:
                self._listener.stop()
            for further in self._further.values():
                further.close()
            self._further.clear()
            for client in list(context.clients):
                if client.idle:
                    client.close()
            deadline = self._loop.time() + GRACE_SECONDS
            while self._busy(context) and self._loop.time() < deadline:  # noqa: ASYNC110 -- many small states, one end
                await asyncio.sleep(0.01)
            for client in list(context.clients):
                client.abort()
            await asyncio.sleep(0)
            context.pool.close()
        await asyncio.sleep(0)
        deadline = self._loop.time() + GRACE_SECONDS
        while any(stream.syncing for stream in self._open_streams()) and self._loop.time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        for stream in self._open_streams():
            stream.close()

    def _busy(self, context: Context) -> bool:
        return any(stream.in_flight for stream in self._open_streams()) or any(not c.idle for c in context.clients)


def _compile(fields: list[object]) -> list[CompiledRule]:
    return checked(rule_from(one) for one in fields)


def _has_segments(log_dir: Path, stream: int) -> bool:
    try:
        return any(ref.stream == stream for ref in list_segments(log_dir))
    except NotFoundError:
        return False


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def new_loop(name: str = "uvloop") -> asyncio.AbstractEventLoop:
    """Return a loop: uvloop where it is installed, unless ``name`` is ``asyncio``."""
    if name != "asyncio":
        try:
            import uvloop  # noqa: PLC0415 -- optional
        except ImportError:
            pass
        else:
            return uvloop.new_event_loop()
    return asyncio.new_event_loop()


def main(argv: list[str]) -> int:
    """Run a recorder on the control socket whose descriptor is ``argv[1]``, on the loop that ``argv[2]`` names."""
    control = socket.socket(fileno=int(argv[1]))
    control.setblocking(False)
    loop = new_loop(*argv[2:3])
    asyncio.set_event_loop(loop)
    # An exchange leaves no cycles behind; the collector's young generation would run every 350 exchanges for nothing.
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    memory.keep_freed()
    try:
        loop.run_until_complete(_run(loop, control))
    finally:
        loop.close()
    return 0


async def _run(loop: asyncio.AbstractEventLoop, control: socket.socket) -> None:
    await Worker(loop, control, os.environ.get(KEYLOG, "")).main()


if __name__ == "__main__":
    sys.exit(main(sys.argv))
