"""The lines of a channel: bytes to messages and back. Standard library only: `wiretape mcp` has to start fast."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from wiretape.errors import DaemonError, NotFoundError, StorageError, UsageError, WiretapeError

LINE_MAX: Final = 16 << 20
"""Bytes of one line at most."""

_KINDS: Final[Mapping[str, type[WiretapeError]]] = {
    "usage": UsageError,
    "not-found": NotFoundError,
    "storage": StorageError,
}


def encode(message: Mapping[str, Any]) -> bytes:
    """Return a message as one line."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def decode(line: bytes) -> dict[str, Any]:
    """Read one line.

    Raises:
        UsageError: it is no JSON object.
    """
    try:
        message = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UsageError("the line is not JSON", hint="send one JSON object a line") from error
    if not isinstance(message, dict):
        raise UsageError("the line is not a JSON object", hint="send one JSON object a line")
    return message


def failed(error: WiretapeError) -> dict[str, Any]:
    """Return the keys of an answer that says what went wrong."""
    return {"ok": False, "error": error.to_json()}


def result(answer: dict[str, Any]) -> dict[str, Any]:
    """Return what an answer holds besides the channel's own keys.

    Raises:
        WiretapeError: what the other end says went wrong, of its class where the code tells it.
    """
    if answer.get("ok") is not True:
        raise error_from(answer.get("error"))
    return {key: value for key, value in answer.items() if key not in {"id", "ok"}}


def error_from(value: object) -> WiretapeError:
    """Make the exception that ``{"code", "message", "hint"}`` stands for."""
    fields = value if isinstance(value, dict) else {}
    code = str(fields.get("code", "daemon"))
    message = str(fields.get("message", "the other process failed without saying why"))
    return _KINDS.get(code, DaemonError)(message, hint=str(fields.get("hint", "")), code=code)


class Lines:
    """Cuts bytes into lines, however they come in pieces.

    Args:
        limit: bytes of one line at most.
    """

    def __init__(self, limit: int = LINE_MAX) -> None:
        self._limit = limit
        self._parts: list[bytes] = []
        self._size = 0
        self._skipping = False

    def feed(self, data: bytes) -> list[bytes | None]:
        """Return the lines that are whole now, without their ends; None in the place of one that is too long."""
        *whole, rest = data.split(b"\n")
        lines = [self._ended(part) for part in whole]
        self._size += len(rest)
        if self._size > self._limit:  # what is too long is not kept, only waited out
            self._skipping = True
            self._parts.clear()
        elif rest:
            self._parts.append(rest)
        return lines

    def rest(self) -> bytes | None:
        """Return the line that has no end at the end of the input; None where it is too long."""
        return self._ended(b"")

    def _ended(self, part: bytes) -> bytes | None:
        line = None if self._skipping or self._size + len(part) > self._limit else b"".join([*self._parts, part])
        self._parts.clear()
        self._size, self._skipping = 0, False
        return line
