"""JSON for people that does not waste lines: what fits on one line stands on one."""

from __future__ import annotations

import json
from typing import Any, Final

WIDTH: Final = 110


def laid_out(value: Any, *, width: int = WIDTH, indent: int = 0) -> str:
    """Return JSON in which an object or a list takes one line where that is at most ``width`` characters long.

    Args:
        value: what JSON can say.
        width: characters of a line, indentation included.
        indent: spaces before what follows on further lines.
    """
    text = json.dumps(value, ensure_ascii=False)
    if indent + len(text) <= width or not isinstance(value, (dict, list)) or not value:
        return text
    deeper = " " * (indent + 1)
    if isinstance(value, dict):
        lines = [
            f"{json.dumps(key, ensure_ascii=False)}: {laid_out(one, width=width, indent=indent + 1)}"
            for key, one in value.items()
        ]
        opened, closed = "{", "}"
    else:
        lines = [laid_out(one, width=width, indent=indent + 1) for one in value]
        opened, closed = "[", "]"
    joined = f",\n{deeper}".join(lines)
    return f"{opened}\n{deeper}{joined}\n{' ' * indent}{closed}"
