"""A server that authenticates connections, as Windows servers do: who has shown credentials on one, has it for good.

A handshake is ``SCHEME HELLO``, answered 401 with ``SCHEME CHALLENGE-<n>``, then ``SCHEME <user>-PROOF-<n>`` on the
same connection; from then on its requests are that user's, with or without credentials.
``GET /open`` is answered to all.
"""

from __future__ import annotations

import re
import socket
import ssl
import threading
from pathlib import Path
from typing import Self

from harness.acceptor import Acceptor
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
        self._number = 0
        self._lock = threading.Lock()
        self._acceptor = Acceptor(self._serve, tls)
        self.port = self._acceptor.port
        self.authority = self._acceptor.authority

    def _serve(self, connection: socket.socket) -> None:
        user = ""
        with self._lock:
            self.open += 1
            self._number += 1
            number = self._number
        try:
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
        finally:
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
        self._acceptor.close()

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
