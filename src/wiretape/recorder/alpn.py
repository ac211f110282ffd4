"""What is spoken inside TLS is known when the handshake is through; until then a connection is nobody's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class AlpnChoice(asyncio.Protocol):
    """Takes a connection's place until the protocol is known, and hands it over then.

    Args:
        choose: makes the connection for the protocol that was agreed on, empty where there was none.
    """

    def __init__(self, choose: Callable[[str], asyncio.Protocol]) -> None:
        self._choose = choose

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Hand over."""
        chosen = self._choose(transport.get_extra_info("ssl_object").selected_alpn_protocol() or "")
        transport.set_protocol(chosen)
        chosen.connection_made(transport)
