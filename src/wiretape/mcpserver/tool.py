"""From one async function to one MCP tool: the signature is its schema, the docstring its description.

Arguments are strict, errors are results that say what to do next, results are structured with ``status`` first and a
compact JSON copy as text. All that is here once, so that a tool is nothing but its function.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, get_type_hints

from mcp.server.mcpserver import Context
from mcp.server.mcpserver.tools import Tool
from mcp.server.mcpserver.utilities.func_metadata import FuncMetadata, func_metadata
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult, TextContent, ToolAnnotations
from pydantic import ConfigDict, Field, ValidationError

from wiretape.daemon.service import Service
from wiretape.errors import WiretapeError
from wiretape.mcpserver.boundary import Boundary
from wiretape.mcpserver.complaints import argument_error
from wiretape.mcpserver.hints import for_tools, hint_for_tools
from wiretape.mcpserver.lean import lean
from wiretape.mcpserver.schema import input_schema, output_schema
from wiretape.secrets.veil import UNVEILED, Veil
from wiretape.settings import McpSettings

log = logging.getLogger(__name__)

Function = Callable[..., Awaitable[Any]]

PROGRESS_EVERY = 0.2
"""Seconds between two progress notifications of one call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hints:
    """What a client may be told of a tool before it calls it.

    Attributes:
        reads: it changes nothing at all.
        destroys: it may remove or end something that its caller cannot get back.
        repeats: calling it again with the same arguments changes nothing more.
        open_world: it reaches beyond this machine's own recordings; the protocol's default, so no list says it.
    """

    reads: bool = False
    destroys: bool = False
    repeats: bool = False
    open_world: bool = False


@dataclass(frozen=True, slots=True)
class Spec:
    """A tool before it is bound to a daemon.

    ``aliases`` are other names of its arguments, which are accepted and not listed: what other tools call the same.
    """

    function: Function
    title: str
    hints: Hints
    aliases: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The tool's name is its function's."""
        return str(getattr(self.function, "__name__", ""))


def tool(title: str, hints: Hints, *, aliases: Mapping[str, str] | None = None) -> Callable[[Function], Spec]:
    """Describe the async function below as a tool. Nothing is registered: ``TOOLSETS`` lists them."""

    def describe(function: Function) -> Spec:
        return Spec(function, title, hints, aliases or {})

    return describe


class Call:
    """What a tool's function gets besides its arguments.

    Attributes:
        service: the daemon.
        settings: what this client may do.
        veil: every recorded text that goes into an answer is shown through it (P18).
        context: the SDK's view of the request.
    """

    def __init__(self, service: Service, settings: McpSettings, context: Context[Any, Any]) -> None:
        self.service = service
        self.settings = settings
        self.veil: Veil = UNVEILED if settings.reveal else service.secrecy.veil
        self.context = context
        self._loop = asyncio.get_running_loop()
        self._next_report = 0.0
        self._reports: set[asyncio.Task[None]] = set()

    def progress(self, done: int, total: int) -> None:
        """Report progress from any thread; clients that did not ask for it get none."""
        self._loop.call_soon_threadsafe(self._report, done, total)

    async def reported(self) -> None:
        """Wait until what was reported has been sent: nothing may follow the answer."""
        await asyncio.gather(*self._reports, return_exceptions=True)

    def _report(self, done: int, total: int) -> None:
        if self._loop.time() < self._next_report:
            return
        self._next_report = self._loop.time() + PROGRESS_EVERY
        message = f"{done / 1e6:.0f} of {total / 1e6:.0f} MB of log read"
        task = self._loop.create_task(self.context.report_progress(done, total or None, message))
        self._reports.add(task)
        task.add_done_callback(self._reports.discard)


class WiretapeTool(Tool):
    """The SDK's tool with our way of arguments, results and errors."""

    service: Any = Field(exclude=True)
    settings: Any = Field(exclude=True)
    aliases: Any = Field(exclude=True)

    async def run(
        self, arguments: dict[str, Any], context: Context[Any, Any], convert_result: bool = False
    ) -> CallToolResult:
        """Call the function; whatever goes wrong on purpose is a result that says so."""
        del convert_result
        try:
            values = self.fn_metadata.validate_arguments(self._by_name(arguments))
        except ValidationError as error:
            return failure(argument_error(self.name, error, self.parameters))
        boundary = Boundary(self.service, self.settings)
        call = Call(self.service, self.settings, context)
        try:
            value = await self.fn(call, **await boundary.incoming(values))
            await call.reported()
            if isinstance(value, CallToolResult):
                return value  # blocks of its own, such as an image
        except WiretapeError as error:
            said = {"code": error.code, "message": for_tools(error.message), "hint": hint_for_tools(error)}
            return failure(await boundary.outgoing(said))
        except MCPError:
            raise
        except Exception:
            log.exception("the tool %s failed", self.name)
            return failure(
                {
                    "code": "internal",
                    "message": f"{self.name} failed in a way that wiretape did not foresee",
                    "hint": "the daemon's messages have the cause; proxy_status says whether recording goes on",
                }
            )
        return _success(await boundary.outgoing(lean(value)))

    def _by_name(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Call the arguments by their own names; one that was given by both is left for the check to refuse."""
        own = {self.aliases.get(name, name) for name in arguments}
        if len(own) < len(arguments):
            return arguments
        return {self.aliases.get(name, name): value for name, value in arguments.items()}


def build(spec: Spec, service: Service, settings: McpSettings) -> WiretapeTool:
    """Bind a tool to a daemon and to what a client may do."""
    metadata = func_metadata(spec.function, skip_names=["call"], structured_output=False)
    model = type(
        metadata.arg_model.__name__,
        (metadata.arg_model,),
        {"model_config": ConfigDict(extra="forbid"), "__module__": __name__},
    )
    result = get_type_hints(spec.function)["return"]
    listed = settings.schemas and result is not CallToolResult
    return WiretapeTool(
        fn=spec.function,
        name=spec.name,
        title=spec.title,
        description=inspect.getdoc(spec.function) or "",
        parameters=input_schema(model),
        fn_metadata=FuncMetadata(
            arg_model=model,
            output_schema=output_schema(result) if listed else None,
        ),
        is_async=True,
        context_kwarg=None,
        annotations=_annotations(spec.hints),
        service=service,
        settings=settings,
        aliases=spec.aliases,
    )


def _annotations(hints: Hints) -> ToolAnnotations:
    """Return what a client may do without asking; the rest is the protocol's default, which every tool would cost."""
    if hints.reads:
        return ToolAnnotations(read_only_hint=True)
    return ToolAnnotations(
        destructive_hint=None if hints.destroys else False,
        idempotent_hint=True if hints.repeats else None,
    )


def compact(value: Any) -> str:
    """Return JSON without a character too many: models pay for each."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _success(fields: dict[str, Any]) -> CallToolResult:
    answer = {"status": fields.pop("status", "success"), **fields}
    return CallToolResult(
        content=[TextContent(type="text", text=compact(answer))],
        structured_content=answer,
        is_error=answer["status"] == "failed",
    )


def failure(error: dict[str, str]) -> CallToolResult:
    """Return an error as text alone: structured content would have to be of the tool's own schema."""
    return CallToolResult(content=[TextContent(type="text", text=compact({"status": "error", **error}))], is_error=True)
