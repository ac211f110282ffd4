"""The port through which an answer shows recorded text: a model sees handles, a person sees values (P18)."""

from __future__ import annotations

from typing import Final, Protocol


class Veil(Protocol):
    """Puts handles in the place of secrets.

    It is given whole values, before anything is cut, searched or decoded further: a half of a secret looks like none.
    """

    def header(self, name: str, value: str) -> str:
        """Return a header's value as it may be shown."""

    def field(self, name: str, value: str) -> str:
        """Return the text of a named field as it may be shown: of JSON, a form, a query or a cookie."""

    def text(self, text: str) -> str:
        """Return any other text as it may be shown."""


class _Nothing:
    """Hides nothing."""

    __slots__ = ()

    def header(self, name: str, value: str) -> str:  # noqa: ARG002 - a veil's
        """Return the value as it is."""
        return value

    def field(self, name: str, value: str) -> str:  # noqa: ARG002 - a veil's
        """Return the value as it is."""
        return value

    def text(self, text: str) -> str:
        """Return the text as it is."""
        return text


UNVEILED: Final[Veil] = _Nothing()
"""For the command line, whose reader owns the recording, and for ``--reveal``."""
