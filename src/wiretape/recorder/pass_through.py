"""Hosts whose TLS passes as it is: the user has named them, or a client has refused our certificate for them."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

LEARNED: Final = 1_000
"""Hosts that are remembered because a client refused; those of the latest refusals."""


class PassThrough:
    """Which TLS connections are not intercepted.

    Args:
        patterns: hosts, each with those below it (``example.com``), or with ``*`` for any letters (``*.cdn.*``).
        after_refusal: once a client has refused our certificate for a host, that host's pass, too.

    Attributes:
        passed: how many did.
    """

    def __init__(self, patterns: Sequence[str] = (), *, after_refusal: bool = False) -> None:
        self.passed = 0
        self._after_refusal = after_refusal
        self._learned: OrderedDict[str, None] = OrderedDict()
        self._match = re.compile("|".join(map(_expression, patterns))).fullmatch if patterns else None

    def takes(self, *names: str) -> bool:
        """Return whether a connection passes that is for a host of these names; the empty one is none."""
        if self._match is None and not self._learned:
            return False
        return any(name in self._learned or (self._match is not None and self._match(name)) for name in names if name)

    def refused(self, name: str) -> None:
        """Take note that a client does not trust our certificate for a host."""
        if self._after_refusal:
            self._learned[name] = None
            self._learned.move_to_end(name)
            if len(self._learned) > LEARNED:
                self._learned.popitem(last=False)


def _expression(pattern: str) -> str:
    escaped = re.escape(pattern.lower().rstrip("."))
    if "*" in pattern:
        return escaped.replace(re.escape("*"), ".*")
    return rf"(?:.*\.)?{escaped}"
