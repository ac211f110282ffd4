"""Where answers leave for a model and arguments come from it: secrets stay here, handles go out and come back (P18)."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any, Final

from wiretape.daemon.service import Service
from wiretape.errors import WiretapeError
from wiretape.secrets.handles import HANDLE
from wiretape.session.ids import split_address
from wiretape.settings import McpSettings

_NAMES: Final = ("session_id", "session", "exchange", "exchange_id", "a", "b")
"""Arguments that name a session, or an exchange of one."""
_NEWEST: Final = 3
_DEEP: Final = 32


class Boundary:
    """One call's way in and out."""

    def __init__(self, service: Service, settings: McpSettings) -> None:
        self._service = service
        self._reveal = settings.reveal

    async def incoming(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Return a call's arguments with values in the place of handles.

        Raises:
            NotFoundError: a handle is none that wiretape gave.
        """
        handles = set(_handles_in(arguments, 0))
        if not handles:
            return arguments
        known = self._service.secrecy.veil.known
        if not all(known.has(digits) for digits in handles):
            await self._learn(arguments)
        resolved: dict[str, Any] = _each(arguments, known.resolve, 0)
        return resolved

    async def _learn(self, arguments: dict[str, Any]) -> None:
        """Read the sessions that the call is about, else the newest: a daemon that was started since knows none."""
        library, secrecy = self._service.library, self._service.secrecy
        named = [_session_of(arguments[name]) for name in _NAMES if isinstance(arguments.get(name), str)]
        refs = [ref for ref in named if ref] or (await asyncio.to_thread(library.catalogue.ids))[:_NEWEST]
        for ref in refs:
            with contextlib.suppress(WiretapeError):
                await asyncio.to_thread(secrecy.learn, await library.session(ref))

    async def outgoing(self, answer: Any) -> Any:
        """Return an answer with handles in the place of every secret that is known, in whatever encoding."""
        if self._reveal:
            return answer
        return await asyncio.to_thread(self._service.secrecy.veil.everything, answer)

    async def text(self, text: str) -> str:
        """Return the text of a resource likewise."""
        try:
            value = json.loads(text)
        except ValueError:
            return text if self._reveal else await asyncio.to_thread(self._service.secrecy.veil.text, text)
        hidden = await self.outgoing(value)
        return text if hidden == value else json.dumps(hidden, ensure_ascii=False)


def _session_of(text: str) -> str | None:
    with contextlib.suppress(WiretapeError):
        return split_address(text).session
    return text


def _handles_in(value: Any, depth: int) -> list[str]:
    if isinstance(value, str):
        return [match[2] for match in HANDLE.finditer(value)] if "{{" in value else []
    if depth > _DEEP:
        return []
    if isinstance(value, dict):
        value = [*value, *value.values()]
    return [one for item in value for one in _handles_in(item, depth + 1)] if isinstance(value, list) else []


def _each(value: Any, change: Any, depth: int) -> Any:
    if isinstance(value, str):
        return change(value)
    if depth > _DEEP:
        return value
    if isinstance(value, dict):
        return {change(key): _each(one, change, depth + 1) for key, one in value.items()}
    return [_each(one, change, depth + 1) for one in value] if isinstance(value, list) else value
