"""Binding the ports that a daemon serves, with errors that say what to do."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import socket
import time
from pathlib import Path
from typing import Any

from wiretape.errors import BusyError, NetworkError, UsageError
from wiretape.settings import Address

BACKLOG = 4096
"""Connections that wait while recorders are busy or one is being replaced (the kernel caps it at somaxconn)."""


RETRY_EVERY = 0.02
"""Seconds between two attempts at a port that is about to become free."""


def bind(address: Address, *, patience: float = 0.0) -> socket.socket:
    """Bind and listen on a TCP address; port 0 picks a free port.

    Args:
        address: where.
        patience: seconds to wait for a port in use. The recorders of a daemon that was killed hold its port until
            they have noticed; its successor should not fail for that.

    Raises:
        BusyError: the port is in use.
        UsageError: the host is no address of this machine.
        NetworkError: the system refuses otherwise (a port below 1024, say).
    """
    if not 0 <= address.port <= 65535:
        raise UsageError(f"{address.port} is not a port", hint="ports go from 0 (any free one) to 65535")
    try:
        found = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_NUMERICSERV
        )
    except (socket.gaierror, ValueError, OverflowError) as error:
        raise UsageError(
            f"{address.host!r} is not an address to listen on", hint="127.0.0.1 is the usual one"
        ) from error
    family, kind, protocol, _, name = found[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _bind_within(listener, name, patience)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise _refusal(address, error) from error
    listener.setblocking(False)
    return listener


def bind_unix(path: Path) -> socket.socket:
    """Bind and listen on a Unix socket that only this user reaches; one that a killed daemon has left is replaced.

    Raises:
        BusyError: somebody listens there. UsageError: something else lies there, or no socket can be made there.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.is_socket():
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
                if probe.connect_ex(str(path)) == 0:
                    raise BusyError(f"somebody listens at {path}", hint="give another path", code="port-in-use")
            path.unlink()
        listener.bind(str(path))
        path.chmod(0o600)  # before it listens: until then nobody can connect
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        reason = error.strerror or str(error)
        raise UsageError(f"cannot listen at {path}: {reason}", hint="give a short path that is free") from error
    except BusyError:
        listener.close()
        raise
    listener.setblocking(False)
    return listener


def close_listener(listener: socket.socket) -> None:
    """Close a listening socket; the file of a Unix socket goes, too."""
    if listener.family == socket.AF_UNIX:
        with contextlib.suppress(OSError):
            Path(listener.getsockname()).unlink()
    listener.close()


def exposed(proxy: Address | None, api: Address | None) -> list[str]:
    """Return a warning for each address that other machines can reach."""
    found = []
    if proxy is not None and _beyond_loopback(proxy):
        found.append(
            f"WARNING: the proxy listens on {proxy}, where OTHER MACHINES can reach it. It asks nobody who he is: "
            "whoever reaches it sends requests from this machine, also to what listens on it and on its network, and "
            "they are recorded here. Use --proxy 127.0.0.1:8080, or a firewall"
        )
    if api is not None and _beyond_loopback(api):
        found.append(
            f"WARNING: the API listens on {api}, where OTHER MACHINES can reach it. It wants the token, which goes "
            "over the network in plain HTTP. Use --api 127.0.0.1:8081, or a tunnel"
        )
    return found


def _beyond_loopback(address: Address) -> bool:
    return not ipaddress.ip_address(address.host.partition("%")[0]).is_loopback


def _bind_within(listener: socket.socket, name: Any, patience: float) -> None:
    deadline = time.monotonic() + patience
    while True:
        try:
            listener.bind(name)
            return
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() >= deadline:
                raise
        time.sleep(RETRY_EVERY)


def _refusal(address: Address, error: OSError) -> Exception:
    if error.errno == errno.EADDRINUSE:
        return BusyError(
            f"port {address.port} on {address.host} is in use by another process",
            hint="give another port, or 0 for a free one",
            code="port-in-use",
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return UsageError(f"{address.host} is not an address of this machine", hint="127.0.0.1 is the usual one")
    return NetworkError(f"cannot listen on {address}: {error.strerror}", hint="ports below 1024 need privileges")
