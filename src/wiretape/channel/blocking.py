"""One end of a channel without an event loop: what the commands use. Standard library only."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any

from wiretape.channel.messages import Lines, decode, encode, result
from wiretape.errors import DaemonError

_BLOCK = 1 << 16


class BlockingChannel:
    """Sends requests over a connected socket, one after another, and waits for each answer.

    The socket stays the caller's.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lines = Lines()
        self._waiting: list[bytes | None] = []
        self._number = 0

    def call(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """Send one request, ``{"cmd": ...}`` with the command's own keys, and return its answer.

        Raises:
            WiretapeError: what the other end answered.
            DaemonError: it ended instead of answering.
            OSError: the connection failed, or its time-out passed.
        """
        self._number += 1
        self.send({"id": self._number, **message})
        while True:
            answer = self.receive()
            if answer.get("id") in {self._number, None} and "ok" in answer:
                return result(answer)

    def send(self, message: Mapping[str, Any]) -> None:
        """Send one message as it is."""
        self._connection.sendall(encode(message))

    def receive(self) -> dict[str, Any]:
        """Return the next message.

        Raises:
            UsageError: it is no JSON object. DaemonError: the other end has ended.
        """
        while not self._waiting:
            data = self._connection.recv(_BLOCK)
            if not data:
                raise DaemonError("the daemon ended before it answered", hint="ask again; its log says why it ended")
            self._waiting = self._lines.feed(data)
        line = self._waiting.pop(0)
        if line is None:
            raise DaemonError("the daemon's answer is too long", hint="ask for less at a time")
        return decode(line)
