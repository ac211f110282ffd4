"""Tools: commands that are recorded."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated, Final

import msgspec
from pydantic import Field

from wiretape.daemon.command import CommandOptions, Ended, program_of, run_command
from wiretape.errors import UsageError, WiretapeError
from wiretape.mcpserver import arguments as arg
from wiretape.mcpserver.tool import Call, Hints, tool
from wiretape.model import Lean, Table
from wiretape.session.answers.run import RunSummary, run_summary

_TAIL: Final = 1_500
"""Characters of what a command printed that an answer has of each stream."""


class Ran(Lean, frozen=True, kw_only=True):
    """A command that has ended: what it caused, and the ends of what it printed."""

    exit: int
    seconds: float
    session: str
    session_id: str
    exchanges: int
    failed: int
    errors: Table | None = None
    stdout_tail: str
    stderr_tail: str
    timed_out: bool = False
    warnings: list[str] = msgspec.field(default_factory=list)


@tool("Run a command, recorded", Hints(destroys=True, open_world=True))
async def proxy_run(
    call: Call,
    command: Annotated[list[str], Field(min_length=1, description='Program and arguments: ["npm", "test"]; no shell')],
    cwd: Annotated[str | None, Field(description="Folder to run in")] = None,
    env: Annotated[dict[str, str] | None, Field(description="Further variables")] = None,
    timeout_s: Annotated[float, Field(gt=0, le=3600, description="It is ended then")] = 60,
    session_name: arg.SessionName = None,
    upstream_ca: Annotated[str | None, Field(description="PEM file of roots to trust for servers")] = None,
) -> Ran:
    """Run a command with proxy and CA set, recorded whole in a session of its own, and wait for its end. Gives exit
    status, errors by kind and warnings when nothing was recorded; then proxy_session_overview or proxy_compare.
    """
    folder = _folder(call, cwd)
    words = tuple(command)
    program = program_of(words, folder)
    options = CommandOptions(
        root=call.service.root,
        words=words,
        name=session_name or Path(words[0]).name,
        insecure_upstream=call.service.upstream.insecure,
        upstream_ca=arg.existing_file("upstream_ca", upstream_ca) or call.service.upstream.ca,
        folder=folder,
        variables=env or {},
        timeout=timeout_s,
        quiet=True,
    )
    if call.service.recorded_session is not None:
        with contextlib.suppress(WiretapeError):  # what is recorded beside it may end just now
            await call.service.mark(f"proxy_run {Path(words[0]).name}"[:100])
    ended = await run_command(options, program)
    library = call.service.library
    summary = await library.ask(ended.session_id, lambda session: run_summary(session, veil=call.veil, trust=arg.TRUST))
    return _told(call, ended, summary, await library.called(ended.session_id), timeout_s)


def _told(call: Call, ended: Ended, summary: RunSummary, called: str, timeout: float) -> Ran:
    late = [f"It was ended after {timeout:g} s (timeout_s)."] if ended.timed_out else []
    return Ran(
        exit=ended.status,
        seconds=round(ended.seconds, 1),
        session=called,
        session_id=ended.session_id,
        exchanges=summary.exchanges,
        failed=summary.failed,
        errors=summary.errors,
        stdout_tail=_tail(call, ended.stdout),
        stderr_tail=_tail(call, ended.stderr),
        timed_out=ended.timed_out,
        warnings=[*late, *summary.warnings],
    )


def _tail(call: Call, data: bytes) -> str:
    """Return the end of what was printed, its secrets hidden before it is cut."""
    text = call.veil.text(data.decode("utf-8", "replace").rstrip("\n"))
    return text if len(text) <= _TAIL else "…" + text[1 - _TAIL :]


def _folder(call: Call, cwd: str | None) -> Path | None:
    """Return the folder to run in: the one that is named, else where the client was started.

    Raises:
        UsageError: there is no such folder.
    """
    if cwd is None:
        return call.settings.folder
    try:
        folder = Path(cwd).expanduser().absolute()
        found = folder.is_dir()
    except (OSError, RuntimeError, ValueError) as error:
        raise UsageError(f"cwd: {cwd[:80]!r} is not a path of a folder: {error}", hint="give a folder") from error
    if not found:
        raise UsageError(f"cwd: there is no folder {str(folder)[:400]}", hint="give one that exists")
    return folder
