"""Real programs that speak WebSocket (the library websockets), to and through a proxy, and bare connections.

with EchoServer() as server, open_socket(proxy, server.url) as socket:
    socket.send("hello")
    assert socket.recv() == "hello"
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from typing import Any, Self

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.sync.server import ServerConnection, serve

from harness.clients import TIMEOUT, RawClient, request_bytes

MAX_SIZE = 256 * 1024 * 1024


class EchoServer:
    """Echoes messages on loopback; ``act`` does something else with a connection.

    What it understands: ``close CODE REASON`` ends the connection, ``flood COUNT SIZE`` sends so many messages.
    """

    def __init__(
        self,
        act: Callable[[ServerConnection], None] | None = None,
        *,
        tls: ssl.SSLContext | None = None,
        **options: Any,
    ) -> None:
        self._server = serve(act or _echo, "localhost", 0, ssl=tls, max_size=MAX_SIZE, **options)
        self.port: int = self._server.socket.getsockname()[1]
        self.url = f"{'wss' if tls else 'ws'}://localhost:{self.port}/chat"
        self._thread = threading.Thread(target=self._server.serve_forever)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join(TIMEOUT)


def _echo(connection: ServerConnection) -> None:
    with contextlib.suppress(ConnectionClosed):
        for message in connection:
            word, *rest = message.split(" ", 2) if isinstance(message, str) else [""]
            if word == "close":
                connection.close(int(rest[0]), rest[1])
            elif word == "flood":
                for number in range(int(rest[0])):
                    connection.send(f"{number} ".ljust(int(rest[1]), "."))
            else:
                connection.send(message)


@contextlib.contextmanager
def open_socket(proxy: tuple[str, int], url: str, **options: Any) -> Iterator[ClientConnection]:
    """Open a WebSocket through a proxy."""
    host, port = proxy
    with connect(url, proxy=f"http://{host}:{port}", max_size=MAX_SIZE, **options) as connection:
        yield connection


@contextlib.contextmanager
def raw_socket(proxy: tuple[str, int], authority: str, extensions: str = "") -> Iterator[RawClient]:
    """Open a WebSocket in which the caller writes frames, by a request in absolute form."""
    fields = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ]
    fields += [("Sec-WebSocket-Extensions", extensions)] if extensions else []
    with RawClient.plain(proxy) as client:
        client.send(request_bytes("GET", f"http://{authority}/chat", host=authority, headers=fields))
        assert client.read_response().status == 101
        yield client


class RawPeer:
    """A server that takes one WebSocket, whatever is asked for, and does ``act`` with its bare connection."""

    def __init__(self, act: Callable[[socket.socket], None], extensions: str = "") -> None:
        self._act = act
        self._extensions = f"Sec-WebSocket-Extensions: {extensions}\r\n" if extensions else ""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.authority = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            connection, _ = self._listener.accept()
            connection.settimeout(TIMEOUT)
            with connection:
                head = b""
                while not head.endswith(b"\r\n\r\n"):
                    head += connection.recv(1)
                answer = f"HTTP/1.1 101 x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{self._extensions}\r\n"
                connection.sendall(answer.encode())
                self._act(connection)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(TIMEOUT)
