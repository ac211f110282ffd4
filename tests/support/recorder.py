"""A real recorder process without a daemon: what the supervisor does, small enough for tests.

with RecorderProcess(root) as recorder:
    recorder.record("one")
    ... traffic through recorder.address ...
    recorder.close("one")
    exchanges = recorder.exchanges("one")
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

from tests.support.wait import DEADLINE, wait_until
from wiretape.log import Exchange, open_session
from wiretape.log.items import Frame
from wiretape.log.scan import scan_segment
from wiretape.log.store import list_segments

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
        loop: str = "uvloop",
        limits: str = "",
        record_options: dict[str, Any] | None = None,
    ) -> None:
        self.root = root
        self._upstream_ca = upstream_ca
        self._insecure = insecure
        self._loop = loop
        self._limits = limits
        self._options = record_options or {}
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.address: tuple[str, int] = self._listening.getsockname()[:2]
        self._spawn()

    def _spawn(self) -> None:
        mine, theirs = socket.socketpair()
        mine.settimeout(DEADLINE)
        listening = self._listening.fileno()
        command = [sys.executable, "-m", "wiretape.recorder.worker", str(theirs.fileno())]
        if self._limits:
            command = ["sh", "-c", f'{self._limits}; exec "$@"', "sh", *command]
        self.process = subprocess.Popen(
            command,
            pass_fds=[theirs.fileno(), listening],
            env={**os.environ, "WIRETAPE_LOOP": self._loop},
        )
        theirs.close()
        self._control = mine
        self._lines = mine.makefile("rb")
        self.send(
            cmd="config",
            root=str(self.root),
            listenFd=listening,
            upstreamCa=str(self._upstream_ca) if self._upstream_ca else None,
            insecure=self._insecure,
        )
        self.expect("configured")
        self.send(cmd="accept")
        self.expect("accepting")

    def send(self, **command: Any) -> None:
        """Send a command."""
        self._control.sendall(json.dumps(command).encode() + b"\n")

    def send_raw(self, line: bytes) -> None:
        """Send bytes that may be no command."""
        self._control.sendall(line)

    def expect(self, event: str) -> dict[str, Any]:
        """Give the next answer, which must be ``event``."""
        answer: dict[str, Any] = json.loads(self._lines.readline())
        assert answer["event"] == event, answer
        return answer

    def folder(self, name: str) -> Path:
        """Give the folder of a session."""
        return self.root / "sessions" / _IDS[name]

    def record(self, name: str = "one", **options: Any) -> None:
        """Record what begins from now on in this session."""
        folder = self.folder(name)
        folder.mkdir(parents=True, exist_ok=True)
        self.send(cmd="record", sessionId=_IDS[name], dir=str(folder), **{**self._options, **options})
        self.expect("recording")

    def close(self, name: str = "one") -> None:
        """End a session and wait until it is sealed."""
        self.send(cmd="close", sessionId=_IDS[name])
        assert self.expect("closed")["sessionId"] == _IDS[name]

    def stats(self) -> dict[str, Any]:
        """Ask for the counters."""
        self.send(cmd="stats")
        return self.expect("stats")

    def kill(self) -> None:
        """SIGKILL."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def respawn(self) -> None:
        """Start a successor on the same listening socket."""
        self._lines.close()
        self._control.close()
        self._spawn()

    def stop(self) -> int:
        """Stop as a daemon does by closing the control socket; gives the exit status."""
        self._lines.close()
        self._control.close()
        return self.process.wait(DEADLINE)

    def exchanges(self, name: str = "one") -> list[Exchange]:
        """Read what the log holds, in the order of seq; nothing in it may be damaged."""
        log = open_session(self.folder(name))
        found = sorted(log, key=lambda exchange: exchange.seq)
        assert log.report is not None
        assert not log.report.gaps, log.report.gaps
        return found

    def frames(self, kind: int, name: str = "one") -> list[Frame]:
        """Give all frames of one kind."""
        items = [item for ref in list_segments(self.folder(name) / "log") for item in scan_segment(ref.path, live=True)]
        return [item for item in items if isinstance(item, Frame) and item.kind == kind]

    def body(self, exchange: Exchange, side: str = "response") -> bytes:
        """Give the recorded bytes of a body."""
        if side == "request":
            return exchange.request.body.read()
        return exchange.response.body.read() if exchange.response is not None else b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._lines.close()
        self._control.close()
        self._listening.close()


def only(recorder: RecorderProcess) -> Exchange:
    """Give the one exchange that the log holds, once it has ended."""

    def ended() -> Exchange | None:
        found = recorder.exchanges()
        return found[0] if len(found) == 1 and found[0].done is not None else None

    found = wait_until(ended, what="one ended exchange in the log")
    assert found is not None
    return found


def done_count(recorder: RecorderProcess, count: int) -> list[Exchange]:
    """Give the exchanges once ``count`` of them have ended."""

    def ended() -> list[Exchange]:
        found = [exchange for exchange in recorder.exchanges() if exchange.done is not None]
        return found if len(found) >= count else []

    return wait_until(ended, what=f"{count} ended exchanges in the log")
