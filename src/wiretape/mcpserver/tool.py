"""From one async function to one MCP tool: the signature is its schema, the docstring its description.

Arguments are strict, errors are results that say what to do next, results are structured with ``status`` first and a
compact JSON copy as text. All that is here once, so that a tool is nothing but its function.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import json
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self, get_type_hints

from mcp.server.mcpserver import Context
from mcp.server.mcpserver.tools import Tool
from mcp.server.mcpserver.utilities.func_metadata import FuncMetadata, func_metadata
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult, InputRequiredResult, TextContent, ToolAnnotations
from pydantic import ConfigDict, Field, ValidationError

from wiretape.daemon.jobs import Job, Jobs
from wiretape.daemon.service import Service
from wiretape.errors import WiretapeError
from wiretape.mcpserver.boundary import Boundary
from wiretape.mcpserver.complaints import argument_error
from wiretape.mcpserver.hints import for_tools, hint_for_tools
from wiretape.mcpserver.lean import lean
from wiretape.mcpserver.schema import input_schema, output_schema
from wiretape.mcpserver.unfinished import Running, running
from wiretape.secrets.veil import UNVEILED, Veil
from wiretape.settings import McpSettings

log = logging.getLogger(__name__)

Function = Callable[..., Awaitable[Any]]

JOB: Final = "proxy_job"
"""The tool that asks for what takes long."""
_TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", re.ASCII)
PROGRESS_EVERY = 0.2
"""Seconds between two progress notifications of one call."""
PATIENCE = 5.0
"""Seconds that an answer may take; of what takes longer a job is told, and the work goes on."""
PATIENCE_WITH_PROGRESS = 45.0
"""The same for a client that is told of progress meanwhile: many give up after a minute all the same."""


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
    ``long`` says that its work may take longer than an answer may: then it becomes a job.
    """

    function: Function
    title: str
    hints: Hints
    aliases: Mapping[str, str] = field(default_factory=dict)
    long: bool = False

    @property
    def name(self) -> str:
        """The tool's name is its function's."""
        return str(getattr(self.function, "__name__", ""))


def tool(
    title: str, hints: Hints, *, aliases: Mapping[str, str] | None = None, long: bool = False
) -> Callable[[Function], Spec]:
    """Describe the async function below as a tool. Nothing is registered: ``TOOLSETS`` lists them."""

    def describe(function: Function) -> Spec:
        return Spec(function, title, hints, aliases or {}, long)

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
        self.job: Job | None = None

    async def offers(self, name: str) -> bool:
        """Return whether this client has a tool."""
        return any(one.name == name for one in await self.context.mcp_server.list_tools())

    def progress(self, unit: str) -> Callable[[int, int], None]:
        """Return what takes note of progress, from any thread: so many of ``unit`` done, and in all.

        It raises ``JobCancelledError`` where the work is not wanted any more.
        """
        job = self.job
        return lambda done, total: job.progress(done, total, unit) if job is not None else None


class _Reports:
    """Tells a client of the progress of a job, while it waits."""

    def __init__(self, job: Job, context: Context[Any, Any]) -> None:
        self._job = job
        self._context = context
        self._loop = asyncio.get_running_loop()
        self._next = 0.0
        self._sent: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Self:
        self._job.watch = self._report
        return self

    def __exit__(self, *_: object) -> None:
        if self._job.watch == self._report:
            self._job.watch = None

    async def sent(self) -> None:
        """Wait until all is sent: nothing may follow the answer."""
        await asyncio.gather(*self._sent, return_exceptions=True)

    def _report(self) -> None:
        if self._loop.time() < self._next:
            return
        self._next = self._loop.time() + PROGRESS_EVERY
        job = self._job
        task = self._loop.create_task(self._context.report_progress(job.done, job.total or None, how_far(job)))
        self._sent.add(task)
        task.add_done_callback(self._sent.discard)


def how_far(job: Job) -> str:
    """Return how far a job is, in words."""
    if not job.unit:
        return "begun"
    if job.unit == "bytes":
        return f"{job.done / 1e6:.0f} of {job.total / 1e6:.0f} MB"
    return f"{job.done:,} of {job.total:,} {job.unit}" if job.total else f"{job.done:,} {job.unit}"


class WiretapeTool(Tool):
    """The SDK's tool with our way of arguments, results and errors."""

    service: Any = Field(exclude=True)
    settings: Any = Field(exclude=True)
    aliases: Any = Field(exclude=True)
    long: Any = Field(exclude=True)

    async def run(
        self, arguments: dict[str, Any], context: Context[Any, Any], convert_result: bool = False
    ) -> CallToolResult | InputRequiredResult:
        """Call the function; whatever goes wrong on purpose is a result that says so."""
        del convert_result
        try:
            values = self.fn_metadata.validate_arguments(self._by_name(arguments))
        except ValidationError as error:
            return failure(argument_error(self.name, error, self.parameters))
        boundary = Boundary(self.service, self.settings)
        call = Call(self.service, self.settings, context)
        try:
            given = await boundary.incoming(values)
            await note_trace(call, self.name)
            value = await (self._long(call, given, boundary) if self.long else self._own(call, given, boundary))
            if isinstance(value, CallToolResult | InputRequiredResult):
                return value  # blocks of its own, such as an image, or a question to the client
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

    async def _own(self, call: Call, given: dict[str, Any], boundary: Boundary) -> Any:
        """Return what the function gives."""
        try:
            return await self.fn(call, **given)
        except WiretapeError as error:
            boundary.refused(error)
            raise

    async def _long(self, call: Call, given: dict[str, Any], boundary: Boundary) -> Any:
        """Return what the function gives, or, where that takes too long, what can be asked for it."""
        jobs: Jobs = self.service.jobs
        key = f"{self.name} {json.dumps(given, sort_keys=True, default=str)}"
        job = jobs.same(key, open_=self.settings.reveal)
        begun = job is None
        if job is None:

            async def work(job: Job) -> Any:
                call.job = job
                return await self._own(call, given, boundary)

            job = jobs.begin(self.name, key, work, open_=self.settings.reveal)
        try:
            with _Reports(job, call.context) as reports:
                ended = await job.within(PATIENCE_WITH_PROGRESS if _wants_progress(call.context) else PATIENCE)
            await reports.sent()
        except asyncio.CancelledError:
            if begun:
                job.cancel()  # who asked for it has taken it back
            raise
        if not ended:
            return running(job, how_far(job), asked_by=JOB if await call.offers(JOB) else self.name)
        jobs.settle(job)
        return job.task.result()

    def _by_name(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Call the arguments by their own names; one that was given by both is left for the check to refuse."""
        own = {self.aliases.get(name, name) for name in arguments}
        if len(own) < len(arguments):
            return arguments
        return {self.aliases.get(name, name): value for name, value in arguments.items()}


def _wants_progress(context: Context[Any, Any]) -> bool:
    meta = context.request_context.meta or {}
    return "progress_token" in meta or "progressToken" in meta


async def note_trace(call: Call, name: str) -> None:
    """Mark the moment of a call that is part of a trace (W3C Trace Context, in ``_meta``) in what is recorded now."""
    trace = (call.context.request_context.meta or {}).get("traceparent")
    if not isinstance(trace, str) or _TRACEPARENT.fullmatch(trace) is None or call.service.recorded_session is None:
        return
    with contextlib.suppress(WiretapeError):  # it may end just now
        await call.service.mark(f"{name} {trace}")


@functools.cache
def _described(function: Function, long: bool, schemas: bool) -> tuple[FuncMetadata, dict[str, Any]]:
    """Return what a function takes and gives, as the SDK wants it, and the schema of what it takes.

    To find out takes 5 ms a tool, in the daemon's loop: once has to do for all clients that will ever come.
    """
    metadata = func_metadata(function, skip_names=["call"], structured_output=False)
    model = type(
        metadata.arg_model.__name__,
        (metadata.arg_model,),
        {"model_config": ConfigDict(extra="forbid"), "__module__": __name__},
    )
    result = get_type_hints(function)["return"]
    listed = schemas and result is not CallToolResult
    schema = output_schema(result | Running if long else result) if listed else None
    return FuncMetadata(arg_model=model, output_schema=schema), input_schema(model)


def build(spec: Spec, service: Service, settings: McpSettings) -> WiretapeTool:
    """Bind a tool to a daemon and to what a client may do."""
    metadata, parameters = _described(spec.function, spec.long, settings.schemas)
    return WiretapeTool(
        fn=spec.function,
        name=spec.name,
        title=spec.title,
        description=inspect.getdoc(spec.function) or "",
        parameters=parameters,
        fn_metadata=metadata,
        is_async=True,
        context_kwarg=None,
        annotations=_annotations(spec.hints),
        service=service,
        settings=settings,
        aliases=spec.aliases,
        long=spec.long,
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
