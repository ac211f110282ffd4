"""Tools: TLS fingerprints."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from wiretape.mcpserver import arguments as arg
from wiretape.mcpserver.lean import Whole
from wiretape.mcpserver.tool import Call, Hints, tool
from wiretape.model import Lean
from wiretape.session.answers.fingerprints import (
    BothTls,
    FingerprintList,
    exchange_fingerprints,
    list_fingerprints,
)

_ALWAYS = "servers' hellos are always recorded: it costs nothing, and so JA3S is that of the connection that was used"


class ServerCapture(Lean, frozen=True, kw_only=True):
    """``serverTlsCaptureEnabled`` says whether what servers choose in TLS is recorded."""

    server_tls_capture_enabled: bool
    note: str | None = None


class Fingerprints(Whole, frozen=True, kw_only=True):
    """The fingerprints of one exchange; ``tls`` is null where it came without TLS."""

    exchange_id: str
    hostname: str
    tls: BothTls | None


class TlsConfig(Whole, frozen=True, kw_only=True):
    """``serverTlsCaptureEnabled`` says whether what servers choose in TLS is recorded.

    ``ja3SpoofConfig`` says as whom wiretape connects to servers; null is as itself.
    """

    server_tls_capture_enabled: bool
    ja3_spoof_config: dict[str, Any] | None
    note: str


@tool("TLS fingerprints of an exchange", Hints(reads=True), aliases={"exchange": "exchange_id"})
async def proxy_get_tls_fingerprints(
    call: Call,
    exchange_id: Annotated[str, Field(description="exchangeId, or SESSION:SEQ")],
    session_id: Annotated[str | None, arg.hidden()] = None,
) -> Fingerprints:
    """Give JA3 and JA4 of an exchange's client and JA3S of its server; `tls` is null for plain HTTP."""
    found, seq = await arg.one_exchange(call, session_id=session_id, exchange_id=exchange_id)
    told = await call.service.library.ask(found, lambda session: exchange_fingerprints(session, seq))
    return Fingerprints(exchange_id=told.exchange_id, hostname=told.hostname, tls=told.tls)


@tool("TLS fingerprints there are", Hints(reads=True))
async def proxy_list_tls_fingerprints(
    call: Call,
    limit: arg.Limit = 20,
    hostname_filter: Annotated[str | None, Field(description="Only of hosts that contain this")] = None,
    session_id: Annotated[str | None, Field(description="Default: the live session")] = None,
) -> FingerprintList:
    """Count the exchanges of each JA3 and JA4 of clients, the most frequent first, with hosts."""
    found = await arg.session_or_live(call, session_id)
    return await call.service.library.ask(
        found, lambda session: list_fingerprints(session, limit=limit, host_contains=hostname_filter)
    )


@tool("TLS configuration", Hints(reads=True))
async def proxy_get_tls_config(call: Call) -> TlsConfig:  # noqa: ARG001  each tool has its call
    """Say what is recorded of TLS and whether another client's handshake is imitated towards servers."""
    return TlsConfig(server_tls_capture_enabled=True, ja3_spoof_config=None, note=_ALWAYS)


@tool("Record servers' TLS", Hints(repeats=True))
async def proxy_enable_server_tls_capture(
    call: Call,  # noqa: ARG001  each tool has its call
    enabled: Annotated[bool, Field(description="Without effect: it is always on")],
) -> ServerCapture:
    """A switch of proxy-mcp, kept for its users: servers' hellos are always recorded, so JA3S is always there."""
    note = _ALWAYS if enabled else f"it cannot be switched off: {_ALWAYS}"
    return ServerCapture(server_tls_capture_enabled=True, note=note)


TOOLS = (
    proxy_get_tls_fingerprints,
    proxy_list_tls_fingerprints,
    proxy_get_tls_config,
    proxy_enable_server_tls_capture,
)
