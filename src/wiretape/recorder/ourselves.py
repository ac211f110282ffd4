"""Which requests lead back to wiretape itself: to the proxy's own port, or to the daemon's API (P14).

The first would loop. The second would put the API's token into a recording, and lend the proxy's place on this machine
to whoever may use the proxy.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from typing import Final

LOOP: Final = "the request leads to this proxy itself, or to wiretape's own API"
LOOP_HINT: Final = "clients talk to them directly: put their address into no_proxy"

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_LOCAL_NAMES: Final = frozenset({"localhost", "ip6-localhost"})
_LOCAL_SUFFIX: Final = ".localhost"
"""RFC 6761 section 6.3: names below it are this machine."""


class Ourselves:
    """The addresses at which wiretape listens.

    Args:
        listening: host and port of every listener, as ``getsockname`` gives them.
    """

    def __init__(self, listening: Iterable[tuple[str, int]] = ()) -> None:
        self._bound: dict[int, list[_Address]] = {}
        for host, port in listening:
            self.add(host, port)

    def add(self, host: str, port: int) -> None:
        """Listen at another address, too."""
        self._bound.setdefault(port, []).append(_plain(ipaddress.ip_address(host.partition("%")[0])))

    def named(self, host: str, port: int) -> bool:
        """Return whether a request's own words lead here; no name is looked up for that.

        A name that only a look-up would tell is found when the connection is made, see ``reached``.
        """
        if port not in self._bound:  # what almost every request costs
            return False
        name = host.lower().rstrip(".")
        if name in _LOCAL_NAMES or name.endswith(_LOCAL_SUFFIX):
            return any(bound.is_loopback or bound.is_unspecified for bound in self._bound[port])
        address = _read(name)
        return address is not None and self._listens(address, port)

    def reached(self, connection: socket.socket) -> bool:
        """Return whether a connection that was made has come out at one of our listeners, by whatever name."""
        try:
            host, port = connection.getpeername()[:2]
        except OSError:  # it has ended already
            return False
        if port not in self._bound:
            return False
        address = _read(host.partition("%")[0])
        return address is not None and self._listens(address, port)

    def _listens(self, address: _Address, port: int) -> bool:
        """Return whether one of our listeners takes connections to ``address``."""
        for bound in self._bound[port]:
            if address == bound:
                return True
            # To connect to "any address" is to connect to loopback.
            if address.is_unspecified and (bound.is_loopback or bound.is_unspecified):
                return True
            if bound.is_unspecified and (address.is_loopback or _is_of_this_machine(address)):
                return True
        return False


def _plain(address: _Address) -> _Address:
    """Return ::ffff:127.0.0.1 as 127.0.0.1."""
    return getattr(address, "ipv4_mapped", None) or address


def _read(host: str) -> _Address | None:
    """Read an address as connecting would: 127.1, 0x7f000001 and 2130706433 are 127.0.0.1 too; None for a name."""
    try:
        return _plain(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except (OSError, ValueError):
        return None


def _is_of_this_machine(address: _Address) -> bool:
    """Return whether an address is one of this machine's: only those can be bound."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((str(address), 0))
    except OSError:
        return False
    return True
