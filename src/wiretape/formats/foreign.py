"""What an exchange of another program's recording is, whichever program it was."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignMessage:
    """A request or a response as it was recorded.

    Attributes:
        headers: names and values in their order, as the recording has them.
        body: what it has of the body.
        size: the body's length on the wire, in bytes; more than ``body`` has where it was cut.
        decoded: ``body`` is a text with the content encoding removed, though the headers name one.
    """

    headers: tuple[tuple[str, str], ...]
    body: bytes
    size: int
    decoded: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignExchange:
    """One exchange. ``number`` and ``ident`` are what its own program called it; times are milliseconds.

    ``harmed`` says that a part of it could not be read as text.
    """

    number: int
    ident: str
    wall_ms: int
    duration_ms: float | None
    method: str
    url: str
    request: ForeignMessage
    status: int | None
    reason: str
    response: ForeignMessage | None
    harmed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """A range of a file that is no exchange: offset and length in bytes."""

    offset: int
    length: int
    reason: str
