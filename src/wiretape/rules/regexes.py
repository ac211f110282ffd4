"""Regular expressions that replace: RE2's, so that none can take for ever; an upper-case letter is another."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from wiretape.filters.patterns import Pattern, PatternError, compile_pattern
from wiretape.rules.values import wrong

LONGEST: Final = 4 * 1024 * 1024
"""Characters that a text may have after it was changed; what it is made of came from outside."""
MOST_MATCHES: Final = 10_000
"""Matches of an expression that are replaced in one text: each takes 10 us, and all other traffic waits meanwhile."""
_MAX_MEMORY: Final = 8 * 1024 * 1024
_GROUP: Final = re.compile(r"\$(?:\$|([0-9]{1,2})|\{([0-9]{1,2})\})")


class NotAppliedError(Exception):
    """A text stays as it is; the error says why."""


def too_long() -> NotAppliedError:
    """Return the error that a text would be too long after its change."""
    return NotAppliedError(f"it would be longer than {LONGEST:,} characters after the change: it stays as it was")


def expression(field: str, text: str) -> Any:
    """Compile a regular expression.

    Raises:
        UsageError: it is none; the message names the field.
    """
    import re2  # noqa: PLC0415 - 5 ms, and a recorder without rules needs none

    try:
        compile_pattern(Pattern(text))
    except PatternError as error:
        raise wrong(field, str(error), f"{text[:80]!r} was given") from None
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _MAX_MEMORY
    return re2.compile(text, options)


def template(field: str, text: str, compiled: Any) -> Callable[[Any], str]:
    """Return what makes the replacement of a match: ``$1`` and ``${1}`` stand for groups, ``$$`` for a dollar sign.

    What is returned raises NotAppliedError where a replacement would be too long.

    Raises:
        UsageError: the expression has no such group.
    """
    parts: list[str | int] = []
    at = 0
    for found in _GROUP.finditer(text):
        parts.append(text[at : found.start()])
        number = found[1] or found[2]
        parts.append("$" if number is None else int(number))
        at = found.end()
        if number is not None and int(number) > compiled.groups:
            raise wrong(field, f"${number} is asked for, and the expression has {compiled.groups} groups", "$$ is a $")
    parts.append(text[at:])
    asked = {part for part in parts if isinstance(part, int)}

    def made(match: Any) -> str:
        values = {number: match.group(number) or "" for number in asked}
        found = [part if isinstance(part, str) else values[part] for part in parts]
        if sum(map(len, found)) > LONGEST:
            raise too_long()
        return "".join(found)

    return made
