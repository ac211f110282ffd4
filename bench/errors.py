"""What can go wrong in a benchmark."""

from __future__ import annotations


class BenchError(Exception):
    """A measurement could not be made; the message says why."""


class UnavailableError(BenchError):
    """A peer cannot run on this machine; the others go on without it."""
