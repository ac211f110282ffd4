"""A server that knows every byte it may be sent, and answers before, while or after it has read the request's body.

The target says what to do and what the body must be: ``/WHEN/NAME/SIZE``, the body being ``body_for(NAME, SIZE)``:

    after     read the body, then answer
    early     answer, then read the body
    held      answer, and read the body once ``go_on`` is set
    half      read half of the body, answer, read the rest
    refuse    answer 413 and close, with the body unread

Whatever else arrives is a stranger's, and noted.
"""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from harness.acceptor import Acceptor
from harness.bodies import body_for

_LINE = re.compile(rb"(?:GET|POST) (?:http://[^/]+)?/(after|early|held|half|refuse)/([\w.-]+)/(\d+) HTTP/1\.1\r\n")
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: (\d+)\r\n")
_CHUNKED = re.compile(rb"(?i)\r\ntransfer-encoding: chunked\r\n")


class GoneError(Exception):
    """The other side has ended the connection."""


@dataclass(slots=True)
class Arrival:
    """What has come of one request: ``size`` bytes of its body, all its own; ``whole`` once the body's end was seen."""

    size: int = 0
    whole: bool = False


class CheckingOrigin:
    """The server, listening until it is closed.

    Attributes:
        go_on: set by the test, lets answers of ``held`` be followed by reading.
        strangers: bytes that belong to no request where they stood.
    """

    def __init__(self, tls: ssl.SSLContext | None = None, *, receive_buffer: int = 0) -> None:
        self.go_on = threading.Event()
        self.strangers: list[str] = []
        self._arrivals: dict[str, Arrival] = {}
        self._acceptor = Acceptor(self._serve, tls, receive_buffer=receive_buffer)
        self.port = self._acceptor.port
        self.authority = self._acceptor.authority

    @property
    def connections(self) -> int:
        """How many were accepted."""
        return self._acceptor.accepted

    def arrival(self, name: str) -> Arrival:
        """Return what has come of the request called ``name``."""
        return self._arrivals.get(name, Arrival())

    def close(self) -> None:
        """Close everything, and wait for the threads."""
        self.go_on.set()
        self._acceptor.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _serve(self, connection: socket.socket) -> None:
        reader = _Reader(connection)
        with contextlib.suppress(GoneError):
            while self._one(reader, connection):
                pass

    def _one(self, reader: _Reader, connection: socket.socket) -> bool:
        """Serve one request; return whether another may follow."""
        head = reader.head()
        found = _LINE.match(head)
        if found is None:
            self.strangers.append(f"where a request must begin: {head[:120]!r}")
            return False
        when, name, size = found[1].decode(), found[2].decode(), int(found[3])
        arrival = self._arrivals.setdefault(name, Arrival())
        if when == "refuse":
            connection.sendall(_answer(413, name, close=True))
            return False
        pieces = self._pieces(reader, head)
        expected = memoryview(body_for(name, size))
        if when in ("early", "held"):
            connection.sendall(_answer(200, name))
        if when == "held":
            self.go_on.wait(60)
        answered = when in ("early", "held")
        for piece in pieces:
            if expected[arrival.size : arrival.size + len(piece)] != piece:
                self.strangers.append(f"in the body of {name}, after {arrival.size} bytes: {piece[:120]!r}")
                return False
            arrival.size += len(piece)
            if when == "half" and not answered and arrival.size >= size // 2:
                connection.sendall(_answer(200, name))
                answered = True
        arrival.whole = True
        if not answered:
            connection.sendall(_answer(200, name))
        return True

    def _pieces(self, reader: _Reader, head: bytes) -> Iterator[bytes]:
        if _CHUNKED.search(head) is None:
            length = _LENGTH.search(head)
            yield from reader.counted(int(length[1]) if length else 0)
            return
        while True:
            line = reader.line()
            if not re.fullmatch(rb"[0-9a-f]+\r\n", line):
                self.strangers.append(f"where a chunk must begin: {line[:120]!r}")
                raise GoneError
            size = int(line, 16)
            yield from reader.counted(size)
            if (end := reader.line()) != b"\r\n":
                self.strangers.append(f"after a chunk: {end[:120]!r}")
                raise GoneError
            if not size:
                return


class _Reader:
    """Reads lines and counted bytes from a connection."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._buffer = bytearray()

    def head(self) -> bytes:
        """Return a head with its empty line."""
        head = self.line()
        while not head.endswith(b"\r\n\r\n"):
            if len(head) > 100_000:
                return head
            head += self.line()
        return head

    def line(self) -> bytes:
        """Return a line, or 100 KB without an end of line."""
        while (end := self._buffer.find(b"\n") + 1) == 0 and len(self._buffer) < 100_000:
            self._more()
        end = end or len(self._buffer)
        line = bytes(self._buffer[:end])
        del self._buffer[:end]
        return line

    def counted(self, size: int) -> Iterator[bytes]:
        """Return ``size`` bytes as they come."""
        while size:
            if not self._buffer:
                self._more()
            piece = bytes(self._buffer[:size])
            del self._buffer[: len(piece)]
            size -= len(piece)
            yield piece

    def _more(self) -> None:
        data = self._connection.recv(65536)
        if not data:
            raise GoneError
        self._buffer += data


def _answer(status: int, name: str, *, close: bool = False) -> bytes:
    """Return an answer that only the request called ``name`` may get."""
    end = "Connection: close\r\n" if close else ""
    return f"HTTP/1.1 {status} x\r\nContent-Length: {len(name)}\r\n{end}\r\n{name}".encode()
