"""Content blocks of a tool's own go through as they are; what the conformance suite is given over our own layer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from mcp.client import Client

from tests.mcpserver.conformance.fixtures import fixture_server
from wiretape.daemon.service import Service
from wiretape.settings import UpstreamSettings


def with_fixtures(root: Path, ask: Callable[[Client], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        service = Service(root, UpstreamSettings())
        try:
            async with Client(fixture_server(service)) as client:
                return await ask(client)
        finally:
            await service.close()

    return asyncio.run(main())


def test_blocks_are_passed_on_and_errors_are_results(root: Path) -> None:
    async def ask(client: Client) -> None:
        image = await client.call_tool("test_image_content", {})
        assert [block.type for block in image.content] == ["image"]
        assert image.structured_content is None
        mixed = await client.call_tool("test_multiple_content_types", {})
        assert [block.type for block in mixed.content] == ["text", "image", "resource"]
        failed = await client.call_tool("test_error_handling", {})
        assert failed.is_error
        unknown = await client.call_tool("test_simple_text", {"x": 1})
        assert unknown.is_error

    with_fixtures(root, ask)


def test_progress_is_reported_before_the_answer(root: Path) -> None:
    async def ask(client: Client) -> list[float]:
        seen: list[float] = []

        async def report(progress: float, total: float | None, message: str | None) -> None:
            assert (total, bool(message)) == (100, True)
            seen.append(progress)

        await client.call_tool("test_tool_with_progress", {}, progress_callback=report)
        return seen

    assert with_fixtures(root, ask) == [0, 50, 100]
