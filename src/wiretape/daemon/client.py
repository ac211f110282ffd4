"""Talking to the daemon of a root over its Unix socket. Standard library only: `wiretape mcp` has to start fast.

The first line that a client sends says what it wants of the connection; the daemon answers it with one line,
``{"wiretape": "ok"}`` or ``{"wiretape": "error", "error": {...}}``.

- ``{"wiretape": "control"}``: requests and answers of a channel, see wiretape.channel.
- ``{"wiretape": "mcp", ...}``, with the keys of ``settings.McpSettings``: MCP messages, one per line.
"""

from __future__ import annotations

import fcntl
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wiretape.channel.blocking import BlockingChannel
from wiretape.channel.messages import error_from
from wiretape.daemon.paths import lock_path, log_path, socket_path
from wiretape.errors import DaemonError, NotFoundError, StorageError
from wiretape.private_files import is_private

START_TIMEOUT = 30.0
"""Seconds that a daemon may take to answer on its socket: imports on a loaded machine, not work."""


def connect(root: Path) -> socket.socket:
    """Connect to the daemon of ``root``.

    Raises:
        NotFoundError: no daemon runs there.
        StorageError: its socket would be in a folder that is not this user's alone: whoever made it could listen there.
    """
    path = socket_path(root)
    outside = path.parent != root.absolute()
    if outside and os.path.lexists(path.parent) and not is_private(path.parent):
        raise StorageError(
            f"{path.parent} is not a private folder of this user", hint="remove it, or give a shorter --root DIR"
        )
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(os.fspath(path))
    except OSError as error:
        connection.close()
        raise NotFoundError(
            f"no daemon runs for the root {root}",
            hint="start one with `wiretape serve`",
            code="no-daemon",
        ) from error
    return connection


def request(root: Path, message: Mapping[str, Any], *, timeout: float = 60.0) -> dict[str, Any]:
    """Send one control request to the daemon of ``root`` and return its answer.

    Args:
        root: whose daemon.
        message: ``{"cmd": ...}`` with the command's own keys.
        timeout: seconds until a daemon that does not answer is called hung.

    Raises:
        NotFoundError: no daemon runs there.
        WiretapeError: what the daemon answered, of its class where the code tells it.
        DaemonError: the daemon ended or did not answer.
    """
    with connect(root) as connection:
        connection.settimeout(timeout)
        try:
            channel = BlockingChannel(connection)
            greet(channel, {"wiretape": "control"})
            return channel.call(message)
        except OSError as error:
            raise DaemonError(
                f"the daemon of {root} did not answer {message.get('cmd')!r} within {timeout:g} s: {error}",
                hint=f"its messages are in {log_path(root)}",
            ) from error


def greet(channel: BlockingChannel, hello: Mapping[str, Any]) -> None:
    """Say what the connection is for and read the daemon's word on it.

    Raises:
        WiretapeError: the daemon refuses.
        DaemonError: it ended instead of answering.
    """
    channel.send(hello)
    answer = channel.receive()
    if answer.get("wiretape") != "ok":
        raise error_from(answer.get("error"))


def ensure_daemon(root: Path, *, timeout: float = START_TIMEOUT) -> socket.socket:
    """Connect to the daemon of ``root``; start one in the background when there is none.

    A daemon started so has no proxy until it is asked for one and ends by itself when nobody needs it. Of two started
    at the same moment one gets the root, and both callers that one.

    Raises:
        DaemonError: it could not be started; the message has the end of its own messages.
    """
    try:
        return connect(root)
    except NotFoundError:
        pass
    process = start_daemon(root)
    deadline = time.monotonic() + timeout
    while True:
        # The state is read before the connection is tried: a daemon that lost the root to another one has ended,
        # and the other one's socket may already be there.
        ended = process.poll()
        try:
            connection = connect(root)
            # It is to outlive us; without a status, Popen would complain of a child that was forgotten.
            process.returncode = process.returncode or 0
            return connection
        except NotFoundError as error:
            if (ended not in {None, 0} and not _starting(root)) or time.monotonic() > deadline:
                raise DaemonError(
                    f"the daemon of {root} could not be started: {_tail(log_path(root))}",
                    hint=f"its messages are in {log_path(root)}; `wiretape serve --root {root}` shows them directly",
                ) from error
        time.sleep(0.01)


def start_daemon(root: Path) -> subprocess.Popen[bytes]:
    """Start a daemon for ``root`` that outlives this process, its terminal and its working folder.

    Raises:
        StorageError: the root cannot be made or written.
    """
    # -P: the folder that an agent happens to stand in must not provide the daemon's modules.
    command = [sys.executable, "-P", "-m", "wiretape.mcpserver", os.fspath(root.absolute())]
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        # A link is not followed, a pipe does not block: the root may have come from somebody else.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with open(os.open(log_path(root), flags, 0o600), "ab") as log:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
                cwd="/",
            )
    except OSError as error:
        raise StorageError(
            f"the root {root} cannot be used: {error.strerror}",
            hint="give a folder that you can write with --root DIR or WIRETAPE_ROOT",
        ) from error


def _starting(root: Path) -> bool:
    """Whether some daemon holds the root, and may thus be about to listen."""

    try:
        with lock_path(root).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _tail(path: Path, size: int = 2000) -> str:
    """Return the last line of a log file, for a message."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - size))
            lines = file.read().decode(errors="replace").strip().splitlines()
    except OSError:
        lines = []
    return lines[-1] if lines else "it said nothing"
