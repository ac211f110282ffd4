"""Wrong arguments in plain words, each said once."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from typing import Any, Final

from pydantic import ValidationError

_SHOWN: Final = 60
"""Characters of a wrong value that are shown."""

_WORDS: Final[dict[str, Callable[[dict[str, Any]], str]]] = {
    "int_type": lambda _: "takes a whole number",
    "int_parsing": lambda _: "takes a whole number",
    "int_from_float": lambda _: "takes a whole number",
    "int_parsing_size": lambda _: "takes a smaller number",
    "float_type": lambda _: "takes a number",
    "float_parsing": lambda _: "takes a number",
    "finite_number": lambda _: "takes a number",
    "bool_type": lambda _: "takes true or false",
    "bool_parsing": lambda _: "takes true or false",
    "string_type": lambda _: "takes a text",
    "string_too_short": lambda _: "takes a text that is not empty",
    "string_too_long": lambda limits: f"takes at most {limits['max_length']} characters",
    "list_type": lambda _: "takes a list",
    "dict_type": lambda _: "takes an object",
    "literal_error": lambda limits: f"takes {limits['expected']}",
    "greater_than_equal": lambda limits: f"takes at least {limits['ge']:g}",
    "greater_than": lambda limits: f"takes more than {limits['gt']:g}",
    "less_than_equal": lambda limits: f"takes at most {limits['le']:g}",
    "less_than": lambda limits: f"takes less than {limits['lt']:g}",
}
"""What pydantic found wrong, by its type, as a person would say it."""


def argument_error(name: str, error: ValidationError, parameters: dict[str, Any]) -> dict[str, str]:
    """Say which arguments of a tool are wrong, and what it takes instead.

    Args:
        name: the tool's.
        error: what pydantic found.
        parameters: the schema of the arguments.
    """
    known = list(parameters.get("properties", {}))
    required = set(parameters.get("required", []))
    details = error.errors(include_url=False)
    problems = [_problem(detail, known) for detail in details]
    unknown = any(detail["type"] in {"extra_forbidden", "missing"} for detail in details)
    takes = ", ".join(each if each in required else f"{each}?" for each in known) or "no arguments"
    hint = f"{name} takes {takes}" if unknown else "call it again with that mended"
    return {"code": "arguments", "message": f"{name}: {'; '.join(problems)}", "hint": hint}


def _problem(detail: Any, known: Sequence[str]) -> str:
    where = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "extra_forbidden":
        near = difflib.get_close_matches(where, known, 1)
        return f"there is no argument {where[:_SHOWN]!r}" + (f" (did you mean {near[0]}?)" if near else "")
    if detail["type"] == "missing":
        return f"the argument {where!r} is required"
    given = repr(detail.get("input"))
    given = given if len(given) <= _SHOWN else given[:_SHOWN] + "..."
    words = _WORDS.get(detail["type"])
    context = detail.get("ctx", {})
    # A sentence of our own validators stands for itself.
    said = words(context) if words is not None else str(context.get("error", detail["msg"]))
    return f"{where} {said}, not {given}"
