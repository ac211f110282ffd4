"""The listening half of an origin: connections on loopback, each served in a thread of its own."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable


class Acceptor:
    """Accepts until it is closed.

    Args:
        serve: serves one connection, after the TLS handshake if there is one; it may raise OSError.
        tls: a server context to speak HTTPS.
        receive_buffer: bytes of the sockets' receive buffer, 0 for the system's choice.

    Attributes:
        port: where it listens, on 127.0.0.1.
        authority: ``host:port`` as a client writes it.
        accepted: how many connections were accepted.
    """

    def __init__(
        self, serve: Callable[[socket.socket], None], tls: ssl.SSLContext | None, *, receive_buffer: int = 0
    ) -> None:
        self.accepted = 0
        self._serve = serve
        self._tls = tls
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener = socket.socket()
        if receive_buffer:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(256)
        self.port: int = self._listener.getsockname()[1]
        self.authority = f"{'localhost' if tls else '127.0.0.1'}:{self.port}"
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    def close(self) -> None:
        """End listener and connections, and wait for the threads."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
        self._listener.close()
        self._acceptor.join()
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            # Without it a small answer may wait for an acknowledgement, and a close would throw it away.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            thread = threading.Thread(target=self._run, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _run(self, plain: socket.socket) -> None:
        connection = plain
        try:
            if self._tls is not None:
                connection = self._tls.wrap_socket(plain, server_side=True)
            self._open.add(connection)
            self._serve(connection)
        except OSError:
            pass
        finally:
            self._open.discard(connection)
            connection.close()
