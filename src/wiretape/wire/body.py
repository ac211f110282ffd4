"""Message bodies: one reader for each way in which a body can end (RFC 9112 sections 6 and 7)."""

from __future__ import annotations

from wiretape.wire.chunked import ChunkedDecoder
from wiretape.wire.grammar import CHUNKED, LENGTH, NO_BODY
from wiretape.wire.request import RequestHead
from wiretape.wire.response import ResponseHead


class LengthReader:
    """Reads a body whose length is known; length 0 is no body.

    Attributes:
        finished: the whole body has been given out.
        rest: the bytes that came after the body; they belong to the next message.
        trailers: always empty.
    """

    __slots__ = ("_left", "finished", "rest", "trailers")

    def __init__(self, length: int) -> None:
        self._left = length
        self.finished = length == 0
        self.rest = b""
        self.trailers = b""

    def feed(self, data: bytes | memoryview) -> list[bytes]:
        """Take bytes from the connection and return the pieces of the body among them; ``bytes`` are not copied."""
        size = len(data)
        left = self._left
        if size <= left:
            self._left = left = left - size
            self.finished = not left
            return [bytes(data)] if size else []
        piece = bytes(data[:left])
        self._left = 0
        self.finished = True
        self.rest += data[left:]
        return [piece] if left else []

    def eof(self) -> bool:
        """Take note that the connection has ended; return whether the body is complete."""
        return self.finished


class CloseReader:
    """Reads a body that ends with its connection.

    Attributes:
        finished: ``eof`` has been called.
        rest: always empty.
        trailers: always empty.
    """

    __slots__ = ("finished", "rest", "trailers")

    def __init__(self) -> None:
        self.finished = False
        self.rest = b""
        self.trailers = b""

    def feed(self, data: bytes | memoryview) -> list[bytes]:
        """Take bytes from the connection and return them, which are all of the body; ``bytes`` are not copied."""
        return [bytes(data)] if data else []

    def eof(self) -> bool:
        """Take note that the connection has ended, which completes the body."""
        self.finished = True
        return True


BodyReader = LengthReader | ChunkedDecoder | CloseReader
"""What reads a body: ``feed(data)``, ``eof()``, ``finished``, ``rest``, ``trailers``, whatever the framing."""


def body_reader(head: RequestHead | ResponseHead) -> BodyReader:
    """Return a fresh reader for the body that follows ``head``."""
    framing = head.framing
    if framing == NO_BODY:
        return LengthReader(0)
    if framing == LENGTH:
        return LengthReader(head.content_length)
    if framing == CHUNKED:
        if isinstance(head, ResponseHead):
            return ChunkedDecoder(502, bare_lf=not head.strict)
        return ChunkedDecoder()
    return CloseReader()
