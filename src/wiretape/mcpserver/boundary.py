"""Where answers leave for a model and arguments come from it: secrets stay here, handles go out and come back (P18)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from typing import Any, Final

from wiretape.daemon.service import Service
from wiretape.errors import NotFoundError, WiretapeError
from wiretape.secrets.handles import HANDLE
from wiretape.secrets.masking import without_pieces
from wiretape.session.ids import split_address
from wiretape.settings import McpSettings

_NAMES: Final = ("session_id", "session", "exchange", "exchange_id", "a", "b")
"""Arguments that name a session, or an exchange of one."""
_SECONDS: Final = 10.0
"""How long a handle that is not known is looked for."""
_DEEP: Final = 32


class Boundary:
    """One call's way in and out."""

    def __init__(self, service: Service, settings: McpSettings) -> None:
        self._service = service
        self._reveal = settings.reveal
        self._given: dict[str, str] = {}

    async def incoming(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Return a call's arguments with values in the place of handles.

        Raises:
            NotFoundError: a handle is none that wiretape gave.
        """
        handles = set(_handles_in(arguments, 0))
        if not handles:
            return arguments
        known = self._service.secrecy.veil.known
        unknown = {match[2] for one in handles if (match := HANDLE.fullmatch(one)) and not known.has(match[2])}
        if unknown:
            await self._look_for(unknown, arguments)
        self._given = {known.resolve(one): one for one in handles}
        resolved: dict[str, Any] = _each(arguments, known.resolve, 0)
        return resolved

    async def _look_for(self, handles: set[str], arguments: dict[str, Any]) -> None:
        """Look for handles in the sessions that the call is about, else in all: a daemon that was started since knows
        none.

        Raises:
            NotFoundError: they are in none that could be looked through.
        """
        library, secrecy = self._service.library, self._service.secrecy
        named = [_session_of(arguments[name]) for name in _NAMES if isinstance(arguments.get(name), str)]
        refs = [ref for ref in named if ref] or await asyncio.to_thread(library.catalogue.ids)
        until = time.monotonic() + _SECONDS
        through = 0
        for ref in refs:
            with contextlib.suppress(WiretapeError):
                through += await asyncio.to_thread(secrecy.look_for, await library.session(ref), handles, until)
            if all(secrecy.veil.known.has(digits) for digits in handles):
                return
            if time.monotonic() > until:
                break
        missing = next(digits for digits in sorted(handles) if not secrecy.veil.known.has(digits))
        written = next(one for one in _handles_in(arguments, 0) if missing in one)
        where = f"session {', '.join(refs)}" if named else f"{through} of {len(refs)} sessions"
        late = "" if through == len(refs) else f", which were not all read to their end in {_SECONDS:g} s"
        raise NotFoundError(
            f"No secret has the handle {written}: it was looked for in {where}{late}",
            hint="proxy_find_secrets lists the handles of a session; name the session that a handle is from",
            code="no-such-handle",
        )

    def refused(self, error: WiretapeError) -> None:
        """Hide in an error what came in as a handle: errors quote arguments, and cut them."""
        if self._reveal:
            return
        for value, handle in self._given.items():
            error.message = without_pieces(error.message, value, handle)
            error.hint = without_pieces(error.hint, value, handle)

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
        return [match[0] for match in HANDLE.finditer(value)] if "{{" in value else []
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
