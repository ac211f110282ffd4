"""Connecting to a server with several addresses (RFC 8305): one that does not answer delays the next by 250 ms only."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Sequence
from itertools import chain, zip_longest
from typing import Final

ATTEMPT_DELAY: Final = 0.25
"""Seconds after which the next address is tried beside those that have not answered (RFC 8305 section 5)."""

Place = tuple[int, tuple[str, int]]
"""An address with its family, as ``getaddrinfo`` gives it."""


def interleaved(places: Sequence[Place]) -> list[Place]:
    """Return addresses in the order of attempts: families take turns, the first address's family begins (section 4)."""
    if not places:
        return []
    first = [place for place in places if place[0] == places[0][0]]
    others = [place for place in places if place[0] != places[0][0]]
    return [place for place in chain.from_iterable(zip_longest(first, others)) if place is not None]


async def connect_first(loop: asyncio.AbstractEventLoop, places: Sequence[Place], seconds: float) -> socket.socket:
    """Return a socket that is connected to one of ``places``, the first that answers.

    Args:
        loop: the loop.
        places: where the server is, the best first.
        seconds: how long each address may take.

    Raises:
        OSError, TimeoutError: none answered; it is what the last one failed with.
    """
    if len(places) == 1:
        return await _attempt(loop, places[0], seconds)
    waiting = interleaved(places)
    running: set[asyncio.Task[socket.socket]] = set()
    error: BaseException | None = None
    try:
        while waiting or running:
            if waiting:
                running.add(loop.create_task(_attempt(loop, waiting.pop(0), seconds)))
            delay = ATTEMPT_DELAY if waiting else None
            done, running = await asyncio.wait(running, timeout=delay, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                error = task.exception()
                if error is None:
                    done.discard(task)
                    running |= done  # two in the same turn: the others are closed
                    return task.result()
    finally:
        for task in running:
            task.cancel()
            task.add_done_callback(_close)
    raise error if error is not None else OSError("there is no address")


async def _attempt(loop: asyncio.AbstractEventLoop, place: Place, seconds: float) -> socket.socket:
    family, address = place
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setblocking(False)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        async with asyncio.timeout(seconds):
            await loop.sock_connect(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock


def _close(task: asyncio.Task[socket.socket]) -> None:
    with contextlib.suppress(asyncio.CancelledError, OSError, TimeoutError):
        task.result().close()
