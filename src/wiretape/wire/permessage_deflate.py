"""permessage-deflate (RFC 7692): whether it was agreed on, and messages of it inflated, in bounded memory."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

STEP: Final = 256 * 1024
"""Bytes that are given at once: what a bomb can cost in memory."""
MAX_INFLATED: Final = 256 * 1024 * 1024
"""Bytes of one message that are inflated: what a bomb can cost in time."""
_NAME: Final = "permessage-deflate"
_TAIL: Final = b"\x00\x00\xff\xff"
"""What a sender leaves away at the end of each message (RFC 7692 section 7.2.1)."""


class Compression(NamedTuple):
    """What client and server agreed on: whether each message of a side is compressed without those before it."""

    client_fresh: bool
    server_fresh: bool


class InflateError(Exception):
    """A message does not inflate; the text says why."""


def agreed_compression(extensions: Iterable[str]) -> Compression | None:
    """Return what the values of a response's Sec-WebSocket-Extensions say, None where nothing is compressed."""
    for value in extensions:
        for extension in value.split(","):
            name, *parameters = (part.strip().lower() for part in extension.split(";"))
            if name == _NAME:
                return Compression(
                    "client_no_context_takeover" in parameters, "server_no_context_takeover" in parameters
                )
    return None


class Inflater:
    """Inflates the messages of one side, in their order: ``feed`` all bytes of each, ``finish`` it, then ``next``.

    Attributes:
        fresh: each message is compressed without those before it; else, once one could not be inflated, none can.
    """

    __slots__ = ("_broken", "_inflate", "_total", "fresh")

    def __init__(self, *, fresh: bool) -> None:
        """``fresh``: each message is compressed without those before it."""
        self.fresh = fresh
        self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        self._total = 0
        self._broken = ""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield what some bytes of a message are inflated, at most STEP bytes at a time.

        Raises:
            InflateError: they do not inflate, or the message is longer than MAX_INFLATED.
        """
        if self._broken:
            raise InflateError(self._broken)
        while data:
            if self._inflate.eof:  # a last block, which RFC 7692 section 7.2.3.5 allows, ends the stream
                self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
                if data == _TAIL:
                    return
            try:
                piece = self._inflate.decompress(data, STEP)
            except zlib.error as error:
                self.lose(f"it does not inflate: {error}")
                raise InflateError(self._broken) from error
            data = self._inflate.unconsumed_tail or self._inflate.unused_data
            self._total += len(piece)
            if self._total > MAX_INFLATED:
                self.lose(f"it inflates to more than {MAX_INFLATED:,} bytes")
                raise InflateError(self._broken)
            if piece:
                yield piece

    def finish(self) -> Iterator[bytes]:
        """Yield what is left of a message; raises as ``feed``."""
        yield from self.feed(_TAIL)

    def lose(self, why: str) -> None:
        """Take note that the rest of a message is not to be had, and so what those after it refer to."""
        self._broken = why

    def next(self) -> None:
        """Go on with the next message; where it refers to one that is lost it does not inflate."""
        self._total = 0
        if self.fresh:
            self._broken = ""
            self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        elif self._broken:
            self._broken = "a message before it, which it refers to, is not there whole"
