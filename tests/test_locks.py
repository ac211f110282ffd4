"""The lock files hold everything that is installed, in the way in which it is asked for."""

from __future__ import annotations

import re
from importlib.metadata import distributions
from pathlib import Path

from packaging.requirements import Requirement

PROJECT = Path(__file__).parents[1]


def test_what_is_asked_for_with_an_extra_is_pinned_with_it() -> None:
    """Else pip takes the newest release that has the extra, and refuses it because the lock has no hash of it."""
    lock = (PROJECT / "requirements-dev.lock").read_text()
    pinned = {match[1] for match in re.finditer(r"^(\S+?)==", lock, re.MULTILINE)}
    names = {name.partition("[")[0] for name in pinned}
    asked = set()
    for distribution in distributions():
        for line in distribution.requires or []:
            requirement = Requirement(line)
            wanted = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
            if requirement.extras and wanted and requirement.name.lower() in names:
                asked.add(f"{requirement.name.lower()}[{','.join(sorted(requirement.extras))}]")
    assert asked
    assert asked <= pinned
