"""Asking as a model asks, over MCP in both eras of the protocol, and what each answer costs it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from mcp.client import Client

from wiretape.daemon.service import Service
from wiretape.mcpserver.server import make_server
from wiretape.settings import McpSettings, UpstreamSettings

ERAS: Final = ("auto", "legacy")
"""How the SDK's client begins: ``auto`` asks ``server/discover`` (2026-07-28), ``legacy`` sends ``initialize``."""
FACTOR: Final = 1.3
"""How much more than the ideal answer a job may cost."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a tool said: its text, and that as JSON."""

    text: str
    value: dict[str, Any]
    root: Path

    @property
    def tokens(self) -> int:
        """What it costs: bytes of the text block / 4. Where the root lies is not the answer's doing."""
        return tokens(self.text, self.root)


def tokens(text: str, root: Path) -> int:
    """Return the tokens of a text; the root's path counts as ``…``, as the ideal answers write it."""
    return len(text.replace(str(root), "…").encode()) // 4


class Asker:
    """Calls tools, and keeps what each call cost."""

    def __init__(self, client: Client, root: Path) -> None:
        self._client = client
        self._root = root

    async def __call__(self, tool: str, **arguments: Any) -> Answer:
        """Call a tool that has to succeed; the text block is all that a model reads, and is the structured content."""
        result = await self._client.call_tool(tool, arguments)
        while not result.is_error and result.structured_content["status"] == "running":  # on a busy machine
            result = await self._client.call_tool(tool, arguments)
        (block,) = result.content
        assert not result.is_error, block
        text = block.text  # type: ignore[union-attr]
        assert json.loads(text) == result.structured_content
        assert next(iter(result.structured_content)) == "status"
        return Answer(text, result.structured_content, self._root)


def ask(
    root: Path, era: str, conversation: Callable[[Asker], Awaitable[T]], *, ca: Path | None = None, **wishes: Any
) -> T:
    """Serve a root to a conversation, in this process, with the tools that a client gets which asks for nothing.

    Args:
        root: the root.
        era: one of ERAS.
        conversation: what is asked.
        ca: whom to trust for servers.
        wishes: other settings of the server.
    """

    async def both() -> T:
        service = Service(root, UpstreamSettings(ca=ca))
        try:
            async with Client(make_server(service, McpSettings(**wishes)), mode=era) as client:
                return await conversation(Asker(client, root))
        finally:
            await service.close()

    return asyncio.run(both())
