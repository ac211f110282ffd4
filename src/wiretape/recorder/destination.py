"""Where a client wants to be connected to, before anybody knows what it will speak there."""

from __future__ import annotations

from typing import NamedTuple

from wiretape.recorder.route import Route, address_text
from wiretape.wire.http1 import RequestHead, parse_request_head


class Destination(NamedTuple):
    """What a CONNECT, a SOCKS request or a redirected packet says.

    Attributes:
        host: a name or an address, lower case, IPv6 without brackets.
        port: 1 to 65535.
        source: how the client came, as the log says it.
        head: the CONNECT; that of a client which sends none is written as if it had.
    """

    host: str
    port: int
    source: str
    head: RequestHead

    def route(self, scheme: str) -> Route:
        """Return the way there."""
        return Route(scheme, self.host, self.port)


def destination(host: str, port: int, source: str) -> Destination:
    """Return where a client goes that said so otherwise than by CONNECT."""
    authority = address_text((host, port)).encode("ascii")
    head = parse_request_head(b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (authority, authority))
    assert head is not None
    return Destination(host, port, source, head)
