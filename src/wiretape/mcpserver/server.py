"""The MCP server: which tools, for which daemon. It is made once per connection's wishes and never changes its list."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

from mcp.server import MCPServer
from mcp.server.lowlevel.helper_types import ReadResourceContents
from mcp.server.mcpserver import Context
from mcp_types import CallToolResult, InputRequiredResult, Resource
from pydantic import AnyUrl

from wiretape import __version__
from wiretape.daemon.service import Service
from wiretape.errors import UsageError
from wiretape.mcpserver.boundary import Boundary
from wiretape.mcpserver.completion import add_completion
from wiretape.mcpserver.instructions import instructions
from wiretape.mcpserver.prompts import add_prompts
from wiretape.mcpserver.resources import add_resources, session_resources
from wiretape.mcpserver.tool import Spec, build, failure
from wiretape.mcpserver.tools import ALL, TOOLSETS
from wiretape.secrets.veil import UNVEILED
from wiretape.settings import McpSettings


def check_toolsets(toolsets: Iterable[str]) -> None:
    """Refuse toolsets that do not exist.

    Raises:
        UsageError: naming those that do.
    """
    unknown = [name for name in toolsets if name not in TOOLSETS and name != ALL]
    if unknown:
        raise UsageError(
            f"There is no toolset {', '.join(repr(name) for name in unknown)}",
            hint=f"there are {', '.join(TOOLSETS)} and {ALL}",
        )


def chosen(settings: McpSettings) -> list[Spec]:
    """Return the tools that are asked for, always in the same order.

    Raises:
        UsageError: there is no such toolset.
    """
    check_toolsets(settings.toolsets)
    wanted = TOOLSETS if ALL in settings.toolsets else settings.toolsets
    return [
        spec
        for name, specs in TOOLSETS.items()
        if name in wanted
        for spec in specs
        if spec.hints.reads or not settings.read_only
    ]


class WiretapeServer(MCPServer[dict[str, object]]):
    """The SDK's server, which names the tools there are when one is called that is not.

    Attributes:
        boundary: what resources pass on their way out; the tools have it themselves.
    """

    boundary: Boundary | None = None
    service: Service | None = None

    async def list_resources(self) -> list[Resource]:
        """List the resources, and those of the newest sessions."""
        listed = await super().list_resources()
        return listed if self.service is None else [*listed, *await session_resources(self.service)]

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Context[dict[str, object], Any] | None = None
    ) -> CallToolResult | InputRequiredResult:
        """Call a tool; an unknown one is an error result that names those there are."""
        if self._tool_manager.get_tool(name) is None:
            known = ", ".join(tool.name for tool in self._tool_manager.list_tools())
            message, hint = f"There is no tool {name[:80]!r} on this connection", f"there are {known}"
            toolset = next((key for key, specs in TOOLSETS.items() if name in {spec.name for spec in specs}), None)
            if toolset is not None:
                hint = f"it is in the toolset {toolset}, which `wiretape mcp --toolsets core,{toolset}` offers; {hint}"
            return failure({"code": "unknown-tool", "message": message, "hint": hint})
        return await super().call_tool(name, arguments, context)

    async def read_resource(
        self, uri: AnyUrl | str, context: Context[dict[str, object], Any] | None = None
    ) -> Iterable[ReadResourceContents] | InputRequiredResult:
        """Read a resource; secrets stay here."""
        contents = await super().read_resource(uri, context)
        if self.boundary is None or isinstance(contents, InputRequiredResult):
            return contents
        return [
            dataclasses.replace(one, content=await self.boundary.text(one.content))
            if isinstance(one.content, str)
            else one
            for one in contents
        ]


def make_server(service: Service, settings: McpSettings = McpSettings()) -> WiretapeServer:  # noqa: B008  it is frozen
    """Make an MCP server that speaks for a daemon.

    Raises:
        UsageError: there is no such toolset.
    """
    specs = chosen(settings)
    if not settings.reveal:
        service.library.before = service.secrecy.learn
    server = WiretapeServer(
        "wiretape",
        title="wiretape",
        version=__version__,
        instructions=instructions({spec.name for spec in specs}),
        tools=[build(spec, service, settings) for spec in specs],
        subscriptions=False,
    )
    server.boundary = Boundary(service, settings)
    server.service = service
    veil = UNVEILED if settings.reveal else service.secrecy.veil
    add_resources(server, service, veil)
    add_prompts(server)
    add_completion(server, service, veil)
    return server
