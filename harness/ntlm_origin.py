"""A server that authenticates connections, as Windows servers do: who has shown credentials on one, has it for good.

A handshake is ``SCHEME HELLO``, answered 401 with ``SCHEME CHALLENGE-<n>``, then ``SCHEME <user>-PROOF-<n>`` on the
same connection; from then on its requests are that user's, with or without credentials.
``GET /open`` is answered to all.
"""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import threading
from pathlib import Path
from typing import Self

from harness.clients import Address, Answer, RawClient

_CREDENTIALS = re.compile(rb"(?i)\r\nauthorization: (?:ntlm|negotiate) (\S+)")


class NtlmOrigin:
    """The server, listening until it is closed.

    Attributes:
        open: how many connections are open now.
        authenticated: how many of these belong to a user.
    """

    def __init__(self, scheme: str = "NTLM", tls: ssl.SSLContext | None = None) -> None:
        self.open = 0
        self.authenticated = 0
        self._scheme = scheme
        self._tls = tls
        self._number = 0
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.authority = f"{'localhost' if tls else '127.0.0.1'}:{self.port}"
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        user = ""
        with self._lock:
            self.open += 1
            self._number += 1
            number = self._number
        try:
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
            self._connections.add(connection)
            challenged = False
            with connection.makefile("rb") as lines:
                while line := lines.readline():
                    head = line
                    while (line := lines.readline()) not in (b"\r\n", b""):
                        head += line
                    found = _CREDENTIALS.search(head)
                    token = found[1].decode() if found else ""
                    if challenged and token.endswith(f"-PROOF-{number}"):
                        user = token.split("-")[0]
                        self.authenticated += 1
                    challenged = token == "HELLO"
                    self._answer(connection, head, user, f" CHALLENGE-{number}" if challenged else "")
        except OSError:
            pass
        finally:
            self._connections.discard(connection)
            connection.close()
            with self._lock:
                self.open -= 1
                self.authenticated -= bool(user)

    def _answer(self, connection: socket.socket, head: bytes, user: str, challenge: str) -> None:
        if head.startswith(b"GET /open "):
            text = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nopen"
        elif user:
            body = f"the secret of {user}"
            text = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}"
        else:
            field = f"WWW-Authenticate: Basic realm=x, {self._scheme}{challenge}"
            text = f"HTTP/1.1 401 Unauthorized\r\n{field}\r\nContent-Length: 0\r\n\r\n"
        connection.sendall(text.encode())

    def close(self) -> None:
        """Close everything, and wait for the threads."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._acceptor.join()
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class NtlmClient:
    """A client of such a server through the recorder that listens at ``proxy`` and has its CA in ``root``."""

    def __init__(self, proxy: Address, root: Path, origin: NtlmOrigin) -> None:
        self._authority = origin.authority
        if origin.authority.startswith("127"):
            self.raw = RawClient.plain(proxy)
            self._prefix = f"http://{origin.authority}"
        else:
            context = ssl.create_default_context(cafile=str(root / "ca" / "ca.pem"))
            self.raw = RawClient.tunnel(proxy, "localhost", origin.port, tls=context)
            self._prefix = ""

    def close(self) -> None:
        """Close the connection."""
        self.raw.close()

    def get(self, path: str = "/secret", token: str = "", scheme: str = "NTLM") -> Answer:
        """Ask for ``path``, with ``token`` as credentials."""
        fields = [("Authorization", f"{scheme} {token}")] if token else []
        return self.raw.get(self._prefix + path, host=self._authority, headers=fields)

    def hello(self, scheme: str = "NTLM") -> str:
        """Begin the handshake; return the number of the connection that the challenge is for."""
        answer = self.get(token="HELLO", scheme=scheme)
        assert answer.status == 401
        found = re.search(r"CHALLENGE-(\d+)", answer.header("WWW-Authenticate") or "")
        assert found is not None
        return found[1]

    def log_in(self, user: str) -> None:
        """Go through the whole handshake; the connection is ``user``'s then."""
        assert self.get(token=f"{user}-PROOF-{self.hello()}").body == f"the secret of {user}".encode()
