"""A real recorder process without a daemon: what the supervisor does, small enough for tests.

with RecorderProcess(root) as recorder:
    recorder.record("one")
    ... traffic through recorder.address ...
    recorder.close("one")
    exchanges = recorder.exchanges("one")
"""

from __future__ import annotations

import shutil
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any, Self

from wiretape.channel.blocking import BlockingChannel
from wiretape.cli.demo.waiting import DEADLINE, wait_until
from wiretape.log import Exchange, open_session
from wiretape.log.format import Event, FrameType
from wiretape.log.items import Frame
from wiretape.log.scan import scan_segment
from wiretape.log.store import list_segments
from wiretape.settings import (
    WAIT_SECONDS,
    ArrivalSettings,
    RecorderSettings,
    RecordTarget,
    SessionSettings,
    UpstreamSettings,
    to_wire,
)

_IDS = {"one": "20260101T000000-00000a", "two": "20260101T000000-00000b"}


class RecorderProcess:
    """One ``wiretape.recorder.worker`` process on a listening socket that outlives it.

    Attributes:
        address: where its proxy listens.
    """

    def __init__(
        self,
        root: Path,
        *,
        upstream_ca: Path | None = None,
        insecure: bool = False,
        strict_http: bool = False,
        loop: str = "uvloop",
        limits: str = "",
        record_options: dict[str, Any] | None = None,
        arrivals: ArrivalSettings = ArrivalSettings(),  # noqa: B008  it is frozen
        host: str = "127.0.0.1",
        first_byte_timeout: float = WAIT_SECONDS,
    ) -> None:
        self.root = root
        self._upstream = UpstreamSettings(
            insecure=insecure, ca=upstream_ca, strict_http=strict_http, first_byte_timeout=first_byte_timeout
        )
        self._loop = loop
        self._limits = limits
        self._arrivals = arrivals
        self._options = record_options or {}
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listening = socket.create_server((host, 0), family=family, backlog=256)
        self.address: tuple[str, int] = self._listening.getsockname()[:2]
        self._spawn()

    def _spawn(self) -> None:
        mine, theirs = socket.socketpair()
        mine.settimeout(DEADLINE)
        listening = self._listening.fileno()
        self._handover, taking = socket.socketpair()
        command = [sys.executable, "-m", "wiretape.recorder.worker", str(theirs.fileno()), self._loop]
        if self._limits:
            command = ["sh", "-c", f'{self._limits}; exec "$@"', "sh", *command]
        self.process = subprocess.Popen(
            command,
            pass_fds=[theirs.fileno(), taking.fileno(), listening],
        )
        theirs.close()
        self._control = mine
        self._channel = BlockingChannel(mine)
        settings = RecorderSettings(
            root=self.root,
            listen_fd=listening,
            handover_fd=taking.fileno(),
            upstream=self._upstream,
            arrivals=self._arrivals,
        )
        self.ask("configure", **to_wire(settings))
        taking.close()
        self.ask("accept")

    def ask(self, cmd: str, **fields: Any) -> dict[str, Any]:
        """Send a command and wait for its answer."""
        return self._channel.call({"cmd": cmd, **fields})

    def hand_over(self, kind: str, listener: socket.socket) -> None:
        """Have it serve another socket: ``transparent`` or ``udp``."""
        socket.send_fds(self._handover, [b"L"], [listener.fileno()])
        self.ask("listen", kind=kind)

    def send(self, **command: Any) -> None:
        """Send a command that is answered later, if at all; ``id`` names it."""
        self._channel.send(command)

    def send_raw(self, line: bytes) -> None:
        """Send bytes that may be no command."""
        self._control.sendall(line)

    def expect(self, *, ok: bool = True, number: object = None) -> dict[str, Any]:
        """Return the next answer, which must say that it was done or was not, to the request of that id."""
        answer = self._channel.receive()
        assert (answer["ok"], answer["id"]) == (ok, number), answer
        return answer

    def folder(self, name: str) -> Path:
        """Return the folder of a session."""
        return self.root / "sessions" / _IDS[name]

    def record(self, name: str = "one", **options: Any) -> None:
        """Record what begins from now on in this session."""
        folder = self.folder(name)
        folder.mkdir(parents=True, exist_ok=True)
        self.record_to(_IDS[name], folder, **options)

    def record_to(self, session_id: str, folder: Path, **options: Any) -> None:
        """Record what begins from now on in a session of this folder."""
        settings = SessionSettings(**{**self._options, **options})
        self.ask("record", **to_wire(RecordTarget(session_id=session_id, dir=folder, settings=settings)))

    def close(self, name: str = "one") -> None:
        """End a session and wait until it is sealed."""
        self.ask("close", sessionId=_IDS[name])

    def clear(self) -> None:
        """Seal and remove what was recorded, so that the next test finds nothing; what goes on in there has to end."""
        for name in _IDS:
            self.close(name)
        shutil.rmtree(self.root / "sessions")

    def stats(self) -> dict[str, Any]:
        """Ask for the counters."""
        return self.ask("stats")

    def kill(self) -> None:
        """SIGKILL."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def respawn(self, arrivals: ArrivalSettings | None = None) -> None:
        """Start a successor on the same listening socket; ``arrivals`` sets it up in another way."""
        self._arrivals = arrivals or self._arrivals
        self._control.close()
        self._handover.close()
        self._spawn()

    def stop(self) -> int:
        """Stop as a daemon does by closing the control socket; gives the exit status."""
        self._control.close()
        return self.process.wait(DEADLINE)

    def exchanges(self, name: str = "one") -> list[Exchange]:
        """Read what the log holds, in the order of seq; nothing in it may be damaged."""
        log = open_session(self.folder(name))
        found = sorted(log, key=lambda exchange: exchange.seq)
        assert log.report is not None
        assert not log.report.gaps, log.report.gaps
        return found

    def frames(self, kind: int | Collection[int], name: str = "one") -> list[Frame]:
        """Return all frames of one kind, or of several, in the order of the log."""
        kinds = {kind} if isinstance(kind, int) else kind
        items = [item for ref in list_segments(self.folder(name) / "log") for item in scan_segment(ref.path, live=True)]
        return [item for item in items if isinstance(item, Frame) and item.kind in kinds]

    def body(self, exchange: Exchange, side: str = "response") -> bytes:
        """Return the recorded bytes of a body."""
        if side == "request":
            return exchange.request.body.read()
        return exchange.response.body.read() if exchange.response is not None else b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._control.close()
        self._handover.close()
        self._listening.close()


def only(recorder: RecorderProcess) -> Exchange:
    """Return the one exchange that the log holds, once it has ended."""

    def ended() -> Exchange | None:
        found = recorder.exchanges()
        return found[0] if len(found) == 1 and found[0].done is not None else None

    found = wait_until(ended, what="one ended exchange in the log")
    assert found is not None
    return found


def done_count(recorder: RecorderProcess, count: int) -> list[Exchange]:
    """Return the exchanges once ``count`` of them have ended."""

    def ended() -> list[Exchange]:
        found = [exchange for exchange in recorder.exchanges() if exchange.done is not None]
        return found if len(found) >= count else []

    return wait_until(ended, what=f"{count} ended exchanges in the log")


def refusals(recorder: RecorderProcess) -> list[str]:
    """Return the codes of the refusals in the log, of clients that were turned away before there was an exchange."""
    events = [frame.record() for frame in recorder.frames(FrameType.EVENT)]
    return [event.detail["code"] for event in events if isinstance(event, Event) and event.kind == "refused"]


def trusting(recorder: RecorderProcess) -> ssl.SSLContext:
    """Return the context of a client that trusts the recorder's authority and no other."""
    return ssl.create_default_context(cafile=str(recorder.root / "ca" / "ca.pem"))
