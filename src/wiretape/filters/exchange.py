"""What a filter asks of an exchange. Nothing is read before it is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, Protocol

Side = Literal["request", "response"]
SIDES: tuple[Side, Side] = ("request", "response")

Verdict = bool | None
"""Whether an exchange is meant; None where what is recorded does not decide it."""


class Body(Protocol):
    """The text of one body, content coding removed. Read ``forms`` first; ``missing`` is true of what was read."""

    def forms(self) -> Iterator[bytes]:
        """Yield stretches of the body that are searched one by one, in each charset that it may be in."""
        ...

    def whole(self, most: int) -> bytes | None:
        """Return all of the body, None where it is larger than ``most`` bytes or not there whole."""
        ...

    @property
    def missing(self) -> bool:
        """Whether a part of the body could not be searched."""
        ...


class Exchange(Protocol):
    """One exchange, as filters see it. ``host`` and ``url`` are those of the request that the client sent."""

    @property
    def seq(self) -> int: ...
    @property
    def timestamp(self) -> int:
        """When it began, in milliseconds since the epoch."""
        ...

    @property
    def method(self) -> str: ...
    @property
    def host(self) -> str:
        """The host in lower case, without a port."""
        ...

    @property
    def url(self) -> str: ...
    @property
    def status(self) -> int | None:
        """The response's status, None where there is no response."""
        ...

    @property
    def state(self) -> str:
        """One of ``model.State``."""
        ...

    @property
    def damaged(self) -> bool: ...
    @property
    def failure(self) -> str | None:
        """What went wrong, where something did."""
        ...

    @property
    def milliseconds(self) -> float | None:
        """How long it took, None while it runs and where its end is not recorded."""
        ...

    @property
    def source(self) -> str:
        """The way the client came: ``explicit``, ``connect``, ``transparent``, ``import`` ..."""
        ...

    @property
    def response_type(self) -> str | None:
        """The response's Content-Type."""
        ...

    def size(self, side: Side) -> int:
        """Return the bytes of a body on the wire."""
        ...

    def header_lines(self, side: Side) -> str | None:
        """Return the fields of a head and of its trailers, ``name: value`` each on a line of its own.

        Empty where there is no such message; None where it is lost.
        """
        ...

    def body(self, side: Side) -> Body:
        """Return a body to search in."""
        ...

    def address(self, end: Literal["client", "server"]) -> str | None:
        """Return ``host:port`` of the client, or of the server it was sent to; empty where there was none."""
        ...

    def says_error(self) -> Verdict:
        """Return whether a successful response is an error all the same: GraphQL errors, a gRPC status ..."""
        ...
