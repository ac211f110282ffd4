"""What an exchange of another program's recording is, whichever program it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec


class Body(msgspec.Struct, frozen=True):
    """What a recording has of a body: ``size`` bytes, in pieces of at most 192 KiB, read when they are asked for.

    It can be read until the next exchange is asked for.
    """

    size: int
    pieces: Callable[[], Iterator[bytes]]

    @staticmethod
    def of(data: bytes) -> Body:
        """Return bytes as a body."""
        return Body(len(data), lambda: (data[at : at + _PIECE] for at in range(0, len(data), _PIECE)))


_PIECE = 192 * 1024


class ForeignMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A request or a response as it was recorded.

    Attributes:
        headers: names and values in their order, as the recording has them.
        body: what it has of the body.
        size: the body's length on the wire, in bytes; more than ``body`` has where it was cut.
        decoded: ``body`` is a text with the content encoding removed, though the headers name one.
        garbled: there was a body that was no text, and the recording has it as one: what it was is lost.
        version: ``HTTP/1.1`` or another.
    """

    headers: tuple[tuple[str, str], ...]
    body: Body
    size: int
    decoded: bool = False
    garbled: bool = False
    version: str = "HTTP/1.1"


class ForeignFrame(msgspec.Struct, frozen=True, kw_only=True):
    """One message of a WebSocket; ``at_ms`` counts from the exchange's beginning, ``opcode`` is RFC 6455's."""

    from_server: bool
    at_ms: float
    opcode: int
    body: Body


class Timings(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds that the parts of an exchange took, None where there was none; ``connect`` is without ``tls``."""

    dns: float | None = None
    connect: float | None = None
    tls: float | None = None
    send: float | None = None
    wait: float | None = None
    receive: float | None = None


class ForeignExchange(msgspec.Struct, frozen=True, kw_only=True):
    """One exchange. ``number`` and ``ident`` are what its own program called it; times are in milliseconds.

    Times are None where they are not known. ``harmed`` says what could not be read, empty where everything could;
    ``server`` is the address that answered, empty where it is not known; ``error`` says why there is no response;
    ``messages`` are those of a WebSocket.
    """

    number: int
    ident: str
    wall_ms: int | None
    duration_ms: float | None
    method: str
    url: str
    request: ForeignMessage
    status: int | None
    reason: str
    response: ForeignMessage | None
    harmed: str = ""
    timings: Timings = Timings()
    server: str = ""
    error: str = "the recording it was imported from has no response"
    messages: tuple[ForeignFrame, ...] = ()


class Unreadable(msgspec.Struct, frozen=True, kw_only=True):
    """A range of a file that is no exchange: offset and length in bytes."""

    offset: int
    length: int
    reason: str


class LeftOut(msgspec.Struct, frozen=True):
    """Something that is sound and no part of a session: ``count`` of ``what``. ``exchange``: it was a whole one."""

    what: str
    count: int
    exchange: bool = False
