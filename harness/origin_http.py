"""The origin's side of one connection: reading requests strictly, keeping their exact bytes, writing what it is told.

Blocking sockets and a thread per connection, on purpose: a route then reads like the order of events on the wire, and
nothing of what is under test (event loops, parsers) is used to test it.
"""

from __future__ import annotations

import contextlib
import hashlib
import socket
import ssl
import struct
from dataclasses import dataclass, field

HEAD_LIMIT = 4 * 1024 * 1024
BODY_KEPT = 8 * 1024 * 1024
"""Bytes of a request body that are kept; larger bodies are counted and hashed only."""

Headers = list[tuple[bytes, bytes]]


class PeerGoneError(Exception):
    """The peer closed or reset the connection."""


class BadRequestError(Exception):
    """The peer sent what is not an HTTP/1.x request."""


@dataclass(slots=True)
class ReceivedRequest:
    """What reached the origin. It is in the origin's list as soon as its head is; the rest is filled in as it comes."""

    connection: int
    """Which of the origin's connections, from 1."""
    head: bytes
    """The exact bytes, with the empty line."""
    method: str
    target: str
    version: str
    headers: Headers
    """Names and values as sent, in order."""
    body: bytes = b""
    """Content, chunked coding removed; the first ``BODY_KEPT`` bytes of it."""
    body_size: int = 0
    body_sha256: str = ""
    trailers: Headers = field(default_factory=list)
    complete: bool = False
    """The whole body has arrived."""
    answered: bool = False
    """The last byte of the answer has been given to the kernel."""

    def header(self, name: str) -> str | None:
        """Return the first value of the field ``name``."""
        values = self.header_values(name)
        return values[0] if values else None

    def header_values(self, name: str) -> list[str]:
        """Return all values of the field ``name``, in order."""
        wanted = name.lower().encode()
        return [value.decode("latin-1") for key, value in self.headers if key.lower() == wanted]

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]


class Wire:
    """A blocking socket with a read buffer."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._buffer = bytearray()

    def no_delay(self) -> None:
        """Let every write leave at once: tests hold answers between two of them."""
        with contextlib.suppress(OSError):  # the peer may be gone already
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def has_input(self) -> bool:
        """Say whether bytes are already here, read ahead of what was asked for."""
        return bool(self._buffer)

    def fill(self) -> None:
        """Read what is there, at least one byte."""
        try:
            data = self.sock.recv(65536)
        except OSError as exc:  # ssl.SSLError is one
            raise PeerGoneError(str(exc)) from exc
        if not data:
            raise PeerGoneError("end of stream")
        self._buffer += data

    def until(self, mark: bytes, limit: int = HEAD_LIMIT) -> bytes:
        """Read up to and including ``mark``."""
        start = 0
        while (at := self._buffer.find(mark, start)) < 0:
            if len(self._buffer) > limit:
                raise BadRequestError(f"no {mark!r} within {limit} bytes")
            start = max(0, len(self._buffer) - len(mark))
            self.fill()
        return self.take(at + len(mark))

    def take(self, size: int) -> bytes:
        """Remove up to ``size`` bytes that are in the buffer."""
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    def some(self, limit: int) -> bytes:
        """Read at least one byte and at most ``limit``."""
        if not self._buffer:
            self.fill()
        return self.take(limit)

    def send(self, data: bytes) -> None:
        """Write all of ``data``."""
        try:
            self.sock.sendall(data)
        except OSError as exc:
            raise PeerGoneError(str(exc)) from exc

    def reset(self) -> None:
        """Close with RST: what is still unsent is thrown away by both kernels."""
        with contextlib.suppress(OSError):
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self, *, drain: bool = True, notify: bool = True) -> None:
        """Close in order: close_notify under TLS, FIN, and unread input drained so that no RST destroys the answer."""
        with contextlib.suppress(OSError, ValueError):
            if notify and isinstance(self.sock, ssl.SSLSocket):
                self._close_notify(self.sock)
            # The base class's method: SSLSocket.shutdown would drop the TLS object under a thread that reads.
            socket.socket.shutdown(self.sock, socket.SHUT_WR)
            if drain:
                self._drain()
        self.sock.close()

    def _close_notify(self, sock: ssl.SSLSocket) -> None:
        sock.setblocking(False)
        with contextlib.suppress(OSError):
            sock.unwrap()  # sends the alert, and would then wait for the peer's

    def _drain(self) -> None:
        self.sock = socket.socket(fileno=self.sock.detach())  # under TLS: the ciphertext
        self.sock.settimeout(5)
        while self.sock.recv(65536):
            pass


def read_head(wire: Wire, connection: int) -> ReceivedRequest:
    """Read one request's head; PeerGoneError at the end of the stream, BadRequestError for what is malformed."""
    head = wire.until(b"\r\n\r\n")
    first, *lines = head[:-4].split(b"\r\n")
    parts = first.split(b" ")
    if len(parts) != 3 or not parts[2].startswith(b"HTTP/1."):
        raise BadRequestError(f"request line {first!r}")
    method, target, version = (part.decode("latin-1") for part in parts)
    return ReceivedRequest(connection, head, method, target, version, [_split_field(line) for line in lines])


def _split_field(line: bytes) -> tuple[bytes, bytes]:
    name, colon, value = line.partition(b":")
    if not colon or not name or name != name.strip():
        raise BadRequestError(f"header line {line!r}")
    return name, value.strip(b" \t")


def read_body(wire: Wire, request: ReceivedRequest) -> None:
    """Read the body that the head announces into ``request``."""
    codings = request.header_values("transfer-encoding")
    lengths = request.header_values("content-length")
    if codings and lengths:
        raise BadRequestError("both Transfer-Encoding and Content-Length")
    sink = _BodySink(request)
    if codings:
        if codings[-1].strip().lower() != "chunked":
            raise BadRequestError(f"transfer codings {codings}")
        _read_chunks(wire, request, sink)
    elif lengths:
        if len(lengths) != 1 or not lengths[0].isdigit():
            raise BadRequestError(f"content lengths {lengths}")
        _read_exactly(wire, int(lengths[0]), sink)
    sink.finish()


def _read_exactly(wire: Wire, size: int, sink: _BodySink) -> None:
    while size:
        data = wire.some(min(size, 65536))
        size -= len(data)
        sink.add(data)


def _read_chunks(wire: Wire, request: ReceivedRequest, sink: _BodySink) -> None:
    while True:
        line = wire.until(b"\r\n", 4096)[:-2]
        digits = line.partition(b";")[0].strip()
        if not digits or digits.strip(b"0123456789abcdefABCDEF"):
            raise BadRequestError(f"chunk size {line!r}")
        size = int(digits, 16)
        if size == 0:
            break
        _read_exactly(wire, size, sink)
        if wire.until(b"\r\n", 4096) != b"\r\n":
            raise BadRequestError("chunk longer than its size")
    while (line := wire.until(b"\r\n")) != b"\r\n":
        request.trailers.append(_split_field(line[:-2]))


class _BodySink:
    def __init__(self, request: ReceivedRequest) -> None:
        self._request = request
        self._digest = hashlib.sha256()
        self._kept = bytearray()

    def add(self, data: bytes) -> None:
        self._request.body_size += len(data)
        self._digest.update(data)
        self._kept += data[: BODY_KEPT - len(self._kept)]

    def finish(self) -> None:
        self._request.body = bytes(self._kept)
        self._request.body_sha256 = self._digest.hexdigest()
        self._request.complete = True
