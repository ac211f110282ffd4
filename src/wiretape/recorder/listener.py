"""The one port: accepts connections from a listening socket that the daemon bound."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Final

from wiretape.recorder.arrival import Arrival
from wiretape.recorder.context import Context
from wiretape.recorder.route import address_text

ACCEPTS_PER_TURN: Final = 64


class Listener:
    """Accepts connections from a listening socket that the daemon bound.

    Args:
        context: what the recorder's parts share.
        sock: the listening socket.
        transparent: its clients do not know that they speak with a proxy.
    """

    def __init__(self, context: Context, sock: socket.socket, *, transparent: bool = False) -> None:
        self._context = context
        self._transparent: tuple[str, int] | None = sock.getsockname()[:2] if transparent else None
        self._sock = sock
        self._arrivals: set[asyncio.Task[None]] = set()
        self._stopped = False
        sock.setblocking(False)

    def start(self) -> None:
        """Begin to accept, unless stopped in the meantime."""
        if not self._stopped:
            self._context.loop.add_reader(self._sock.fileno(), self._accept)

    def stop(self) -> None:
        """Accept no more; connections that have not said anything yet are closed."""
        self._stopped = True
        self._context.loop.remove_reader(self._sock.fileno())
        for task in self._arrivals:
            task.cancel()

    def close(self) -> None:
        """Stop, and let the socket go."""
        self.stop()
        self._sock.close()

    def _accept(self) -> None:
        for _ in range(ACCEPTS_PER_TURN):
            try:
                sock, address = self._sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:  # out of descriptors: the connection waits in the backlog
                self._context.loop.remove_reader(self._sock.fileno())
                self._context.loop.call_later(0.1, self.start)
                return
            sock.setblocking(False)
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            arrival = Arrival(self._context, sock, address_text(address), self._transparent)
            task = self._context.loop.create_task(arrival.run())
            self._arrivals.add(task)
            task.add_done_callback(self._arrivals.discard)
