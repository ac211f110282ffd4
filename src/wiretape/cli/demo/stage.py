"""The processes of the demonstration: origin, client and daemon, started, watched and ended by their process ids."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

from wiretape.errors import DaemonError

START_DEADLINE = 30.0
"""Seconds after which a process that does not come up is given up; loaded machines take a few."""

END_DEADLINE = 20.0


class Helper:
    """A process that serves until its stdin ends, so that it never outlives us."""

    def __init__(self, module: str, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def first_line(self) -> Any:
        """Wait for the line of JSON that it prints when it is ready."""
        return json.loads(read_line(self.process, f"{self.process.args!r}"))

    def close(self) -> None:
        """Let it end, by force if it does not."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        end(self.process)
        self.process.stdout.close()


class Daemon:
    """A ``wiretape serve`` on free ports, in its own process, ended by its pid.

    Args:
        root: its root, made where it is not there.
        arguments: further options of ``serve``; without ``--proxy`` or ``--api`` those listen on free ports.
        messages: where its messages go; beside the root if not given.

    Attributes:
        ready: the line that it printed when it was ready.
        root: its root.
        messages: where its messages are.

    Raises:
        DaemonError: it did not start; nothing is left running.
    """

    def __init__(self, root: Path, *arguments: str, messages: Path | None = None) -> None:
        self.root = root
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.messages = messages or root.parent / f"{root.name}.stderr"
        command = [sys.executable, "-m", "wiretape", "serve", "--json", "--root", str(root)]
        for option in ("--proxy", "--api"):
            command += [] if option in arguments else [option, "127.0.0.1:0"]
        with self.messages.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log
            )
        try:
            self.ready: dict[str, Any] = json.loads(read_line(self.process, "wiretape serve"))
            if self.ready.get("status") == "error":
                raise DaemonError(self.ready["message"])
        except BaseException as error:
            self.close()
            if not isinstance(error, DaemonError | ValueError):
                raise
            said = self.messages.read_text(errors="replace").strip()[-2000:]
            raise DaemonError(f"wiretape serve did not start: {said or error}", hint="`wiretape doctor`") from error

    @property
    def proxy(self) -> str:
        """The proxy's URL."""
        return str(self.ready["proxy"])

    @property
    def address(self) -> str:
        """Where it records, as HOST:PORT."""
        return self.proxy.removeprefix("http://").rstrip("/")

    @property
    def token(self) -> str:
        """The token of its API."""
        return (self.root / "token").read_text().strip()

    @property
    def mcp(self) -> str:
        """The address of MCP over HTTP for a client that can set no header."""
        return f"{self.ready['mcp']}?token={self.token}"

    @property
    def session_id(self) -> str:
        """The session it began with."""
        return str(self.ready["sessionId"])

    @property
    def recorder_pids(self) -> list[int]:
        """The recorders that it started with."""
        return [int(pid) for pid in self.ready["recorderPids"]]

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone. Its recorders may live on for a moment."""
        self.process.kill()
        self.process.wait(END_DEADLINE)

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """End it with a signal; return its status and what else it printed on stdout."""
        self.process.send_signal(number)
        rest, _ = self.process.communicate(timeout=END_DEADLINE)
        return self.process.returncode, rest.decode()

    def close(self) -> None:
        """End it whatever state it is in."""
        if self.process.poll() is None:
            self.process.terminate()
        end(self.process)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_line(process: subprocess.Popen[bytes], what: str) -> bytes:
    """Wait for the first line that a process prints.

    Raises:
        DaemonError: it ended, or printed nothing in time.
    """
    assert process.stdout is not None
    descriptor = process.stdout.fileno()
    line = bytearray()
    deadline = time.monotonic() + START_DEADLINE
    while not line.endswith(b"\n"):
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([descriptor], [], [], left)[0]:
            raise DaemonError(f"{what} was not ready within {START_DEADLINE:g} s", hint="is the machine overloaded?")
        if not (piece := os.read(descriptor, 65536)):
            raise DaemonError(f"{what} ended with status {process.wait()}", hint="its messages are on stderr")
        line += piece
    return bytes(line)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process of ours: first let it, then ask, then force."""
    for signal_number in (0, signal.SIGTERM, signal.SIGKILL):
        process.send_signal(signal_number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5)
            return


def kill(pid: int) -> None:
    """SIGKILL a process that may be gone already."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def ask(*arguments: str) -> tuple[int, Any]:
    """Run a wiretape command with ``--json``; return its exit status and its document.

    Raises:
        DaemonError: it printed no JSON.
    """
    command = [sys.executable, "-m", "wiretape", *arguments, "--json"]
    done = subprocess.run(command, capture_output=True, check=False, timeout=300)
    try:
        return done.returncode, json.loads(done.stdout)
    except ValueError:
        said = done.stderr.decode(errors="replace").strip()[-2000:]
        raise DaemonError(f"wiretape {' '.join(arguments)} gave no JSON (status {done.returncode}): {said}") from None
