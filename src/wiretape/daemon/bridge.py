"""`wiretape mcp`: MCP over stdio as a pump of lines to the daemon. Standard library only: it has to start fast.

The daemon does the work, so an agent that ends or restarts never ends a capture, and several agents share one. A daemon
that ends does not end the agent's connection either: what was asked of it is answered with an error, and the next
message goes to its successor, to which the handshake is said again.
"""

from __future__ import annotations

import json
import os
import select
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wiretape.channel.messages import LINE_MAX, Lines, error_from
from wiretape.daemon.client import START_TIMEOUT, ensure_daemon
from wiretape.errors import DaemonError, WiretapeError

_BLOCK = 1 << 16
_RETRY = 0.01
_INVALID_REQUEST = -32600
_INTERNAL_ERROR = -32603
"""JSON-RPC 2.0 section 5.1."""
_ANSWER_MAX = 1 << 30
"""Bytes of an answer, which comes from our own daemon; no answer is near it."""


def run_bridge(root: Path, wishes: Mapping[str, Any]) -> int:
    """Pump MCP messages between stdin/stdout and the daemon of ``root``, starting one when there is none.

    When stdin ends, the daemon is told so and everything it still answers is written before this returns.

    Args:
        root: whose daemon.
        wishes: what to offer: ``settings.McpSettings`` as JSON has it.

    Returns:
        The exit status: 0, or the error's when the daemon could not be reached or left something unanswered.
    """
    hello = {"wiretape": "mcp", **wishes}
    try:
        return _Bridge(root, json.dumps(hello).encode() + b"\n").run()
    except WiretapeError as error:
        print(f"wiretape mcp: {error}", file=sys.stderr)  # noqa: T201  a person or an agent's log reads it
        return error.exit_status
    except BrokenPipeError:
        # Nobody reads the answers any more; the daemon goes on.
        return 0


class _Bridge:
    """One conversation. ``_pending`` are the ids of requests that the daemon owes an answer."""

    def __init__(self, root: Path, hello: bytes) -> None:
        self._root = root
        self._hello = hello
        self._socket: socket.socket | None = None
        self._from_client = Lines()
        self._from_daemon = Lines(_ANSWER_MAX)
        self._client_there = True
        self._pending: dict[str, Any] = {}
        self._handshake: list[bytes] = []
        self._swallow: str | None = None
        self._status = 0

    def run(self) -> int:
        """Pump until both sides have ended."""
        self._connect()
        while self._client_there or self._socket is not None:
            watched: list[Any] = [0] if self._client_there else []
            if self._socket is not None:
                watched.append(self._socket)
            ready, _, _ = select.select(watched, [], [])
            if self._socket in ready:
                self._read_daemon()
            if 0 in ready:
                self._read_client()
        return self._status

    def _connect(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        rest = b""
        while self._socket is None:
            connection = ensure_daemon(self._root)
            try:
                connection.sendall(self._hello)
                rest = _accepted(connection)
                # A successor has to hear the handshake; the client has had its answer.
                connection.sendall(b"".join(self._handshake))
            except ConnectionError as error:
                # The kernel closes what a killed process had open one by one: its listener may still take a
                # connection when the one that was lost is closed already.
                connection.close()
                if time.monotonic() > deadline:
                    raise DaemonError(
                        "the daemon ended before it answered", hint="ask again; its log says why it ended"
                    ) from error
                time.sleep(_RETRY)
                continue
            self._socket = connection
            self._from_daemon = Lines(_ANSWER_MAX)
        if self._handshake:
            self._swallow = _key(json.loads(self._handshake[0])["id"])
        self._pass_on(rest)

    def _read_client(self) -> None:
        block = os.read(0, _BLOCK)
        for line in self._from_client.feed(block):
            self._ask(line)
        if block:
            return
        self._ask(self._from_client.rest())
        self._client_there = False
        if self._socket is not None:
            try:
                self._socket.shutdown(socket.SHUT_WR)
            except OSError:
                self._lost()

    def _ask(self, line: bytes | None) -> None:
        """Pass one message on, to a new daemon if the old one is gone; None is one that is too long."""
        if line is None:
            self._fail(None, _INVALID_REQUEST, f"Invalid request: the line is too long (over {LINE_MAX >> 20} MiB)")
            return
        if not line.strip():
            return
        message = _object(line)
        method, number = message.get("method"), message.get("id")
        if self._socket is None:
            self._connect()
        # Any other id is refused by the daemon, which cannot answer to it.
        if method is not None and isinstance(number, str | int) and not isinstance(number, bool):
            self._pending[_key(number)] = number
            if method == "initialize":
                self._handshake = [line + b"\n"]
        elif method == "notifications/initialized" and self._handshake:
            self._handshake = [self._handshake[0], line + b"\n"]
        elif method == "notifications/cancelled":
            params = message.get("params")
            if isinstance(params, dict):
                self._pending.pop(_key(params.get("requestId")), None)
        assert self._socket is not None
        try:
            self._socket.sendall(line + b"\n")
        except OSError:
            self._lost()

    def _read_daemon(self) -> None:
        assert self._socket is not None
        try:
            block = self._socket.recv(_BLOCK)
        except ConnectionError:
            block = b""
        if not block:
            self._lost()
            return
        self._pass_on(block)

    def _pass_on(self, block: bytes) -> None:
        """Write answers to the client: whole ones, half an answer of a daemon that is killed must not reach it."""
        lines = [line for line in self._from_daemon.feed(block) if line is not None and self._is_for_client(line)]
        _write(b"".join(line + b"\n" for line in lines))

    def _is_for_client(self, line: bytes) -> bool:
        """Take note of an answer; False for the one to a handshake that was said again."""
        if not self._pending and self._swallow is None:
            return True
        message = _object(line)
        if "method" in message or "id" not in message:
            return True
        key = _key(message["id"])
        if key == self._swallow:
            self._swallow = None
            return False
        self._pending.pop(key, None)
        return True

    def _lost(self) -> None:
        """The daemon has ended: say so to those who wait. The next message starts another."""
        assert self._socket is not None
        self._socket.close()
        self._socket = None
        self._swallow = None
        for number in self._pending.values():
            self._fail(
                number,
                _INTERNAL_ERROR,
                "the wiretape daemon ended before it answered; what it recorded is safe. "
                "Ask again: another one starts (proxy_status says what runs)",
            )
            self._status = 1
        self._pending.clear()

    def _fail(self, number: str | int | None, code: int, message: str) -> None:
        """Answer a message in the daemon's place."""
        answer = {"jsonrpc": "2.0", "id": number, "error": {"code": code, "message": message}}
        _write(json.dumps(answer).encode() + b"\n")


def _key(number: object) -> str:
    """Return an id as a key: 1 and "1" are different ids."""
    return json.dumps(number)


def _object(line: bytes) -> dict[str, Any]:
    """Read a message as far as the bridge has to; what is none is the daemon's to answer."""
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return message if isinstance(message, dict) else {}


def _accepted(connection: socket.socket) -> bytes:
    """Read the daemon's answer to the greeting; return what came after it.

    Raises:
        ConnectionError: it ended before it answered. WiretapeError: it refuses.
    """
    data = b""
    while b"\n" not in data:
        block = connection.recv(_BLOCK)
        if not block:
            raise ConnectionResetError
        data += block
    line, _, rest = data.partition(b"\n")
    answer = json.loads(line)
    if answer.get("wiretape") != "ok":
        raise error_from(answer.get("error"))
    return rest


def _write(data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(1, view) :]
