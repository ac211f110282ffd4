"""Requests that name no server: which of the servers behind us they are for (``--reverse``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

from wiretape.recorder.route import Route
from wiretape.settings import Server

_PORT_DIGITS: Final = frozenset(b"0123456789")


class Picked(NamedTuple):
    """A server for one request.

    Attributes:
        route: where it is.
        authority: what the Host field has to say there, or None where it says that already.
    """

    route: Route
    authority: bytes | None


class Picks(Protocol):
    """Says where requests go that name no server."""

    def pick(self, host: bytes | None) -> Picked:
        """Return the server for a request whose Host field says ``host``."""


class Servers:
    """The servers behind us. The host that a request asks for picks one; the first takes the rest.

    Args:
        servers: at least one.
    """

    def __init__(self, servers: Sequence[Server]) -> None:
        self._first = servers[0]
        # Of servers with the same name the first counts: only the whole authority tells them apart.
        self._by_name = {server.host: server for server in reversed(servers)}
        self._by_authority = {server.authority: server for server in reversed(servers)}

    def pick(self, host: bytes | None) -> Picked:
        """Return the server for a request whose Host field says ``host``."""
        asked = (host or b"").decode("latin-1").lower()
        server = self._by_authority.get(asked) or self._by_name.get(name_of(asked)) or self._first
        authority = None if asked == server.authority else server.authority.encode("ascii")
        return Picked(_route(server), authority)

    def named(self, name: str | None) -> Route:
        """Return the server for a TLS connection that asks for ``name``."""
        return _route(self._by_name.get(name or "", self._first))


def name_of(authority: str) -> str:
    """Return the host of an authority: most clients name our port, not the server's."""
    name, colon, port = authority.rpartition(":")
    if colon and frozenset(port.encode("latin-1")) <= _PORT_DIGITS and not name.endswith(":"):
        authority = name
    return authority.removeprefix("[").removesuffix("]")


def _route(server: Server) -> Route:
    return Route(server.scheme, server.host, server.port)
