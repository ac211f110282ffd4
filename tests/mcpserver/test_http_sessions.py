"""MCP sessions over HTTP are bounded in number and in time (P8)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from wiretape.daemon.service import Service
from wiretape.mcpserver.http import McpOverHttp
from wiretape.mcpserver.server import make_server
from wiretape.settings import UpstreamSettings

HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
}
PING = {"jsonrpc": "2.0", "id": 2, "method": "ping"}


class Client:
    """Sends one request after another to the application itself."""

    def __init__(self, app: McpOverHttp) -> None:
        self._app = app

    async def post(self, message: dict[str, Any], session: str = "") -> tuple[int, str]:
        """Return the status and the session's id."""
        sent: list[Any] = []
        body = json.dumps(message).encode()
        asked = False

        async def receive() -> Any:
            nonlocal asked
            if asked:
                await asyncio.Event().wait()  # a client that stays connected
            asked = True
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(part: Any) -> None:
            sent.append(part)

        headers = [
            (b"host", b"localhost"),
            (b"content-type", b"application/json"),
            (b"accept", b"application/json, text/event-stream"),
        ]
        if session:
            headers.append((b"mcp-session-id", session.encode()))
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": "/mcp",
            "raw_path": b"/mcp",
            "root_path": "",
            "query_string": b"",
            "headers": headers,
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 2),
        }
        await self._app(scope, receive, send)
        fields = {name.decode().lower(): value.decode() for name, value in sent[0]["headers"]}
        return sent[0]["status"], fields.get("mcp-session-id", "")


def talk(root: Path, conversation: Callable[[Client], Awaitable[None]], **bounds: Any) -> None:
    async def main() -> None:
        service = Service(root, UpstreamSettings())

        async def make() -> Any:
            return make_server(service)

        app = McpOverHttp(make, **bounds)
        try:
            async with asyncio.timeout(60):
                await conversation(Client(app))
        finally:
            await app.close()
            await service.close()

    asyncio.run(main())


def test_the_session_unused_longest_makes_room_for_a_new_one(root: Path) -> None:
    async def conversation(client: Client) -> None:
        sessions = [(await client.post(HELLO))[1] for _ in range(3)]
        assert len(set(sessions)) == 3
        assert (await client.post(PING, sessions[0]))[0] == 200
        fourth = (await client.post(HELLO))[1]
        # The second was unused longest: the first has been used since.
        statuses = [(await client.post(PING, session))[0] for session in (*sessions, fourth)]
        assert statuses == [200, 404, 200, 200]

    talk(root, conversation, max_sessions=3)


def test_a_session_that_nobody_uses_ends(root: Path) -> None:
    async def conversation(client: Client) -> None:
        session = (await client.post(HELLO))[1]
        status = 200
        while status == 200:
            await asyncio.sleep(0.06)  # longer than a session may be idle: only time can show it
            status, _ = await client.post(PING, session)
        assert status == 404

    talk(root, conversation, idle_seconds=0.05)


def test_it_can_be_closed_before_anybody_came(root: Path) -> None:
    async def conversation(_: Client) -> None:
        return None

    talk(root, conversation)
