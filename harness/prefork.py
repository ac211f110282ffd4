"""Command lines in processes of their own, forked from one that has imported what they use.

Most of what a small command takes is Python's start and its imports: 0.1 to 0.4 s of CPU, in a suite that runs 500 of
them. A forked command differs from ``python -m wiretape`` in nothing but that: it has its own process, descriptors,
environment and exit status, and it ends as a Python program does, except that it frees nothing first. What is about the
start itself, or about descriptors that are closed or take nothing, starts Python.

    commands = Prefork()
    done = commands.run(["sessions", "--root", "/r"], stdin=b"", env=dict(os.environ), timeout=60)
    commands.close()
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from typing import IO

from wiretape import cli, daemon, secrets, session
from wiretape.cli.demo.stage import START_DEADLINE
from wiretape.cli.main import run

PRELOADED = (cli, daemon, secrets, session)
"""What commands import, early or late, is in these packages or imported there."""
MESSAGE_MAX = 256 * 1024


class Prefork:
    """The process from which commands are forked; it is started with the first command."""

    def __init__(self) -> None:
        self._server: _Server | None = None

    def run(
        self,
        arguments: list[str],
        *,
        stdin: bytes = b"",
        env: dict[str, str],
        timeout: float,
        terminal: int | None = None,
        stdout: bool = True,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run one command to its end, as ``subprocess.run`` does; one at a time.

        Args:
            arguments: those of ``wiretape``.
            stdin: what it can read; at most 64 KiB.
            env: all of its environment.
            timeout: seconds until it is killed.
            terminal: a descriptor for its stderr and, unless ``stdout`` is false, its stdout; they are files otherwise.
            stdout: whether stdout goes to the terminal too.

        Raises:
            subprocess.TimeoutExpired: it had not ended in time.
        """
        if self._server is None:
            self._server = _Server()
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, _reader(stdin) as given:
            request = json.dumps({"arguments": arguments, "env": env, "cwd": str(Path.cwd())}).encode()
            outputs = [out.fileno(), err.fileno()]
            if terminal is not None:
                outputs = [terminal if stdout else out.fileno(), terminal]
            try:
                self._server.fork(request, [given.fileno(), *outputs])
                status = self._server.receive(timeout)
            except BaseException as error:
                # Time is up, or Ctrl-C or a test's own time-out came between. What it would say late of this command
                # would be taken for what becomes of the next one.
                self._server.kill()
                self._server = None
                if isinstance(error, TimeoutError):
                    raise subprocess.TimeoutExpired(arguments, timeout, _content(out), _content(err)) from error
                raise
            return subprocess.CompletedProcess(arguments, status, _content(out), _content(err))

    def close(self) -> None:
        """End the process."""
        if self._server is not None:
            self._server.close()
            self._server = None


class _Server:
    """The running process, and the socket on which it is asked to fork."""

    def __init__(self) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "harness.prefork", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                cwd=Path(__file__).parent.parent,
                process_group=0,
            )

    def fork(self, request: bytes, descriptors: list[int]) -> None:
        """Have a command forked."""
        socket.send_fds(self._control, [request], descriptors)
        self.receive(START_DEADLINE)

    def receive(self, timeout: float) -> int:
        """Wait for the next number that it says: a process id, then that process's status.

        Raises:
            TimeoutError: nothing came.
        """
        self._control.settimeout(timeout)
        answer = self._control.recv(64)
        assert answer, "the process that forks commands has ended"
        return int(answer)

    def kill(self) -> None:
        """End it at once, and the command that it waits for, which is in its process group."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self.close()

    def close(self) -> None:
        """Let it end, and wait for that."""
        self._control.close()
        self._process.wait()


def _reader(stdin: bytes) -> IO[bytes]:
    """Return a pipe that has these bytes in it and no writer."""
    read, write = os.pipe()
    with os.fdopen(write, "wb") as writer:
        writer.write(stdin)  # a pipe takes 64 KiB without a reader
    return os.fdopen(read, "rb")


def _content(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read()


def serve(control: socket.socket) -> list[str] | None:
    """Fork a command for each request until the control socket closes.

    Returns:
        In a forked process the arguments of its command, in the one that forks None.
    """
    while True:
        request, descriptors, *_ = socket.recv_fds(control, MESSAGE_MAX, 3)
        if not request:
            return None
        pid = os.fork()
        if not pid:
            control.close()
            return _become(json.loads(request), descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        control.send(b"%d" % pid)
        control.send(b"%d" % os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def _become(request: dict[str, object], descriptors: list[int]) -> list[str]:
    """Take over the descriptors, the environment and the folder of a command; return its arguments."""
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    env, arguments = request["env"], request["arguments"]
    assert isinstance(env, dict)
    assert isinstance(arguments, list)
    sys.stdout.reconfigure(line_buffering=os.isatty(1))  # type: ignore[union-attr]
    os.environ.clear()
    os.environ.update(env)
    os.chdir(str(request["cwd"]))
    return arguments


def _end(status: int) -> None:
    """End this process as Python would, but leave what it inherited as it is.

    To free it writes to every page, which the kernel has to copy for that: 50 ms, where the command itself takes 10.
    """
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads
    atexit._run_exitfuncs()
    with suppress(OSError):  # Python's own end says what cannot be written
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    for package in PRELOADED:
        for found in walk_packages(package.__path__, f"{package.__name__}."):
            import_module(found.name)
    gc.freeze()
    arguments = serve(socket.socket(fileno=int(sys.argv[1])))
    if arguments is not None:
        sys.argv = ["wiretape", *arguments]
        status = run(arguments)
        _end(status)
        sys.exit(status)
