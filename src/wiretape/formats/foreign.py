"""What an exchange of another program's recording is, whichever program it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Body:
    """What a recording has of a body: ``size`` bytes, in pieces of at most 192 KiB, read when they are asked for.

    It can be read until the next exchange is asked for.
    """

    size: int
    pieces: Callable[[], Iterator[bytes]]

    @staticmethod
    def of(data: bytes) -> Body:
        """Give bytes as a body."""
        return Body(len(data), lambda: (data[at : at + _PIECE] for at in range(0, len(data), _PIECE)))


_PIECE = 192 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignMessage:
    """A request or a response as it was recorded.

    Attributes:
        headers: names and values in their order, as the recording has them.
        body: what it has of the body.
        size: the body's length on the wire, in bytes; more than ``body`` has where it was cut.
        decoded: ``body`` is a text with the content encoding removed, though the headers name one.
        garbled: there was a body that was no text, and the recording has it as one: what it was is lost.
    """

    headers: tuple[tuple[str, str], ...]
    body: Body
    size: int
    decoded: bool = False
    garbled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignExchange:
    """One exchange. ``number`` and ``ident`` are what its own program called it; times are in milliseconds.

    Times are None where they are not known. ``harmed`` says what could not be read, empty where everything could.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """A range of a file that is no exchange: offset and length in bytes."""

    offset: int
    length: int
    reason: str
