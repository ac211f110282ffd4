"""MCP over Streamable HTTP, as an ASGI application that imports the SDK when the first client comes (60 MiB)."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

from wiretape.api.access import App, Message, Receive, Scope, Send

if TYPE_CHECKING:
    from mcp.server import MCPServer

MAX_SESSIONS: Final = 200
"""Sessions that are kept; the one that was not used longest is ended for a new one. Each takes 41 KB."""

IDLE_SECONDS: Final = 1800.0
"""Seconds without a request after which a session ends; an open stream of a client is a request."""

_SESSION_ID: Final = b"mcp-session-id"


class McpOverHttp:
    """Answers MCP requests; begins with the first one.

    Args:
        make: makes the server.
        max_sessions: how many sessions are kept.
        idle_seconds: how long a session may go unused.
    """

    def __init__(
        self,
        make: Callable[[], Awaitable[MCPServer[Any]]],
        *,
        max_sessions: int = MAX_SESSIONS,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        self._make = make
        self._max_sessions = max_sessions
        self._idle_seconds = idle_seconds
        self._running: asyncio.Task[None] | None = None
        self._app: asyncio.Future[App] | None = None
        self._closing = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if self._app is None:
            self._app = asyncio.get_running_loop().create_future()
            self._running = asyncio.create_task(self._run(self._app))
        app = await asyncio.shield(self._app)
        await app(scope, receive, send)

    async def close(self) -> None:
        """End all sessions."""
        self._closing.set()
        if self._running is not None:
            await self._running

    async def _run(self, ready: asyncio.Future[App]) -> None:
        """Hold the SDK's sessions open until closed; they belong to one task."""
        try:
            server = await self._make()
            from mcp.server.transport_security import TransportSecuritySettings  # noqa: PLC0415

            # Host and Origin are checked by the API, for every path; and its own sessions are ended by us sooner.
            app = server.streamable_http_app(
                transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
                session_idle_timeout=self._idle_seconds,
                max_sessions=2 * self._max_sessions,
            )
            async with app.router.lifespan_context(app):
                ready.set_result(Sessions(app, self._max_sessions))
                await self._closing.wait()
        except Exception as error:
            if ready.done():
                raise
            ready.set_exception(error)


class Sessions:
    """Keeps the number of sessions bounded: the one that was not used longest makes room for a new one (P8).

    Args:
        app: the SDK's application.
        most: how many are kept; those with a request running are not counted out.
    """

    def __init__(self, app: App, most: int) -> None:
        self._app = app
        self._most = most
        self._used: OrderedDict[bytes, int] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on, and take note of the session that it uses or begins."""
        known = next((value for name, value in scope["headers"] if name == _SESSION_ID), None)
        mine: list[bytes] = []

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] < 400 and not mine:
                begun = next((value for name, value in message["headers"] if name.lower() == _SESSION_ID), None)
                if begun is not None and begun not in self._used:
                    self._begin(begun)
                    mine.append(begun)
            await send(message)

        if known in self._used:
            assert known is not None
            self._begin(known)
            mine.append(known)
        try:
            await self._app(scope, receive, noting)
        finally:
            for session in mine:
                self._end(session, forget=scope["method"] == "DELETE")
        while len(self._used) > self._most and (oldest := self._idle()) is not None:
            await self._close(oldest)

    def _begin(self, session: bytes) -> None:
        self._used[session] = self._used.get(session, 0) + 1
        self._used.move_to_end(session)

    def _end(self, session: bytes, *, forget: bool) -> None:
        if forget:
            self._used.pop(session, None)
        elif session in self._used:
            self._used[session] -= 1
            self._used.move_to_end(session)

    def _idle(self) -> bytes | None:
        return next((session for session, running in self._used.items() if not running), None)

    async def _close(self, session: bytes) -> None:
        """End a session as its client would: with DELETE (Streamable HTTP, "Session Management")."""
        del self._used[session]
        scope: Scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "DELETE",
            "scheme": "http",
            "path": "/mcp",
            "raw_path": b"/mcp",
            "root_path": "",
            "query_string": b"",
            "headers": [(b"host", b"localhost"), (_SESSION_ID, session)],
        }
        await self._app(scope, _nothing, _nowhere)


async def _nothing() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _nowhere(_: Message) -> None:
    return None
