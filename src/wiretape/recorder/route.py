"""Where an exchange leads."""

from __future__ import annotations

from typing import Any, NamedTuple


class Route(NamedTuple):
    """A server, as the pool's key.

    Attributes:
        scheme: ``http``, ``https``, or ``tcp`` for a tunnel whose bytes are not understood.
        host: a name or an address, lower case, IPv6 without brackets.
        port: 1 to 65535.
        name: the name that TLS asks for (SNI) where it is not the host, else "".
        protocol: ``h2`` where HTTP/2 is to be offered to the server, else "".
        address: where it is reached, where that is known and ``host`` is only what the client calls it, else "".
    """

    scheme: str
    host: str
    port: int
    name: str = ""
    protocol: str = ""
    address: str = ""

    @property
    def where(self) -> str:
        """Return ``host:port`` for a sentence."""
        return address_text((self.host, self.port))


def address_text(address: Any) -> str:
    """Return a socket's address as ``host:port``, an IPv6 one in brackets; that of a Unix socket as ``unix:PATH``."""
    if not isinstance(address, tuple):
        return f"unix:{address.decode(errors='replace') if isinstance(address, bytes) else address}"
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def address_host(address: Any) -> str:
    """Return the host of a socket's address, without the zone of an IPv6 one; of a Unix socket this machine's name."""
    if not isinstance(address, tuple):
        return "localhost"
    return str(address[0]).partition("%")[0]
