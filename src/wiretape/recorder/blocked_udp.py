"""HTTP/3 that was redirected here: it is not answered, so that clients fall back to TCP, and counted."""

from __future__ import annotations

import socket
from typing import Final

from wiretape.recorder.context import Context
from wiretape.recorder.route import address_text

_DATAGRAMS_PER_TURN: Final = 64
_REMEMBERED: Final = 1_000
"""Clients' ports that are told apart; beyond them one is counted again."""
_MESSAGE: Final = "HTTP/3 (QUIC over UDP) is not recorded: it was blocked, so that the client falls back to TCP"


class BlockedUdp:
    """Takes datagrams from a socket that the daemon bound, and throws them away."""

    def __init__(self, context: Context, sock: socket.socket) -> None:
        self._context = context
        self._sock = sock
        self._seen: dict[str, None] = {}
        sock.setblocking(False)
        context.loop.add_reader(sock.fileno(), self._read)

    def close(self) -> None:
        """Let the socket go."""
        self._context.loop.remove_reader(self._sock.fileno())
        self._sock.close()

    def _read(self) -> None:
        for _ in range(_DATAGRAMS_PER_TURN):
            try:
                _, address = self._sock.recvfrom(1)
            except OSError:
                return
            client = address_text(address)
            if client not in self._seen:
                if len(self._seen) >= _REMEMBERED:
                    self._seen.clear()
                self._seen[client] = None
                self._context.note_refused(client, _MESSAGE, "quic")
