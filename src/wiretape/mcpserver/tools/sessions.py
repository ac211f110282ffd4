"""Tools: recorded sessions."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from wiretape.daemon.values import Deleted, Recording
from wiretape.errors import UsageError
from wiretape.mcpserver import arguments as arg
from wiretape.mcpserver.budget import BUDGET, exchange_within, page_within, size_of
from wiretape.mcpserver.results import OneSession, SessionList
from wiretape.mcpserver.tool import Call, Hints, tool
from wiretape.model import ExchangeDetail, Filter, QueryPage, RecoverReport
from wiretape.session.ids import split_exchange_id
from wiretape.settings import SessionSettings


@tool("Start a session", Hints())
async def proxy_session_start(
    call: Call,
    session_name: arg.SessionName = None,
    capture_profile: arg.CaptureProfile = "preview",
    storage_dir: arg.StorageDir = None,
    max_disk_mb: arg.MaxDisk = 1024,
) -> Recording:
    """Record from now on to a new session. The one before, `previousSessionId`, is closed; exchanges that began in it
    end in it, nothing is lost or recorded twice. Before proxy_start it prepares the session that the proxy will use.
    """
    arg.refuse_storage_dir(storage_dir, call.service.root)
    settings = SessionSettings(name=session_name, profile=capture_profile, max_disk=arg.max_bytes(max_disk_mb))
    return await call.service.session_start(settings)


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
    """Describe one session, and say what its log does not have: in flight, dropped, damaged (`coverage`)."""
    library = call.service.library
    return OneSession(session=await library.summary(session_id), coverage=await library.coverage(session_id))


@tool("Query a session", Hints(reads=True))
async def proxy_query_session(
    call: Call,
    session_id: arg.SessionId,
    limit: arg.Limit = 50,
    offset: arg.Offset = 0,
    sort: arg.Sort = "desc",
    method: arg.Method = None,
    hostname_contains: arg.HostContains = None,
    url_contains: arg.UrlContains = None,
    status_code: arg.StatusCode = None,
    from_ts: arg.Timestamp = None,
    to_ts: arg.Timestamp = None,
    text: arg.Text = None,
    cursor: arg.Cursor = None,
) -> QueryPage:
    """List exchanges of a session, filtered; all filters hold together. `coverage` says up to which seq the log was
    searched and what is missing, so an empty answer means what it says. Bodies: proxy_get_session_exchange.
    """
    wanted = Filter(
        method=method,
        host_contains=hostname_contains,
        url_contains=url_contains,
        status=arg.status_text(status_code),
        from_ts=from_ts,
        to_ts=to_ts,
        text=text,
    )

    async def fetch(most: int) -> QueryPage:
        return await call.service.library.query(session_id, wanted, sort=sort, limit=most, cursor=cursor, offset=offset)

    return await page_within(fetch, limit)


@tool("One exchange of a session", Hints(reads=True))
async def proxy_get_session_exchange(
    call: Call,
    session_id: arg.SessionId,
    seq: Annotated[int | None, Field(ge=1, description="The exchange's seq in the session")] = None,
    exchange_id: Annotated[str | None, Field(description="Its exchangeId, instead of seq")] = None,
    include_body: arg.IncludeBody = True,
) -> ExchangeDetail:
    """Give one exchange whole: request, response, headers in their order and case, bodies decoded, timings, TLS.
    Name it by seq or by exchange_id. Big bodies are cut; the notes then say how to get them whole.
    """
    library = call.service.library
    if (seq is None) == (exchange_id is None):
        raise UsageError(
            "proxy_get_session_exchange needs either seq or exchange_id", hint="proxy_query_session gives both"
        )
    found = await library.resolve(session_id)
    if exchange_id is not None:
        owner, seq = split_exchange_id(exchange_id)
        if owner != found:
            raise UsageError(f"exchange {exchange_id} is not of session {found}", hint=f"ask with session_id {owner!r}")
    number = seq or 0

    async def fetch(most: int) -> ExchangeDetail:
        return await library.exchange(found, number, max_body=most)

    return await exchange_within(fetch, bodies=include_body)


@tool("Recover sessions", Hints(repeats=True))
async def proxy_session_recover(
    call: Call,
    session_id: Annotated[str | None, Field(description="Only this session (id, name, beginning); default all")] = None,
) -> RecoverReport:
    """Rebuild what is derived from a session's log after a crash or damage, and account for every exchange: recovered,
    interrupted, lost, and each damaged range. The log is only read, never changed; running it again changes nothing.
    It is automatic when wiretape opens a session; call this to see the report. Live sessions are skipped.
    """
    return await call.service.recover(session_id, progress=call.progress)


@tool("Delete a session", Hints(destroys=True))
async def proxy_delete_session(call: Call, session_id: arg.SessionId) -> Deleted:
    """Delete a session and everything in it, for ever. One that is being recorded is refused."""
    return await call.service.delete(session_id)
