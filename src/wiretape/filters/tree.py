"""What a filter is once it is read: a tree of frozen nodes. This module has those that join others."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from wiretape.filters.exchange import Exchange, Verdict


class Node(ABC):
    """One part of a filter."""

    __slots__ = ()

    @abstractmethod
    def matches(self, exchange: Exchange) -> Verdict:
        """Return whether an exchange is meant; None where what is recorded does not decide it."""


class Operator(Node, ABC):
    """A node that stands for an operator; the help is made of these attributes.

    Attributes:
        symbols: how it is written, the usual name first; none for what only plain parameters ask for.
        takes: what its value is, empty where it has none.
        help: what it means, in one sentence without an end.
        example: a filter with it.
    """

    __slots__ = ()
    symbols: ClassVar[tuple[str, ...]] = ()
    takes: ClassVar[str] = ""
    help: ClassVar[str] = ""
    example: ClassVar[str] = ""

    @classmethod
    def read(cls, value: str) -> Operator:
        """Make the node of the value that stands behind the operator; it is empty where ``takes`` is.

        Raises:
            ValueError: the value means nothing; the text says what may stand there.
        """
        assert not value
        return cls()


@dataclass(frozen=True, slots=True)
class And(Node):
    """All parts hold."""

    parts: tuple[Node, ...]

    def matches(self, exchange: Exchange) -> Verdict:
        """Return whether all parts hold; those that cost little stand first."""
        undecided = False
        for part in self.parts:
            verdict = part.matches(exchange)
            if verdict is False:
                return False
            undecided |= verdict is None
        return None if undecided else True


@dataclass(frozen=True, slots=True)
class Or(Node):
    """One part holds, or several."""

    parts: tuple[Node, ...]

    def matches(self, exchange: Exchange) -> Verdict:
        """Return whether a part holds."""
        undecided = False
        for part in self.parts:
            verdict = part.matches(exchange)
            if verdict:
                return True
            undecided |= verdict is None
        return None if undecided else False


@dataclass(frozen=True, slots=True)
class Not(Node):
    """The part does not hold."""

    part: Node

    def matches(self, exchange: Exchange) -> Verdict:
        """Return whether the part does not hold."""
        verdict = self.part.matches(exchange)
        return None if verdict is None else not verdict


def all_of(*nodes: Node) -> Node:
    """Join nodes that are all to hold, without a level more than needed."""
    parts = [part for node in nodes for part in (node.parts if isinstance(node, And) else (node,))]
    return parts[0] if len(parts) == 1 else And(tuple(parts))


def walk(node: Node) -> Iterator[Node]:
    """Yield a node and all below it."""
    yield node
    for part in node.parts if isinstance(node, And | Or) else (node.part,) if isinstance(node, Not) else ():
        yield from walk(part)
