"""Tools: recorded sessions."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from pydantic import Field

from wiretape.daemon.values import Deleted, Recording
from wiretape.errors import UsageError
from wiretape.mcpserver import arguments as arg
from wiretape.mcpserver.budget import BUDGET, size_of
from wiretape.mcpserver.listing import Exchanges
from wiretape.mcpserver.one_exchange import shown
from wiretape.mcpserver.results import PREVIEW, DeletePlan, OneSession, SessionList
from wiretape.mcpserver.tool import Call, Hints, tool
from wiretape.mcpserver.tools.traffic import list_exchanges
from wiretape.model import Filter, Groups, RecoveredSession, RecoverReport
from wiretape.session.answers.ending import ending, with_ending
from wiretape.session.answers.lean import LeanExchange
from wiretape.session.query.coverage import veiled_coverage
from wiretape.settings import SessionSettings


@tool("Start a session", Hints())
async def proxy_session_start(
    call: Call,
    session_name: arg.SessionName = None,
    capture_profile: Annotated[
        Literal["preview", "full"] | None,
        Field(description="Default as before; preview keeps only the first 4 KB of each body"),
    ] = None,
    storage_dir: arg.StorageDir = None,
    max_disk_mb: arg.MaxDisk = 1024,
) -> Recording:
    """Record from now on to a new session. The one before, previousSessionId, is closed; exchanges that began in it
    end in it. Before proxy_start it prepares the session that the proxy will use.
    """
    arg.refuse_storage_dir(storage_dir, call.service.root)
    profile = capture_profile or call.service.profile
    settings = SessionSettings(name=session_name, profile=profile, max_disk=arg.max_bytes(max_disk_mb))
    recording = await call.service.session_start(settings)
    return msgspec.structs.replace(recording, notes=[PREVIEW] if profile == "preview" else [])


@tool("Stop recording", Hints(repeats=False))
async def proxy_session_stop(call: Call) -> Recording:
    """Stop recording; the session is closed and kept, traffic passes on unrecorded. proxy_session_start begins
    another.
    """
    return await call.service.session_stop()


@tool("Recording status", Hints(reads=True))
async def proxy_session_status(call: Call) -> Recording:
    """Say whether exchanges are being recorded, to which session, and how much it holds."""
    return await call.service.session_status()


@tool("List sessions", Hints(reads=True))
async def proxy_list_sessions(call: Call, limit: arg.Limit = 50, cursor: arg.Cursor = None) -> SessionList:
    """List the recorded sessions, newest first, with their state: `recoveryState` is clean, recovered or damaged."""
    library = call.service.library
    after = await library.list(cursor, limit + 1)
    page = after[:limit]
    while True:
        more = await library.mark(page[-1].session_id) if page and len(after) > len(page) else None
        answer = SessionList(sessions=page, total=await library.count(), next_cursor=more)
        if size_of(answer) <= BUDGET or len(page) == 1:
            return answer
        page = page[: len(page) * 3 // 4]


@tool("One session", Hints(reads=True))
async def proxy_get_session(call: Call, session_id: arg.SessionId) -> OneSession:
    """Describe one session, what its log does not have (coverage), and how it ended if it was cut off (ending)."""
    library = call.service.library
    summary = await library.summary(session_id)
    odd = summary.recovery_state != "clean" or summary.interrupted
    return OneSession(
        session=summary,
        coverage=veiled_coverage(await library.coverage(session_id), call.veil),
        ending=await library.ask(session_id, lambda one: ending(one, veil=call.veil)) if odd else None,
    )


@tool(
    "Query a session",
    Hints(reads=True),
    aliases={
        "method_filter": "method",
        "url_filter": "url_contains",
        "status_filter": "status_code",
        "hostname_filter": "hostname_contains",
        "query": "text",
    },
)
async def proxy_query_session(
    call: Call,
    session_id: arg.SessionId,
    limit: arg.Limit = 50,
    offset: arg.Offset = 0,
    sort: arg.Order = None,
    filter: arg.Expression = None,  # noqa: A002  the name is part of the contract
    since: arg.Since = None,
    until: arg.HiddenText = None,
    group_by: arg.GroupBy = None,
    count: Annotated[bool, arg.hidden()] = False,
    method: arg.Method = None,
    hostname_contains: arg.HostContains = None,
    url_contains: arg.UrlContains = None,
    status_code: arg.StatusCode = None,
    from_ts: arg.Timestamp = None,
    to_ts: arg.Timestamp = None,
    text: arg.Text = None,
    cursor: arg.Cursor = None,
    format: arg.Format = "columns",  # noqa: A002  the name is part of the contract
    max_tokens: arg.MaxTokens = None,
) -> Exchanges | Groups:
    """List exchanges of a session; coverage tells what could not be searched."""
    wanted = Filter(
        method=method,
        host_contains=hostname_contains,
        url_contains=url_contains,
        status=status_code,
        from_ts=from_ts,
        to_ts=to_ts,
        text=text,
        expression=filter,
        since=since,
        until=until,
    )
    return await list_exchanges(
        call,
        wanted,
        session_id=session_id,
        sort=sort,
        count=count,
        group_by=group_by,
        limit=limit,
        offset=offset,
        cursor=cursor,
        form=format,
        max_tokens=max_tokens,
    )


@tool("One exchange of a session", Hints(reads=True))
async def proxy_get_session_exchange(
    call: Call,
    session_id: arg.SomeSession = None,
    seq: Annotated[int | None, Field(ge=1, description="Its number in the session")] = None,
    exchange_id: Annotated[str | None, arg.hidden()] = None,
    exchange: arg.Exchange = None,
    include_body: arg.IncludeBody = True,
    headers: arg.HeadersWanted = "lean",
    format: Annotated[Literal["lean", "objects"], arg.hidden()] = "lean",  # noqa: A002  the name is part of the contract
) -> LeanExchange:
    """Give one exchange, by exchange or by session_id and seq. Headers that say nothing are counted (headersLeft); big
    JSON comes as shape and first element: proxy_read_body has the rest.
    """
    found, number = await arg.one_exchange(
        call, exchange=exchange, session_id=session_id, seq=seq, exchange_id=exchange_id
    )
    return await shown(call, found, number, bodies=include_body, headers=headers, form=format)


@tool("Recover sessions", Hints(repeats=True), long=True)
async def proxy_session_recover(
    call: Call,
    session_id: Annotated[str | None, Field(description="Only this session (id, name, beginning); default all")] = None,
) -> RecoverReport:
    """Rebuild what is derived from a session's log after a crash or damage, and account for every exchange: recovered,
    interrupted, lost, and each damaged range. The log is only read, never changed; running it again changes nothing.
    It is automatic when wiretape opens a session; call this to see the report. Live sessions are skipped.
    """
    report = await call.service.recover(session_id, progress=call.progress("bytes"))
    return msgspec.structs.replace(report, recovered=[await _told(call, one) for one in report.recovered])


async def _told(call: Call, one: RecoveredSession) -> RecoveredSession:
    """Add how the recording ended where something happened; of a clean one there is nothing to tell."""
    if one.recovery_state == "clean" and not one.interrupted:
        return one
    found = await call.service.library.ask(one.session_id, lambda session: ending(session, veil=call.veil))
    return with_ending(one, found)


@tool("Delete a session", Hints(destroys=True))
async def proxy_delete_session(
    call: Call,
    session_id: Annotated[str, Field(description="The whole id")],
    confirm: Annotated[str | None, Field(description="The token of the plan")] = None,
) -> Deleted | DeletePlan:
    """Delete a session and everything in it, for ever, in two calls: without confirm it says what would be deleted and
    gives a token, valid for five minutes; with that token it deletes. One that is being recorded is refused.
    """
    service = call.service
    found = await service.library.resolve(session_id)
    if found != session_id:
        raise UsageError(
            f"{session_id[:80]!r} is not the whole id of a session, which deleting takes",
            hint=f"pass session_id {found}, if that is the one",
        )
    await service.check_deletable(found)
    if confirm is not None:
        service.confirmations.take(f"delete {found}", confirm)
        return await service.delete(found)
    summary = await service.library.summary(found)
    return DeletePlan(
        would_delete=found,
        name=summary.name,
        exchanges=summary.exchanges,
        bytes=summary.bytes,
        confirm=service.confirmations.give(f"delete {found}"),
        next=f"proxy_delete_session session_id={found} confirm=<the token>",
    )
