"""Tools: the transparent port."""

from __future__ import annotations

from typing import Annotated

import msgspec
from pydantic import Field

from wiretape.daemon.transparent import TransparentStarted
from wiretape.mcpserver.lean import Whole
from wiretape.mcpserver.tool import Call, Hints, tool
from wiretape.model import Lean
from wiretape.settings import Address


class TransparentStopped(Lean, frozen=True):
    """A closed transparent port; ``message`` says what to do next."""

    message: str


class TransparentStatus(Whole, frozen=True):
    """Whether the transparent port is open, and how many exchanges of the live session came by it."""

    running: bool
    port: int | None
    traffic_count: int
    notes: list[str] = msgspec.field(default_factory=list)


@tool("Open the transparent port", Hints())
async def proxy_start_transparent(
    call: Call,
    port: Annotated[int, Field(ge=0, le=65535, description="Port; 0 picks a free one")] = 8443,
    host: Annotated[str, Field(description="Address; 0.0.0.0 for other machines' connections")] = "127.0.0.1",
) -> TransparentStarted:
    """Open a port for clients that a firewall redirects; they need know no proxy, but trust the CA. Recorded to the
    same session, source "transparent". `instructions` are the rules to install. Needs proxy_start.
    """
    return await call.service.transparent_start(Address(host=host, port=port))


@tool("Close the transparent port", Hints(destroys=True))
async def proxy_stop_transparent(call: Call) -> TransparentStopped:
    """Close the transparent port; what is recorded stays. proxy_stop does it, too."""
    await call.service.transparent_stop()
    return TransparentStopped("the transparent port is closed; take the firewall's rules away, too")


@tool("Status of the transparent port", Hints(reads=True))
async def proxy_transparent_status(call: Call) -> TransparentStatus:
    """Say whether the transparent port is open and how many exchanges came by it."""
    address, count = await call.service.transparent_status()
    return TransparentStatus(address is not None, address.port if address is not None else None, count)


TOOLS = (proxy_start_transparent, proxy_stop_transparent, proxy_transparent_status)
