"""A client's socket that no loop's transport has yet: its bytes can be looked at before they are taken.

What is only looked at (MSG_PEEK) is still there for whoever gets the socket, so TLS stays in OpenSSL and the
ClientHello is seen for free.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Final, Protocol, TypeVar

from wiretape.errors import ProtocolError
from wiretape.recorder.route import address_host, address_text
from wiretape.wire.http1 import MAX_HEAD

LAST_WORDS_SECONDS: Final = 1.0
"""How long what a client still sends is read and thrown away after its answer."""
_LOOK_EVERY: Final = 0.005
"""Seconds between two looks at a Unix socket of which some bytes were seen, and not enough."""


class Message(Protocol):
    """What can be taken off a socket."""

    @property
    def consumed(self) -> int:
        """How many bytes were it."""


M = TypeVar("M", bound=Message)


class BareSocket:
    """A non-blocking socket.

    Attributes:
        sock: the socket, to be handed on.
        seen: the bytes that were looked at or taken last.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
        self.sock = sock
        self.seen = b""
        self._loop = loop

    @property
    def local(self) -> str:
        """The address that the client had connected to, as text."""
        return address_text(self.sock.getsockname())

    @property
    def local_host(self) -> str:
        """The host of that address."""
        return address_host(self.sock.getsockname())

    async def peek(self, enough: Callable[[bytes], bool], seconds: float) -> bytes:
        """Look at what has arrived until ``enough`` says so; b"" when the client left.

        SO_RCVLOWAT makes the socket readable only when there is more than was seen, so waiting costs nothing.

        Raises:
            TimeoutError: it took longer than ``seconds``.
        """
        waited_for = 1
        try:
            async with asyncio.timeout(seconds):
                while True:
                    try:
                        data = self.seen = self.sock.recv(MAX_HEAD + 1, socket.MSG_PEEK)
                    except BlockingIOError:
                        data = None
                    if data is not None and (not data or enough(data)):
                        return data
                    if data and self.sock.family == socket.AF_UNIX:
                        await asyncio.sleep(_LOOK_EVERY)  # there the kernel wakes for what was seen, whatever is asked
                        continue
                    if data is not None and len(data) < waited_for:
                        return b""  # readable without the bytes that were waited for: the client has ended its side
                    waited_for = len(data) + 1 if data else 1
                    self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, waited_for)
                    await self._readable()
        finally:
            if waited_for > 1:  # whoever has the socket then may want single bytes
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)

    async def take(self, parse: Callable[[bytes], M | None], seconds: float) -> M | None:
        """Take one message off the socket, and nothing of what follows it; None when the client left.

        It is taken as it comes: what is only looked at stays in the socket's buffer, which a long head fills.

        Raises:
            TimeoutError: it took longer than ``seconds``.
            ProtocolError: ``parse`` does; what it was given is taken then.
        """
        taken = b""
        async with asyncio.timeout(seconds):
            while True:
                try:
                    data = self.sock.recv(MAX_HEAD + 1, socket.MSG_PEEK)
                except BlockingIOError:
                    await self._readable()
                    continue
                if not data:
                    return None
                self.seen = taken + data
                try:
                    message = parse(self.seen)
                except ProtocolError:
                    # A socket that is closed with bytes unread is reset, and takes our answer from the client.
                    self.sock.recv(len(data))
                    raise
                self.sock.recv((message.consumed if message else len(self.seen)) - len(taken))
                if message is not None:
                    return message
                taken = self.seen

    def answer(self, data: bytes) -> None:
        """Send a few bytes; a fresh socket's send buffer always has room for them."""
        with contextlib.suppress(OSError):
            self.sock.send(data)

    async def close_with(self, data: bytes) -> None:
        """Send a few last bytes, and close when the client has ended its side or ``LAST_WORDS_SECONDS`` have passed.

        Closed with bytes unread, the kernel's RST would take the answer away from the client.
        """
        self.answer(data)
        with contextlib.suppress(OSError, TimeoutError):
            self.sock.shutdown(socket.SHUT_WR)
            async with asyncio.timeout(LAST_WORDS_SECONDS):
                await self._readable()
                while self.sock.recv(MAX_HEAD):
                    await self._readable()
        self.close()

    def close(self) -> None:
        """Close the socket."""
        self.sock.close()

    async def _readable(self) -> None:
        ready: asyncio.Future[None] = self._loop.create_future()
        self._loop.add_reader(self.sock.fileno(), _resolve, ready)
        try:
            await ready
        finally:
            self._loop.remove_reader(self.sock.fileno())


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
