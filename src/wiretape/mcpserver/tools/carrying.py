"""Tools: what is carried away of a recording, and what must not be."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from pydantic import Field

from wiretape.errors import UsageError
from wiretape.mcpserver import arguments as arg
from wiretape.mcpserver.output_files import output_path
from wiretape.mcpserver.tool import Call, Hints, tool
from wiretape.model import Filter, Lean
from wiretape.new_file import new_file
from wiretape.session.answers.curl import curl_command
from wiretape.session.answers.export import Exported, export_file
from wiretape.session.answers.export_formats import SUFFIXES, Export
from wiretape.session.answers.secrets import SecretsFound, find_secrets
from wiretape.session.ids import split_address
from wiretape.session.session import Session


class HarExported(Lean, frozen=True):
    """A HAR that was written."""

    session_id: str
    output_file: str
    entries: int
    export: Exported


@tool("Find secrets", Hints(reads=True))
async def proxy_find_secrets(
    call: Call,
    session_id: arg.SessionId,
    kinds: Annotated[list[str] | None, Field(description='Only these, such as "jwt", "password", "email"')] = None,
    custom: Annotated[list[str] | None, Field(description="Further regular expressions (RE2)")] = None,
) -> SecretsFound:
    """List secrets and e-mail addresses of a session: kind, handle, how often, where; never the values. Handles
    {{kind:id}} stand for them in all answers and can be arguments. To share without them: proxy_export.
    """
    known = call.service.secrecy.veil.known
    return await call.service.library.ask(
        session_id,
        lambda session: find_secrets(session, known, kinds=kinds, custom=custom or (), progress=call.progress),
    )


OutputFile = Annotated[
    str | None, Field(description="A new file in the client's folder or <root>/exports; default chooses one there")
]


@tool("Export", Hints())
async def proxy_export(
    call: Call,
    what: Annotated[Literal["har", "curl", "httpx", "pytest", "openapi", "ndjson"], Field(description="The format")],
    session_id: Annotated[str | list[str] | None, Field(description="A session; for openapi also several")] = None,
    exchange: Annotated[str | None, Field(description='One exchange instead, such as "last:31"')] = None,
    redact: Annotated[bool, Field(description="Replace secrets and e-mail addresses, checked by a second scan")] = True,
    output_file: OutputFile = None,
) -> Exported:
    """Write exchanges to a new file: HAR, curl, httpx, pytest, OpenAPI, ndjson. One exchange as curl comes as text, its
    secrets as variables whose values are in envFile.
    """
    names = [session_id] if isinstance(session_id, str) else list(session_id or [])
    seqs: list[int] = []
    if exchange is not None:
        address = split_address(exchange)
        names, seqs = [address.session or "last"], [address.seq]
    if not names:
        raise UsageError("proxy_export needs session_id or exchange", hint="proxy_list_sessions names the sessions")
    if what == "curl" and seqs:
        return await _curl(call, names[0], seqs[0], output_file)
    export = Export(what, Filter(seqs=seqs or None), redact=redact, title=", ".join(names))
    return await _export(call, names, export, output_file)


async def _curl(call: Call, ref: str, seq: int, output_file: str | None) -> Exported:
    name = await _name(call, ref)
    target = output_path(call.service.root, call.settings, output_file, stem=f"{name}-{seq}", suffix=".env")

    def ask(session: Session) -> Exported:
        command, lines = curl_command(session, seq)
        if not lines:
            return command
        with new_file(target) as file:
            file.write(lines.encode("utf-8", "surrogatepass"))
        return msgspec.structs.replace(command, env_file=str(target))

    return await call.service.library.ask(ref, ask)


async def _name(call: Call, ref: str) -> str:
    return (await call.service.library.summary(ref)).name


async def _export(call: Call, refs: list[str], export: Export, output_file: str | None) -> Exported:
    stem = "-".join(
        [await _name(call, ref) for ref in refs] + [str(seq) for seq in (export.wanted or Filter()).seqs or ()][:1]
    )
    target = output_path(call.service.root, call.settings, output_file, stem=stem, suffix=SUFFIXES[export.format])
    others = [await call.service.library.session(ref) for ref in refs[1:]]
    return await call.service.library.ask(
        refs[0], lambda session: export_file([session, *others], export, target, progress=call.progress)
    )


@tool("Export a HAR", Hints())
async def proxy_export_har(
    call: Call,
    session_id: arg.SessionId,
    output_file: OutputFile = None,
    include_bodies: Annotated[bool, Field(description="false: sizes alone")] = True,
    method: arg.Method = None,
    hostname_contains: arg.HostContains = None,
    url_contains: arg.UrlContains = None,
    status_code: arg.StatusCode = None,
    from_ts: arg.Timestamp = None,
    to_ts: arg.Timestamp = None,
    text: arg.Text = None,
    sort: arg.Sort = "asc",
    redact: Annotated[bool, Field(description="Replace secrets and e-mail addresses")] = True,
) -> HarExported:
    """Write a session as HAR 1.2; proxy_export with what="har" does the same."""
    wanted = Filter(
        method=method,
        host_contains=hostname_contains,
        url_contains=url_contains,
        status=status_code,
        from_ts=from_ts,
        to_ts=to_ts,
        text=text,
    )
    export = Export("har", wanted, redact=redact, bodies=include_bodies, sort=sort)
    found = await _export(call, [session_id], export, output_file)
    session = await call.service.library.resolve(session_id)
    return HarExported(session_id=session, output_file=found.file or "", entries=found.exchanges or 0, export=found)


TOOLS = (proxy_find_secrets, proxy_export, proxy_export_har)
