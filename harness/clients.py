"""Clients that say exactly what they are told and read strictly (h11), through a proxy or straight to an origin.

    with RawClient.plain(proxy) as client:                      # absolute-form requests to a proxy
        client.send(request_bytes("GET", origin.url("/bytes/3"), host=origin.authority))
        assert client.read_response().status == 200

    with RawClient.tunnel(proxy, "localhost", 443, tls=context) as client:   # CONNECT, then TLS
        answer = client.get("/bytes/3", host="localhost")

``proxy`` is always an address ``(host, port)``.
"""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import h11
import pytest

Address = tuple[str, int]
Fields = Iterable[tuple[str, str]]

TIMEOUT = 20.0
"""Seconds without a byte after which a read is given up; a failing test must not hang."""


@dataclass(slots=True)
class Answer:
    """One response, read whole. Header names and values are as sent."""

    status: int
    reason: bytes
    http_version: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes = b""
    trailers: list[tuple[bytes, bytes]] = field(default_factory=list)
    interim: list[Answer] = field(default_factory=list)
    """The 1xx responses before it."""

    def header(self, name: str) -> str | None:
        """Return the first value of the field ``name``."""
        values = self.header_values(name)
        return values[0] if values else None

    def header_values(self, name: str) -> list[str]:
        """Return all values of the field ``name``."""
        wanted = name.lower().encode()
        return [value.decode("latin-1") for key, value in self.headers if key.lower() == wanted]


def request_bytes(
    method: str, target: str, *, host: str, headers: Fields = (), body: bytes | None = None, version: str = "HTTP/1.1"
) -> bytes:
    """Write a request; ``body`` not None adds Content-Length and the body."""
    fields = [("Host", host), *headers]
    if body is not None:
        fields.append(("Content-Length", str(len(body))))
    lines = [f"{method} {target} {version}", *(f"{name}: {value}" for name, value in fields)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")


def chunked_bytes(pieces: Iterable[bytes], trailers: Fields = ()) -> bytes:
    """Write a body in chunked coding, a chunk for each piece."""
    chunks = [f"{len(piece):x}\r\n".encode() + piece + b"\r\n" for piece in pieces if piece]
    end = "0\r\n" + "".join(f"{name}: {value}\r\n" for name, value in trailers) + "\r\n"
    return b"".join(chunks) + end.encode("latin-1")


class RawClient:
    """A connection that sends bytes as given and reads one response at a time, keeping what came too early."""

    def __init__(self, sock: socket.socket, *, default_host: str = "localhost") -> None:
        self.sock = sock
        self.default_host = default_host
        self._early = b""
        self._ended = False

    @classmethod
    def plain(cls, address: Address, *, timeout: float = TIMEOUT) -> Self:
        """Connect to a proxy or an origin."""
        host, port = address
        return cls(_connect(address, timeout), default_host=f"{host}:{port}")

    @classmethod
    def tls(
        cls, address: Address, context: ssl.SSLContext, *, name: str = "localhost", timeout: float = TIMEOUT
    ) -> Self:
        """Connect and speak TLS at once, with ``name`` as SNI and as the name to verify."""
        sock = _connect(address, timeout)
        return cls(_wrap(sock, context, name), default_host=f"{name}:{address[1]}")

    @classmethod
    def tunnel(
        cls, proxy: Address, host: str, port: int, *, tls: ssl.SSLContext | None = None, name: str | None = None
    ) -> Self:
        """CONNECT through ``proxy``; with ``tls`` a handshake for ``name`` (default ``host``) follows.

        Raises:
            AssertionError: the proxy did not answer 200.
        """
        authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        client = cls(_connect(proxy, TIMEOUT), default_host=authority)
        client.send(request_bytes("CONNECT", authority, host=authority))
        answer = client.read_response("CONNECT")
        if answer.status != 200:
            client.close()
            raise AssertionError(f"CONNECT {authority} was answered {answer.status}: {answer.body!r}")
        assert not client._early, f"the proxy spoke first: {client._early!r}"
        if tls is not None:
            client.sock = _wrap(client.sock, tls, name or host)
        return client

    def send(self, data: bytes) -> None:
        """Send all of ``data``."""
        self.sock.sendall(data)

    def request(
        self, method: str, target: str, *, host: str | None = None, headers: Fields = (), body: bytes | None = None
    ) -> Answer:
        """Send a request and read its response."""
        self.send(request_bytes(method, target, host=host or self.default_host, headers=headers, body=body))
        return self.read_response(method)

    def get(self, target: str, *, host: str | None = None, headers: Fields = ()) -> Answer:
        """GET ``target``."""
        return self.request("GET", target, host=host, headers=headers)

    def read_response(self, method: str = "GET") -> Answer:
        """Read the next response to a ``method`` request, with the 1xx before it; 101 ends the reading.

        Raises:
            EOFError: the stream ended inside or before the response.
            h11.RemoteProtocolError: what came is not a valid response.
        """
        interim: list[Answer] = []
        parser = _parser_for(method)
        head = self._head(parser)
        while 100 <= head.status < 200 and head.status != 101:
            interim.append(head)
            head = self._head(parser)
        head.interim = interim
        tunnel = head.status == 101 or (method == "CONNECT" and 200 <= head.status < 300)
        if not tunnel:
            self._body(parser, head)
        self._early = parser.trailing_data[0]
        return head

    def read_to_end(self) -> bytes:
        """Read all bytes until the peer closes."""
        out = bytearray(self._early)
        self._early = b""
        while data := self.sock.recv(65536):
            out += data
        return bytes(out)

    def read_exactly(self, size: int) -> bytes:
        """Read ``size`` bytes; raises EOFError when the stream ends first."""
        out = bytearray(self._early[:size])
        self._early = self._early[size:]
        while len(out) < size:
            data = self.sock.recv(size - len(out))
            if not data:
                raise EOFError(f"end of stream after {len(out)} of {size} bytes")
            out += data
        return bytes(out)

    def at_end(self) -> bool:
        """Wait for the next byte or the end, and say whether it was the end (a reset counts as one)."""
        if self._early:
            return False
        try:
            self._early = self.sock.recv(1)
        except (ConnectionError, ssl.SSLError):
            return True
        return not self._early

    def close(self) -> None:
        """Close the connection."""
        self.sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _event(self, parser: h11.Connection) -> h11.Event:
        while True:
            try:
                event = parser.next_event()
            except h11.RemoteProtocolError as exc:
                if self._ended:
                    raise EOFError(f"end of stream inside a response: {exc}") from exc
                raise
            if event is h11.PAUSED:
                raise AssertionError("h11 paused inside a response")
            if event is not h11.NEED_DATA:
                return event  # type: ignore[return-value]
            data, self._early = self._early or self.sock.recv(65536), b""
            self._ended = not data
            parser.receive_data(data)

    def _head(self, parser: h11.Connection) -> Answer:
        event = self._event(parser)
        assert isinstance(event, h11.Response | h11.InformationalResponse), event
        return Answer(event.status_code, event.reason, event.http_version, event.headers.raw_items())

    def _body(self, parser: h11.Connection, head: Answer) -> None:
        parts = bytearray()
        while isinstance(event := self._event(parser), h11.Data):
            parts += event.data
        assert isinstance(event, h11.EndOfMessage), event
        head.body = bytes(parts)
        head.trailers = event.headers.raw_items() if event.headers else []


def _connect(address: Address, timeout: float) -> socket.socket:
    sock = socket.create_connection(address, timeout=timeout)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def _wrap(sock: socket.socket, context: ssl.SSLContext, name: str) -> ssl.SSLSocket:
    try:
        # Strict: an end of stream without close_notify is an error, not an end.
        return context.wrap_socket(sock, server_hostname=name, suppress_ragged_eofs=False)
    except BaseException:
        sock.close()
        raise


def _parser_for(method: str) -> h11.Connection:
    """Return a parser that has seen a ``method`` request which allows every kind of answer."""
    parser = h11.Connection(h11.CLIENT, max_incomplete_event_size=4 * 1024 * 1024)
    fields = [("Host", "x"), *([] if method == "CONNECT" else [("Upgrade", "any"), ("Connection", "upgrade")])]
    parser.send(h11.Request(method=method, target="/", headers=fields))
    parser.send(h11.EndOfMessage())
    return parser


@dataclass(frozen=True, slots=True)
class CurlResult:
    """What curl did: its exit status, the last response's status (0 for none), the body, and what it said."""

    returncode: int
    status: int
    body: bytes
    headers: str
    stderr: str


def needs(program: str) -> str:
    """Return the path of ``program``, or skip the test on a machine that lacks it (on CI that is a failure)."""
    path = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if path is None:
        pytest.skip(f"needs {program}")
    return path


def run_curl(
    *args: str,
    proxy: Address | None = None,
    cacert: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = 60.0,
) -> CurlResult:
    """Run the real curl, without its configuration file, through ``proxy`` and trusting ``cacert``.

    Args:
        args: curl's arguments, the URL among them.
        env: variables added to the environment.
        timeout: seconds after which curl gives up.
    """
    command = [
        needs("curl"),
        "-q",
        "-sS",
        "--max-time",
        str(timeout),
        "-D",
        "/dev/stderr",
        "-w",
        "%{stderr}\n#%{http_code}",
    ]
    if proxy is not None:
        command += ["--proxy", f"http://{proxy[0]}:{proxy[1]}", "--noproxy", ""]
    if cacert is not None:
        command += ["--cacert", str(cacert)]
    done = run_program([*command, *args], env=env, timeout=timeout + 10)
    text, _, code = done.stderr.decode("utf-8", "replace").rpartition("\n#")
    return CurlResult(done.returncode, int(code or 0), done.stdout, text, text)


def run_program(
    command: Sequence[str], *, env: Mapping[str, str] | None = None, timeout: float = 60.0, stdin: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    """Run a program to its end with captured output; ``env`` is added to this process's environment."""
    return subprocess.run(
        command, env={**os.environ, **(env or {})}, input=stdin, capture_output=True, timeout=timeout, check=False
    )
