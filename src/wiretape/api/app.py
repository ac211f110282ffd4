"""What the API serves, by path: MCP and the page. Who may ask is access.py's, how it listens server.py's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from wiretape.api.access import MCP_PATH, LocalOnly, Receive, Scope, Send, TokenOnly, answer

_TEXT: Final = "text/plain; charset=utf-8"


class Mounted(Protocol):
    """An ASGI application that begins with its first request, and is closed at the end."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        ...

    async def close(self) -> None:
        """End what was begun."""
        ...


class Api:
    """The application of one daemon.

    Args:
        mcp: what answers MCP.
        page: returns the text for a person who opens the address.
        token: what every request has to carry.
        host: where it listens.
        port: where it listens.
    """

    def __init__(self, mcp: Mounted, page: Callable[[], Awaitable[str]], token: str, host: str, port: int) -> None:
        self._mcp = mcp
        self._page = page
        self._guarded = LocalOnly(TokenOnly(self._route, token, port), frozenset({host}))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        await self._guarded(scope, receive, send)

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == MCP_PATH:
            await self._mcp(scope, receive, send)
        elif scope["path"] != "/":
            await answer(send, 404, f"There is nothing here: MCP is at {MCP_PATH}, the page at /")
        elif scope["method"] not in {"GET", "HEAD"}:
            await answer(send, 405, "the page can only be read", [(b"allow", b"GET, HEAD")])
        else:
            await _send_text(send, await self._page(), with_body=scope["method"] == "GET")


async def _send_text(send: Send, text: str, *, with_body: bool) -> None:
    body = text.encode()
    headers = [
        (b"content-type", _TEXT.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body if with_body else b""})
