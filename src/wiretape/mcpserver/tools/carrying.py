"""Tools: what is carried away of a recording, and what must not be."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from pydantic import Field

from wiretape.daemon.resend import resend
from wiretape.errors import NotFoundError, UsageError
from wiretape.mcpserver import arguments as arg
from wiretape.mcpserver.output_files import output_path
from wiretape.mcpserver.tool import Call, Hints, tool
from wiretape.model import ExchangeDetail, Filter, Lean, SessionSummary
from wiretape.new_file import new_file
from wiretape.session.answers.curl import curl_command
from wiretape.session.answers.export import Exported, export_file
from wiretape.session.answers.export_formats import SUFFIXES, Export
from wiretape.session.answers.handshakes import Handshakes, handshakes
from wiretape.session.answers.learned import noise_of
from wiretape.session.answers.login import Step, steps_before
from wiretape.session.answers.resend import Changes, Outgoing, Planned, check_target, outcome, plan, veiled
from wiretape.session.answers.secrets import SecretsFound, find_secrets
from wiretape.session.ids import split_address
from wiretape.session.importing.importer import import_recording
from wiretape.session.session import Session


class HarExported(Lean, frozen=True):
    """A HAR that was written."""

    session_id: str
    output_file: str
    entries: int
    export: Exported


@tool("Find secrets", Hints(reads=True), long=True)
async def proxy_find_secrets(
    call: Call,
    session_id: arg.SessionId,
    kinds: Annotated[list[str] | None, Field(description='Only "jwt", "password", ...')] = None,
    custom: Annotated[list[str] | None, Field(description="Further regexes (RE2)")] = None,
    filter: arg.SameExpression = None,  # noqa: A002
) -> SecretsFound:
    """List a session's secrets and e-mail addresses: kind, handle, how often, where; values are masked. Names and phone
    numbers are not looked for. Handles {{kind:id}} can be arguments.
    """
    known = call.service.secrecy.veil.known
    wanted = Filter(expression=filter)
    return await call.service.library.ask(
        session_id,
        lambda session: find_secrets(
            session, known, wanted, kinds=kinds, custom=custom or (), progress=call.progress("exchanges")
        ),
    )


OutputFile = Annotated[str | None, Field(description="New file in the client's folder or <root>/exports")]


@tool("Export", Hints(), long=True)
async def proxy_export(
    call: Call,
    what: Annotated[Literal["har", "curl", "httpx", "pytest", "k6", "openapi", "ndjson"], Field(description="Format")],
    session_id: Annotated[str | None, Field(description='"a,b": openapi of both, tests of a without noise')] = None,
    exchange: Annotated[str | None, Field(description="Only this one")] = None,
    filter: arg.SameExpression = None,  # noqa: A002
    since: Annotated[str | None, arg.hidden()] = None,
    until: Annotated[str | None, arg.hidden()] = None,
    redact: Annotated[bool, Field(description="Replace secrets and e-mail addresses")] = True,
    output_file: OutputFile = None,
) -> Exported:
    """Write exchanges to a new file. One as curl comes as text, secrets as variables whose values are in envFile."""
    names = await _names(call, session_id)
    seqs: list[int] = []
    if exchange is not None:
        address = split_address(exchange)
        names, seqs = [address.session or "last"], [address.seq]
    if not names:
        raise UsageError("proxy_export needs session_id or exchange", hint="proxy_list_sessions names the sessions")
    if what == "curl" and seqs:
        return await _curl(call, names[0], seqs[0], output_file)
    wanted = Filter(seqs=seqs or None, expression=filter, since=since, until=until)
    export = Export(what, wanted, redact=redact, title=", ".join(names))
    return await _export(call, names, export, output_file)


async def _names(call: Call, session_id: str | None) -> list[str]:
    """Return the sessions that are named: one, whose name may have commas, or several with commas between."""
    if session_id is None:
        return []
    try:
        await call.service.library.resolve(session_id)
    except NotFoundError:
        if "," not in session_id:
            raise
        return [name.strip() for name in session_id.split(",") if name.strip()]
    return [session_id]


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
        refs[0], lambda session: export_file([session, *others], export, target, progress=call.progress("exchanges"))
    )


@tool("Export a HAR", Hints(), long=True)
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


@tool("TLS handshakes of a session", Hints(reads=True))
async def proxy_get_session_handshakes(
    call: Call,
    session_id: arg.SessionId,
    limit: arg.Limit = 200,
    offset: arg.Offset = 0,
    sort: arg.Sort = "desc",
    hostname_contains: arg.HostContains = None,
    url_contains: arg.UrlContains = None,
) -> Handshakes:
    """List the TLS handshakes of a session's clients with JA3 and JA4, newest first, and those that failed."""
    wanted = Filter(host_contains=hostname_contains, url_contains=url_contains)
    return await call.service.library.ask(
        session_id,
        lambda session: handshakes(session, wanted, veil=call.veil, sort=sort, limit=limit, offset=offset),
    )


class ImportSummary(Lean, frozen=True, kw_only=True):
    """What came in of a HAR."""

    source_file: str
    total_entries: int
    imported_entries: int
    skipped_entries: int
    error_count: int
    first_timestamp: int | None = None
    last_timestamp: int | None = None
    warnings: list[str] = msgspec.field(default_factory=list)


class HarImported(Lean, frozen=True, kw_only=True):
    """A session that was made of a HAR."""

    session: SessionSummary
    import_summary: ImportSummary


@tool("Import a HAR", Hints(), long=True)
async def proxy_import_har(
    call: Call,
    har_file: Annotated[str, Field(min_length=1, description="Path of the file")],
    session_name: arg.SessionName = None,
    storage_dir: arg.StorageDir = None,
    max_disk_mb: Annotated[float, Field(gt=0, le=2**40, description="A larger file is refused")] = 1024,
    strict: Annotated[bool, Field(description="Fail at the first problem, and leave nothing")] = False,
) -> HarImported:
    """Make a session of a HAR file, damaged or not; its name is har-import-<file> unless given. What could not be read
    is counted and said in warnings.
    """
    service = call.service
    arg.refuse_storage_dir(storage_dir, service.root)
    path, size = await asyncio.to_thread(_found, har_file, call.settings.files)
    if size > arg.max_bytes(max_disk_mb):
        raise UsageError(
            f"{har_file[:200]!r} has {size / 2**20:,.0f} MB, more than max_disk_mb allows ({max_disk_mb:g})",
            hint="give a larger max_disk_mb",
            code="too-large",
        )
    name = session_name or f"har-import-{path.stem}".replace(":", "-")[:128]
    report = await asyncio.to_thread(
        import_recording, service.root, path, name=name, strict=strict, progress=call.progress("bytes")
    )
    first, last = await service.library.ask(report.session_id, _times)
    return HarImported(
        session=await service.library.summary(report.session_id),
        import_summary=ImportSummary(
            source_file=str(path),
            total_entries=report.imported + report.skipped,
            imported_entries=report.imported,
            skipped_entries=report.skipped,
            error_count=report.damaged,
            first_timestamp=first,
            last_timestamp=last,
            warnings=report.warnings,
        ),
    )


def _found(har_file: str, folders: tuple[Path, ...]) -> tuple[Path, int]:
    """Return a HAR's path and size; one that is not absolute is taken to be in the client's folder.

    Raises:
        NotFoundError: there is no such file.
    """
    path = Path(har_file).expanduser()
    if not path.is_absolute() and folders:
        path = folders[0] / path
    if not path.is_file():
        raise NotFoundError(f"There is no file {path}", hint="give the whole path of a HAR")
    return path, path.stat().st_size


def _times(session: Session) -> tuple[int | None, int | None]:
    session.follow()
    row = session.index.one("SELECT min(ts), max(ts) FROM exchanges", [])
    return (row[0], row[1]) if row is not None else (None, None)


class _Prepared(NamedTuple):
    outgoing: Outgoing
    planned: Planned
    before: ExchangeDetail
    steps: list[Step]
    noise: frozenset[str]


@tool("Send a request again", Hints(destroys=True, open_world=True))
async def proxy_send(
    call: Call,
    exchange: Annotated[str, Field(description='Such as "bad:31"')],
    set: Annotated[  # noqa: A002 - the argument's name is fixed
        dict[str, Any] | None, Field(description="JSON pointers and new values")
    ] = None,
    headers: Annotated[dict[str, Any] | None, Field(description="New values; null removes")] = None,
    url: Annotated[str | None, arg.hidden()] = None,
    target: Annotated[str | None, Field(description="Another server")] = None,
    login: Annotated[Literal["replay"] | None, Field(description="replay: log in again first")] = None,
    upstream_ca: Annotated[str | None, Field(description="PEM file of roots to trust for servers")] = None,
    execute: Annotated[bool, Field(description="false: a plan")] = False,
) -> Planned:
    """Send a recorded request again, with changes; recorded as replay and compared. Secrets go only where the recording
    shows them going.
    """
    address = split_address(exchange)
    ref = address.session or "last"
    name = await _name(call, ref)
    upstream = call.service.trusting
    if upstream_ca is not None:
        upstream = msgspec.structs.replace(upstream, ca=arg.existing_file("upstream_ca", upstream_ca))
    named = {name: None if value is None else str(value) for name, value in (headers or {}).items()}
    changes = Changes(values=set or {}, headers=named, url=url, target=target)
    secrecy = call.service.secrecy

    def prepare(session: Session) -> _Prepared:
        secrecy.learn(session)
        outgoing, planned = plan(session, name, address.seq, changes)
        steps = steps_before(session, address.seq, target) if login is not None else []
        for one in (*(step.outgoing for step in steps), outgoing):
            check_target(session, one, secrecy.veil.known.spans_in, call.settings.allow_targets)
        planned = msgspec.structs.replace(planned, rebound=[step.told() for step in steps])
        return _Prepared(outgoing, planned, session.exchange(address.seq), steps, noise_of(session, address.seq))

    outgoing, planned, before, steps, noise = await call.service.library.ask(ref, prepare)
    if not execute:
        return veiled(msgspec.structs.replace(planned, sent=None, execute="call again with execute=true"), call.veil)
    made, seq, rebound = await resend(call.service.root, outgoing, upstream, before=steps, api=call.service.api)
    after = await call.service.library.exchange(made.session_id, seq, max_body=1 << 20)
    found = outcome(planned, before, after, made.name, trust=arg.TRUST, noise=noise, veil=call.veil)
    # Where one of the two is an error the verdict and the answer say how they differ.
    more = found.result is not None and found.result.differs
    following = f"proxy_compare a={exchange} b={made.name}:{seq}" if more else None
    found = msgspec.structs.replace(found, writes=False, warnings=[], rebound=rebound, next=following)
    return veiled(found, call.veil)
