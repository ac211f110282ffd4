"""Child processes that coverage does not measure: it imports much itself and writes files of its own."""

from __future__ import annotations

import os


def unmeasured_environment() -> dict[str, str]:
    """Give this process's environment without what makes coverage start in a child."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
