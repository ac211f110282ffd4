"""What is going on: in a few words for a model, and with all that users of proxy-mcp read."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any, Final

from wiretape.daemon.service import Service
from wiretape.daemon.values import DaemonStatus
from wiretape.errors import WiretapeError
from wiretape.mcpserver.results import FullStatus, ShortStatus
from wiretape.model import SessionSummary
from wiretape.secrets.veil import Veil
from wiretape.session.answers.ending import Ending, ending

_TOLD: Final = 3
"""Recoveries that a short status tells of."""


async def short_status(service: Service, veil: Veil) -> ShortStatus:
    """Return what is going on in about sixty tokens."""
    status = await service.status()
    recorded = status.session_id
    return ShortStatus(
        running=status.running,
        recording=status.recording,
        url=status.url,
        session=await service.library.called(recorded) if recorded is not None else None,
        session_id=recorded,
        exchanges=status.exchanges,
        ca_cert=status.ca_cert,
        warnings=[*status.warnings, *service.secrecy.unread()],
        recovered=await _recovered(service, veil),
    )


async def _recovered(service: Service, veil: Veil) -> list[Ending]:
    """Return, once, what was recovered since it was last told, newest first."""
    told = []
    for session_id in service.untold_recoveries()[:_TOLD]:
        with contextlib.suppress(WiretapeError):  # deleted meanwhile
            told.append(await service.library.ask(session_id, lambda session: ending(session, veil=veil)))
    return told


async def full_status(service: Service) -> FullStatus:
    """Return everything that is known, with the keys of proxy-mcp."""
    status = await service.status()
    session = await service.library.summary(status.session_id) if status.session_id is not None else None
    transparent, redirected = await service.transparent_status()
    return FullStatus(
        running=status.running,
        port=status.port,
        url=status.url,
        cert_fingerprint=status.cert_fingerprint,
        global_upstream=None,
        host_upstreams={},
        rule_count=service.rules.count,
        traffic_count=await service.view_size(),
        transparent_proxy={
            "running": transparent is not None,
            "port": transparent.port if transparent is not None else None,
            "trafficCount": redirected,
        },
        persistence=await persistence(service, status, session),
        proxy=status.proxy,
        session_id=status.session_id,
        recording=status.recording,
        in_flight=status.in_flight,
        connections=status.connections,
        exchanges=status.exchanges,
        dropped=status.dropped,
        unreported=status.unreported,
        recorder_pids=status.recorder_pids,
        recorder_restarts=status.recorder_restarts,
        ca_cert=status.ca_cert,
        root=status.root,
        mcp=status.mcp,
        socket=status.socket,
        pid=status.pid,
        bridges=status.bridges,
        version=status.version,
        started_at=status.started_at,
        background=status.background,
        disk_free=status.disk_free,
        disk_total=status.disk_total,
        warnings=[*status.warnings, *service.secrecy.unread()],
    )


async def persistence(service: Service, status: DaemonStatus, session: SessionSummary | None) -> dict[str, Any]:
    """Return what proxy-mcp says of the recording; ``maxDiskMb`` and ``lastFlushAt`` are null where there is none."""
    settings = service.recording_settings
    cap = settings.max_disk if settings is not None else None
    folder = service.root / "sessions" / session.session_id if session is not None else None
    return {
        "enabled": status.recording,
        "sessionId": status.session_id,
        "captureProfile": settings.profile if settings is not None else service.profile,
        "storageDir": str(folder or service.root / "sessions"),
        "bytesWritten": session.bytes if session is not None else 0,
        "droppedWrites": status.dropped,
        "lastFlushAt": await asyncio.to_thread(_last_write, folder) if folder is not None else None,
        "maxDiskMb": None if cap is None else cap / (1024 * 1024),
        "recoveryState": session.recovery_state if session is not None else "clean",
        "lastError": status.warnings[-1] if status.dropped and status.warnings else None,
    }


def _last_write(folder: Path) -> int | None:
    """Return when something was last written to a session's log, in ms since the epoch."""
    try:
        times = [entry.stat().st_mtime_ns for entry in (folder / "log").iterdir()]
    except OSError:
        return None
    return max(times, default=0) // 1_000_000 or None
