"""Tokens for what cannot be taken back: who asks is told what would happen, and confirms exactly that."""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from wiretape.errors import UsageError

VALID_SECONDS: Final = 300.0
"""How long a token may be used."""

_KEPT: Final = 100
"""Tokens that are remembered; the oldest is forgotten for a new one."""


class Confirmations:
    """Gives tokens, each for one act, once.

    Args:
        clock: seconds, for tests.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._given: OrderedDict[str, tuple[str, float]] = OrderedDict()

    def give(self, act: str) -> str:
        """Return a token that confirms ``act``."""
        token = secrets.token_hex(4)
        self._given[token] = (act, self._clock() + VALID_SECONDS)
        while len(self._given) > _KEPT:
            self._given.popitem(last=False)
        return token

    def take(self, act: str, token: str) -> None:
        """Use a token up.

        Raises:
            UsageError: it was given for something else, is older than five minutes, or was used already.
        """
        known, until = self._given.get(token, ("", 0.0))
        if known != act or self._clock() > until:
            raise UsageError(
                f"confirm {token[:40]!r} is not a valid token for this",
                hint="call it again without confirm: that gives one, valid for five minutes",
                code="confirm",
            )
        del self._given[token]
