"""TLS to the proxy itself (``https_proxy=https://...``): under it lies a proxy's connection like any other.

What a client says first under its TLS tells whether it means a proxy (CONNECT, or a whole URL) or a server. For a
proxy the TLS is taken off here, and the bytes go through a pair of sockets to an arrival of their own, which may find a
second TLS.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import cast

from wiretape.recorder.h1_server import H1ServerConnection
from wiretape.recorder.ports import Pieces

_ENOUGH = 64
"""Bytes after which a method that is longer than any is taken for a server's business, which refuses it."""


def means_proxy(data: bytes) -> bool | None:
    """Return whether a client's first bytes are for a proxy; None where they do not say it yet."""
    line = data.lstrip(b"\r\n")
    method, space, target = line.partition(b" ")
    if not space or not target:
        return None if len(line) < _ENOUGH else False
    return method == b"CONNECT" or target[:1] not in {b"/", b"*"}


class FirstUnderTls(asyncio.Protocol):
    """Takes a connection's place until its first bytes say what it is.

    Args:
        connection: what serves it.
        arrive: called with a socket that stands for the client, where it means a proxy.
    """

    def __init__(self, connection: H1ServerConnection, arrive: Callable[[socket.socket], None]) -> None:
        self._connection = connection
        self._arrive = arrive
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let the connection have the transport."""
        self._connection.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Look at the first bytes, and hand over once they say enough."""
        self._data += data
        proxy = means_proxy(self._data)
        if proxy is None:
            return
        connection = self._connection
        connection.transport.set_protocol(connection)
        if proxy:
            inner, outer = socket.socketpair()
            inner.setblocking(False)
            outer.setblocking(False)
            connection.switch(_Relay(connection, outer))
            self._arrive(inner)
        connection.data_received(self._data)

    def eof_received(self) -> bool:
        """End it."""
        return self._connection.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """End it."""
        self._connection.connection_lost(exc)


class _Relay(asyncio.Protocol):
    """Passes bytes between a client's connection, its TLS taken off, and the socket that stands for it."""

    def __init__(self, connection: H1ServerConnection, sock: socket.socket) -> None:
        self._connection = connection
        self._transport: asyncio.Transport | None = None
        self._waiting: list[bytes] = []
        self._left = False
        loop = asyncio.get_running_loop()
        self._joining = loop.create_task(loop.create_connection(lambda: self, sock=sock))

    # -- from the client ---------------------------------------------------------------------------------------------

    def request_data(self, pieces: Pieces, end: bool, trailers: bytes) -> None:  # noqa: ARG002 -- raw bytes have none
        """Pass bytes on; over TLS a client that ends its side ends all."""
        if self._transport is None:
            self._waiting += pieces
        elif not self._transport.is_closing():
            self._transport.writelines(pieces)
        if end:
            self.client_left(None)

    def client_full(self, full: bool) -> None:
        """Let the other side wait for a client that does not read, or go on."""
        if self._transport is not None and not self._transport.is_closing():
            if full:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    def client_left(self, error: Exception | None) -> None:  # noqa: ARG002
        """End the other side, after what it has to be given."""
        self._left = True
        if self._transport is not None:
            self._transport.close()

    # -- from the socket ---------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Pass on what has come in the meantime."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.writelines(self._waiting)
        self._waiting = []
        if self._left:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        """Pass bytes to the client."""
        self._connection.write_one(data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """End the client's connection, after what it has to be given."""
        if not self._left:
            self._connection.close()

    def pause_writing(self) -> None:
        """Let the client wait."""
        self._connection.pause()

    def resume_writing(self) -> None:
        """Let the client go on."""
        self._connection.resume()
