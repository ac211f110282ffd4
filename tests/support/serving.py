"""A real daemon as a process: `wiretape serve --json` in a root of the test's own, ended by its pid."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support.wait import DEADLINE, wait_until


class Daemon:
    """A daemon that accepts connections.

    Attributes:
        ready: the line it printed.
        root: its root.
    """

    def __init__(self, root: Path, *arguments: str) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        self.messages = root.parent / f"{root.name}.stderr"
        ports = [] if "--proxy" in arguments else ["--proxy", "127.0.0.1:0"]
        with self.messages.open("ab") as stderr:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "wiretape", "serve", "--json", "--root", str(root)),
                    *(*ports, "--api", "127.0.0.1:0", *arguments),
                ],
                stdout=subprocess.PIPE,
                stderr=stderr,
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.process.wait(DEADLINE)
            raise AssertionError(f"the daemon did not start: {self.messages.read_text()}")
        self.ready: dict[str, Any] = json.loads(line)

    @property
    def proxy(self) -> str:
        """The proxy's URL."""
        return str(self.ready["proxy"])

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

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """End it with a signal; give its status and what else it printed on stdout."""
        self.process.send_signal(number)
        rest, _ = self.process.communicate(timeout=DEADLINE)
        return self.process.returncode, rest.decode()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.communicate(timeout=DEADLINE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.communicate()
        elif self.process.stdout is not None:
            self.process.stdout.close()


def alive(pid: int) -> bool:
    """Whether a process runs (one that has ended and was not waited for does not)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    except OSError:
        os.kill(pid, 0)
        return True
    return state not in {"Z", "X"}


def wait_gone(pid: int) -> None:
    """Wait until a process has ended."""
    wait_until(lambda: not alive(pid), what=f"the end of process {pid}")
