"""Ending one direction of a connection, whose other end may be gone already."""

from __future__ import annotations

import asyncio


def end_writing(transport: asyncio.WriteTransport) -> None:
    """Send what is waiting, then that nothing follows; ``connection_lost`` comes soon where the connection is gone.

    asyncio does not look any more at a connection whose other end has ended its side. So it learns here, by an error
    that it does not take (ENOTCONN), that there was a reset since; left to itself it would keep the connection open.
    """
    try:
        transport.write_eof()
    except OSError:
        transport.abort()
