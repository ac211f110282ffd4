"""P8: what a burst of clients took is given back when they have gone."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from wiretape.cli.demo.stage import Daemon
from wiretape.cli.demo.waiting import wait_until

NEAR = 24 << 20
"""Bytes above what it had before that are near enough: contexts for fifty hosts stay, to be used again."""


def client_hello() -> bytes:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="a.example")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


def resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


def test_p8_the_memory_of_abandoned_handshakes_is_given_back_within_a_minute(root: Path) -> None:
    hello = client_hello()
    with Daemon(root) as daemon:
        (recorder,) = daemon.ready["recorderPids"]
        parts = urlsplit(daemon.proxy)
        before = resident(recorder)
        clients = []
        for number in range(400):
            client = socket.create_connection((parts.hostname, parts.port))
            client.sendall(b"CONNECT a%d.example:443 HTTP/1.1\r\n\r\n" % (number % 20))
            assert client.recv(100).startswith(b"HTTP/1.1 200")
            client.sendall(hello)
            clients.append(client)
        for client in clients:
            assert client.recv(1)  # its answer has begun: the handshake has taken its memory
        highest = resident(recorder)
        for client in clients:
            client.close()
        assert highest - before > NEAR
        wait_until(lambda: resident(recorder) - before < NEAR, what="memory near where it was", timeout=60)
