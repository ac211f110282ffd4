"""Clients that believe to speak with their server: where they were redirected from, and what they call it.

Linux says to where a redirected connection had been made (SO_ORIGINAL_DST); with TPROXY the socket's own address is
that. A connection that was made to the listener itself (somebody changed the name's address) has no such thing: then
only the client can say whom it means.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from typing import Final

from wiretape.errors import ProtocolError
from wiretape.recorder.reverse import Picked, name_of
from wiretape.recorder.route import Route
from wiretape.wire.target import parse_authority

_ORIGINAL_DST: Final = 80  # SO_ORIGINAL_DST and IP6T_SO_ORIGINAL_DST of linux/netfilter_ipv4.h and _ipv6.h
_SOCKADDR_IN: Final = struct.Struct("!2xH4s8x")
_SOCKADDR_IN6: Final = struct.Struct("!2xH4x16s4x")


def original_destination(sock: socket.socket, listening: tuple[str, int]) -> tuple[str, int] | None:
    """Return the address and port to which a client had connected; None where that was the listener itself.

    Args:
        sock: the accepted connection.
        listening: host and port of the listening socket.
    """
    own = sock.getsockname()
    found = _before_nat(sock)
    if found is None:
        found = _plain(own[0]), own[1]
    return None if found == (_plain(own[0]), listening[1]) else found


def _before_nat(sock: socket.socket) -> tuple[str, int] | None:
    """Ask netfilter; IPv4 clients of an IPv6 socket are asked for as such."""
    for level, layout in ((socket.IPPROTO_IP, _SOCKADDR_IN), (socket.IPPROTO_IPV6, _SOCKADDR_IN6)):
        try:
            port, raw = layout.unpack(sock.getsockopt(level, _ORIGINAL_DST, layout.size))
        except (OSError, struct.error):
            continue
        return _plain(str(ipaddress.ip_address(raw))), port
    return None


def _plain(host: str) -> str:
    """Return ::ffff:127.0.0.1 as 127.0.0.1, and no zone."""
    address = ipaddress.ip_address(host.partition("%")[0])
    return str(getattr(address, "ipv4_mapped", None) or address)


class Redirected:
    """Requests of a connection that was redirected: they go where it had gone, under the name that they ask for."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port

    def pick(self, host: bytes | None) -> Picked:
        """Return the server."""
        return Picked(named_route("http", self._host, self._port, (host or b"").decode("latin-1")), None)


class AsAsked:
    """Requests of a connection to the listener itself: they go to the host that they ask for."""

    def pick(self, host: bytes | None) -> Picked:
        """Return the server.

        Raises:
            ProtocolError: the request does not say.
        """
        asked = (host or b"").decode("latin-1")
        authority = asked if name_of(asked) != asked.removeprefix("[").removesuffix("]") else f"{asked}:80"
        try:
            name, port = parse_authority(authority)
        except ProtocolError as error:
            raise ProtocolError(
                "the request came straight to the transparent port, and its Host names no server",
                hint="redirect connections to this port by a rule of the firewall, or use the proxy's port",
            ) from error
        return Picked(Route("http", name, port), None)


def named_route(scheme: str, host: str, port: int, authority: str) -> Route:
    """Return the way to an address, under the name that a client gives it; under none where that is no good one."""
    name = name_of(authority.lower())
    try:
        name, _ = parse_authority(f"[{name}]:{port}" if ":" in name else f"{name}:{port}")
    except ProtocolError:
        return Route(scheme, host, port)
    return Route(scheme, name, port, address="" if name == host else host)
