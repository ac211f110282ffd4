"""Tools: what takes long, asked for again."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from wiretape.errors import WiretapeError
from wiretape.mcpserver import arguments as arg
from wiretape.mcpserver.hints import for_tools
from wiretape.mcpserver.tool import Call, Hints, how_far, tool
from wiretape.mcpserver.unfinished import Progress
from wiretape.model import Lean


class JobTold(Lean, frozen=True, kw_only=True):
    """How a job stands; ``result`` is what its tool would have answered."""

    job: str
    tool: str
    state: str
    seconds: float
    progress: Progress
    result: Any = None
    error: dict[str, str] | None = None


@tool("A job", Hints(repeats=True), aliases={"job": "job_id"})
async def proxy_job(
    call: Call,
    job_id: Annotated[str, Field(min_length=1, description="From the answer with status running")],
    cancel: Annotated[bool, Field(description="End it; what it wrote is removed")] = False,
    wait_ms: Annotated[int, Field(ge=0, le=60_000), arg.hidden()] = 5_000,
) -> JobTold:
    """Wait for what takes long, at most 5 s: state, progress, and the result of its tool once it is done."""
    job = call.service.jobs.find(job_id, open_=call.settings.reveal)
    if cancel:
        job.cancel()
    await job.within(wait_ms / 1000)
    result, error = None, None
    if job.task.done() and not job.task.cancelled():
        failed = job.task.exception()
        if failed is None:
            result = job.task.result()
            call.service.jobs.settle(job)
        elif isinstance(failed, WiretapeError):
            error = {"code": failed.code, "message": for_tools(failed.message)}
        else:
            error = {"code": "internal", "message": f"{job.what} failed in a way that wiretape did not foresee"}
    return JobTold(
        job=job.number,
        tool=job.what,
        state=job.state,
        seconds=round(job.seconds, 1),
        progress=Progress(job.done, job.total, how_far(job)),
        result=result,
        error=error,
    )
