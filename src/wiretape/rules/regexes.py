"""Regular expressions that replace: RE2's, so that none can take for ever; an upper-case letter is another."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from wiretape.filters.patterns import Pattern, PatternError, compile_pattern
from wiretape.rules.values import wrong

_MAX_MEMORY: Final = 8 * 1024 * 1024
_GROUP: Final = re.compile(r"\$(?:\$|([0-9]{1,2})|\{([0-9]{1,2})\})")


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

    def made(match: Any) -> str:
        return "".join(part if isinstance(part, str) else match.group(part) or "" for part in parts)

    return made
