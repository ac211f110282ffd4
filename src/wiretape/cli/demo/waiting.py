"""Waiting for a condition, never for a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from wiretape.errors import DaemonError

T = TypeVar("T")

DEADLINE = 20.0
"""Seconds after which a wait is called hopeless: far above what a loaded machine needs."""


def wait_until(predicate: Callable[[], T], *, what: str, timeout: float = DEADLINE, interval: float = 0.005) -> T:
    """Poll ``predicate`` until it gives something true, and return that.

    Args:
        predicate: called again and again; exceptions are not swallowed.
        what: the condition in words, for the failure ("the second request at the origin").
        timeout: seconds until the wait is given up.
        interval: seconds between two looks.

    Raises:
        DaemonError: the deadline passed.
    """
    deadline = time.monotonic() + timeout
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() >= deadline:
            message = f"waited {timeout:g} s in vain for {what}; last seen: {value!r}"
            raise DaemonError(message, hint="is the machine overloaded?")
        time.sleep(interval)
