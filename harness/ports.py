"""Loopback ports."""

from __future__ import annotations

import socket


def free_port(host: str = "127.0.0.1") -> int:
    """Return a TCP port that nothing listens on now.

    Another process may take it before you do; bind to port 0 instead wherever the program can say what it got.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def refused_port() -> tuple[socket.socket, int]:
    """Return a port that refuses connections for as long as the returned socket is kept open.

    The socket is bound but does not listen, so the port cannot be handed to another test meanwhile.
    """
    holder = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    holder.bind(("127.0.0.1", 0))
    return holder, int(holder.getsockname()[1])
