"""What one request of the demonstration asks for, all of it in its path: who reads the path knows every byte."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

_SIZES = (0, 1, 200, 1_000, 4_000, 17_000, 70_000, 300_000, 2_000_000)
_WEIGHTS = (12, 4, 25, 25, 15, 10, 6, 2.5, 0.5)
"""Body sizes in bytes and how often each is drawn: mostly small, as real traffic is, some beyond every buffer."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One request: its name is unique within a run.

    Attributes:
        name: letters, digits and dashes.
        method: GET, HEAD, POST, PUT, ...
        up: bytes of the request's body.
        down: bytes of the response's body.
        framing: how both bodies are delimited, ``length`` or ``chunked``.
        pace: milliseconds that the server rests between two pieces of the body.
        leave: whether the client is to leave in the middle, of its own body if there is one, else of the answer.
        sip: whether the client reads slowly. Neither is part of the path.
    """

    name: str
    method: str
    up: int
    down: int
    framing: str = "length"
    pace: int = 0
    leave: bool = False
    sip: bool = False

    @property
    def path(self) -> str:
        """The request's path and query."""
        return (
            f"/{self.name}?method={self.method}&up={self.up}&down={self.down}&framing={self.framing}&pace={self.pace}"
        )

    @property
    def request_body(self) -> bytes:
        """The bytes that are sent."""
        return content(self.name + "/up", self.up)

    @property
    def response_body(self) -> bytes:
        """The bytes that the server answers."""
        return b"" if self.method == "HEAD" else content(self.name + "/down", self.down)


def parse_path(url: str) -> Plan:
    """Read a plan from a path or URL.

    Raises:
        ValueError: it is no plan's path.
    """
    parts = urlsplit(url)
    fields = {key: values[0] for key, values in parse_qs(parts.query).items()}
    try:
        return Plan(
            name=parts.path.lstrip("/"),
            method=fields["method"],
            up=int(fields["up"]),
            down=int(fields["down"]),
            framing=fields["framing"],
            pace=int(fields["pace"]),
        )
    except KeyError as missing:
        raise ValueError(f"{url!r} lacks {missing}") from None


def content(name: str, size: int) -> bytes:
    """Make ``size`` bytes that nothing compresses and that belong to ``name`` alone."""
    return hashlib.shake_128(name.encode()).digest(size)


def draw(name: str, chance: random.Random, *, rough: bool) -> Plan:
    """Draw the next request.

    Args:
        name: its unique name.
        chance: the source of the draw, seeded by the caller.
        rough: also slow answers and clients that leave, for the proof; the demonstration is in a hurry.
    """
    method = chance.choices(("GET", "POST", "PUT", "HEAD"), (6, 3, 1, 0.5))[0]
    (down,) = chance.choices(_SIZES, _WEIGHTS)
    (up,) = chance.choices(_SIZES, _WEIGHTS) if method in ("POST", "PUT") else (0,)
    return Plan(
        name=name,
        method=method,
        up=up,
        down=down,
        framing=chance.choice(("length", "length", "chunked")),
        pace=chance.choice((0,) * 9 + (5, 40)) if rough else 0,
        leave=rough and chance.random() < 0.04,
        sip=rough and chance.random() < 0.05,
    )
