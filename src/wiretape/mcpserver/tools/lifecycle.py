"""Tools: the proxy itself."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from pydantic import Field

from wiretape.daemon.values import ProxyStarted, ProxyStopped
from wiretape.mcpserver.arguments import (
    CaptureProfile,
    MaxDisk,
    SessionName,
    StorageDir,
    existing_file,
    hidden,
    max_bytes,
    refuse_storage_dir,
)
from wiretape.mcpserver.results import PREVIEW, Certificate, FullStatus, ShortStatus
from wiretape.mcpserver.status import full_status, short_status
from wiretape.mcpserver.tool import Call, Hints, tool
from wiretape.settings import Address, Server, SessionSettings, UpstreamSettings, server_of


@tool("Start the proxy", Hints())
async def proxy_start(
    call: Call,
    port: Annotated[int, Field(ge=0, le=65535, description="Port on 127.0.0.1; 0 picks a free one")] = 0,
    persistence_enabled: Annotated[
        bool, Field(description="false: what is recorded is dropped at proxy_stop; default keeps it")
    ] = True,
    session_name: SessionName = None,
    capture_profile: CaptureProfile = "full",
    storage_dir: StorageDir = None,
    max_disk_mb: MaxDisk = 1024,
    insecure_upstream: Annotated[bool, Field(description="true: do not verify the servers' certificates")] = False,
    upstream_ca: Annotated[str | None, Field(description="A PEM file of further roots to trust for servers")] = None,
    reverse: Annotated[list[str] | None, hidden()] = None,
) -> ProxyStarted:
    """Start the recording proxy: point clients at url (http_proxy and https_proxy) and let them trust the file caCert.
    Everything is recorded to a new session, sessionId, on disk before it is answered. Fails when it already runs.
    """
    refuse_storage_dir(storage_dir, call.service.root)
    settings = SessionSettings(
        name=session_name, profile=capture_profile, max_disk=max_bytes(max_disk_mb), keep=persistence_enabled
    )
    started = await call.service.proxy_start(
        Address(host="127.0.0.1", port=port),
        settings,
        _upstream(call, insecure_upstream, upstream_ca),
        msgspec.structs.replace(call.service.arrivals, reverse=_servers(reverse)) if reverse else None,
    )
    notes = [] if persistence_enabled else [f"Session {started.session_id} is deleted at proxy_stop."]
    if capture_profile == "preview":
        notes.append(PREVIEW)
    return msgspec.structs.replace(started, notes=notes)


@tool("Stop the proxy", Hints(destroys=True, repeats=True))
async def proxy_stop(call: Call) -> ProxyStopped:
    """Stop the proxy and close its session cleanly. The recording is kept, unless it was started with
    persistence_enabled=false: then it is deleted now (`dropped`). Does nothing when no proxy runs.
    """
    return await call.service.proxy_stop()


@tool("Proxy status", Hints(reads=True))
async def proxy_status(
    call: Call, verbose: Annotated[bool, Field(description="Also ports, disk, counts, upstreams")] = False
) -> ShortStatus | FullStatus:
    """Say whether the proxy runs and where, which session it records to, and what is wrong."""
    return await full_status(call.service) if verbose else await short_status(call.service, call.veil)


@tool("CA certificate", Hints(reads=True))
async def proxy_get_ca_cert(
    call: Call,
    format: Annotated[  # noqa: A002  the name is part of the contract
        Literal["pem", "fingerprint", "both"], Field(description="What to give besides the file's path")
    ] = "both",
) -> Certificate:
    """Give the CA certificate that clients must trust so that their HTTPS traffic can be recorded.

    It is the same for all sessions and survives restarts; its key never leaves the root.
    """
    authority = call.service.authority
    path = str(authority.cert_path)
    return Certificate(
        ca_cert=path,
        cert_pem=authority.cert_pem.decode() if format != "fingerprint" else None,
        fingerprint=authority.fingerprint_sha256 if format != "pem" else None,
        instructions=[
            f"curl: --cacert {path}",
            f"Python requests: REQUESTS_CA_BUNDLE={path}; httpx and OpenSSL: SSL_CERT_FILE={path}",
            f"Node.js: NODE_EXTRA_CA_CERTS={path}",
            f"git: GIT_SSL_CAINFO={path}",
        ],
    )


def _upstream(call: Call, insecure: bool, ca: str | None) -> UpstreamSettings:
    """Add what this proxy is told of its servers to what the daemon was told.

    Raises:
        UsageError: the file of roots is not there.
    """
    given = call.service.upstream
    path = existing_file("upstream_ca", ca) or given.ca
    return msgspec.structs.replace(given, insecure=insecure or given.insecure, ca=path)


def _servers(urls: list[str]) -> tuple[Server, ...]:
    """Return the servers that stand behind the port.

    Raises:
        UsageError: a URL is none of a server.
    """
    return tuple(server_of(url) for url in urls)
