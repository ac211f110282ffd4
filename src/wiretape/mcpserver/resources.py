"""Resources: what a client can read without calling a tool. Addresses and keys are those of proxy-mcp."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, Final

from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ResourceError, ResourceNotFoundError
from mcp_types import Resource

from wiretape.daemon.service import Service
from wiretape.errors import NotFoundError, UsageError, WiretapeError
from wiretape.guide import guide
from wiretape.mcpserver.hints import for_tools
from wiretape.mcpserver.lean import lean
from wiretape.mcpserver.status import full_status, persistence
from wiretape.mcpserver.tool import compact
from wiretape.model import SessionSummary, to_json
from wiretape.secrets.veil import Veil
from wiretape.session.answers.handshakes import handshakes
from wiretape.session.answers.overview import overview
from wiretape.session.answers.timeline import findings, timeline, totals
from wiretape.session.session import Session

_JSON: Final = "application/json"
_LISTED: Final = 10
"""Sessions of which the list of resources names those that each has, the newest."""
_SESSIONS: Final = 100
_TOP: Final = 5
_HANDSHAKES: Final = 1_000

SESSION_VIEWS: Final = ("summary", "timeline", "findings")


def add_resources(server: MCPServer[Any], service: Service, veil: Veil) -> None:
    """Offer the resources of a daemon.

    Args:
        server: to whom they are added.
        service: the daemon.
        veil: hides secrets.
    """
    about = _About(service, veil)
    for uri, name, description, read in (
        ("proxy://status", "Proxy status", "Everything about proxy and recording", about.status),
        ("proxy://traffic/summary", "Live traffic in numbers", "Methods, statuses, hosts, TLS", about.traffic),
        ("proxy://interceptors", "Interceptors", "Clients that were set up; none yet", about.interceptors),
        ("proxy://sessions", "Sessions", "The newest sessions and what is recorded", about.sessions),
        ("proxy://browser/primary", "Primary browser", "None yet", about.browser),
        ("proxy://browser/targets", "Browsers", "None yet", about.targets),
    ):
        server.resource(uri, name=name, description=description, mime_type=_JSON)(_as_json(read))
    pem = "application/x-pem-file"
    server.resource("proxy://ca-cert", name="CA certificate", description="What clients must trust", mime_type=pem)(
        about.certificate
    )
    server.resource(
        "wiretape://guide", name="Guide", description="Recipes for questions about traffic", mime_type="text/markdown"
    )(guide)
    for uri, name, answer in (
        ("proxy://sessions/{session_id}/summary", "A session in numbers", about.summary),
        ("proxy://sessions/{session_id}/timeline", "A session by the minute", about.timeline),
        ("proxy://sessions/{session_id}/findings", "What stands out in a session", about.findings),
        ("wiretape://sessions/{session_id}/overview", "A session at a glance", about.overview),
    ):
        server.resource(uri, name=name, description=name, mime_type=_JSON)(_of_session(answer))


async def session_resources(service: Service) -> list[Resource]:
    """Return the resources of the newest sessions."""
    listed = await service.library.list(limit=_LISTED)
    return [
        Resource(
            uri=f"proxy://sessions/{one.session_id}/{view}",
            name=f"{one.name}: {view}",
            description=f"{view} of {one.session_id}",
            mime_type=_JSON,
        )
        for one in listed
        for view in SESSION_VIEWS
    ]


def _as_json(read: Callable[[], Awaitable[Any]]) -> Callable[[], Awaitable[str]]:
    async def text() -> str:
        return compact(await _answered(read()))

    return text


def _of_session(answer: Callable[[str], Awaitable[Any]]) -> Callable[[str], Awaitable[str]]:
    async def text(session_id: str) -> str:
        return compact(await _answered(answer(session_id)))

    return text


async def _answered(question: Awaitable[Any]) -> Any:
    """Return an answer; what is not there is resource-not-found."""
    try:
        return await question
    except (NotFoundError, UsageError) as error:
        raise ResourceNotFoundError(for_tools(error.message)) from error
    except WiretapeError as error:
        raise ResourceError(for_tools(error.message)) from error


class _About:
    """What there is to read."""

    def __init__(self, service: Service, veil: Veil) -> None:
        self._service = service
        self._library = service.library
        self._veil = veil

    async def status(self) -> Any:
        return lean(await full_status(self._service))

    async def certificate(self) -> str:
        return self._service.authority.cert_pem.decode()

    async def interceptors(self) -> Any:
        return {"interceptors": [], "totalActive": 0}

    async def browser(self) -> Any:
        status = await self._service.status()
        proxy = {"running": status.running, "port": status.port, "certFingerprint": status.cert_fingerprint}
        return {"proxy": proxy, "primary": None, "error": "no browser was launched"}

    async def targets(self) -> Any:
        return {"targets": [], "totalActive": 0}

    async def sessions(self) -> Any:
        status = await self._service.status()
        recorded = await self._library.summary(status.session_id) if status.session_id is not None else None
        return {
            "runtime": await persistence(self._service, status, recorded),
            "count": await self._library.count(),
            "sessions": to_json(await self._library.list(limit=_SESSIONS)),
        }

    async def traffic(self) -> Any:
        """Tell of the session that is recorded now or was last."""
        if not await self._library.count():
            return _numbers({}, {}, [], None, 0) | {"tls": _tls([])}
        return await self._library.ask(await self._service.live_session(), self._live)

    def _live(self, session: Session) -> Any:
        counted = totals(session, veil=self._veil)
        hosts = [{"host": one.hostname, "count": one.count} for one in counted.top_hostnames]
        seen = handshakes(session, limit=_HANDSHAKES, veil=self._veil)
        told = _numbers(counted.methods, counted.statuses, hosts, counted.avg_duration_ms, counted.exchanges)
        return told | {"tls": _tls([(one.ja3, one.ja4) for one in seen.items if one.has_tls])}

    async def summary(self, session_id: str) -> Any:
        manifest = await self._library.summary(session_id)
        counted = await self._library.ask(session_id, lambda one: totals(one, veil=self._veil))
        return {"manifest": _manifest(manifest), "totals": lean(counted)}

    async def timeline(self, session_id: str) -> Any:
        return to_json(await self._library.ask(session_id, timeline))

    async def findings(self, session_id: str) -> Any:
        return to_json(await self._library.ask(session_id, lambda one: findings(one, veil=self._veil)))

    async def overview(self, session_id: str) -> Any:
        return lean(await self._library.ask(session_id, lambda one: overview(one, veil=self._veil)))


def _manifest(session: SessionSummary) -> dict[str, Any]:
    """Return a session's line of the list, with the names that proxy-mcp's manifest has for its keys."""
    told: dict[str, Any] = to_json(session)
    return {
        **told,
        "id": session.session_id,
        "captureProfile": session.profile,
        "exchangeCount": session.exchanges,
        "bytesWritten": session.bytes,
        "droppedWrites": session.dropped,
    }


def _numbers(
    methods: dict[str, int], statuses: dict[str, int], hosts: list[Any], average: float | None, exchanges: int
) -> dict[str, Any]:
    return {
        "totalExchanges": exchanges,
        "methods": methods,
        "statuses": statuses,
        "topHostnames": hosts,
        "avgDurationMs": average,
    }


def _tls(prints: list[tuple[str | None, str | None]]) -> dict[str, Any]:
    """Count the fingerprints of clients."""
    ja3, ja4 = Counter(one for one, _ in prints if one), Counter(one for _, one in prints if one)
    return {
        "exchangesWithTls": len(prints),
        "topJa3": [{"fingerprint": name, "count": count} for name, count in ja3.most_common(_TOP)],
        "topJa4": [{"fingerprint": name, "count": count} for name, count in ja4.most_common(_TOP)],
    }
