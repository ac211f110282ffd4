"""Agents at work: the SDK's real client, over HTTP and over stdio, against a real daemon and real traffic."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, build_opener

import jsonschema
import pytest
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters

from harness.origin import Origin
from wiretape.cli.demo.stage import Daemon
from wiretape.cli.demo.waiting import DEADLINE
from wiretape.daemon.client import request
from wiretape.mcpserver.budget import BUDGET
from wiretape.session.catalogue import Catalogue

EVERYTHING = ("--toolsets", "all", "--schemas")


def fetch(proxy: str, url: str) -> bytes:
    with build_opener(ProxyHandler({"http": proxy})).open(url, timeout=DEADLINE) as response:
        return bytes(response.read())


class Agent:
    """Calls tools and holds every result to the tool's own schema and to the answers' budget."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._schemas: dict[str, Any] = {}

    async def __call__(self, name: str, **arguments: Any) -> Any:
        if not self._schemas:
            tools = (await self._client.list_tools()).tools
            self._schemas = {tool.name: tool.output_schema for tool in tools}
        result = await self._client.call_tool(name, arguments)
        assert not result.is_error, result.content
        jsonschema.validate(result.structured_content, self._schemas[name])
        assert len(result.content[0].text) < BUDGET + 2_000  # type: ignore[union-attr]
        return result.structured_content

    async def progress(self, name: str, **arguments: Any) -> list[tuple[float, float | None]]:
        """Call a tool and give the progress it reported."""
        seen: list[tuple[float, float | None]] = []

        async def report(progress: float, total: float | None, message: str | None) -> None:
            assert message
            seen.append((progress, total))

        result = await self._client.call_tool(name, arguments, progress_callback=report)
        assert not result.is_error
        return seen

    async def error(self, name: str, **arguments: Any) -> str:
        result = await self._client.call_tool(name, arguments)
        assert result.is_error
        return str(result.content[0].text)  # type: ignore[union-attr]


def talk(server: Any, conversation: Any, mode: str = "auto") -> None:
    async def main() -> None:
        async with Client(server, mode=mode) as client:
            await conversation(Agent(client))

    asyncio.run(main())


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(tmp_path_factory.mktemp("idle") / "root", "--no-record", "--proxy", "none", *EVERYTHING) as daemon:
        yield daemon


@pytest.fixture
def daemon(idle: Daemon) -> Iterator[Daemon]:
    """A daemon without a proxy and without sessions; the import of the SDK takes longer than most conversations."""

    async def stop(agent: Agent) -> None:
        await agent("proxy_stop")

    yield idle
    talk(idle.mcp, stop)
    catalogue = Catalogue(idle.root)
    for session_id in catalogue.ids():
        catalogue.delete(session_id)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_over_http_an_agent_records_looks_and_clears(daemon: Daemon, http_origin: Origin, mode: str) -> None:
    async def conversation(agent: Agent) -> None:
        assert not (await agent("proxy_status"))["running"]
        started = await agent("proxy_start", port=0, session_name="visit", capture_profile="full")
        assert started["url"] == f"http://127.0.0.1:{started['port']}"
        assert Path(started["caCert"]).exists()
        assert "already" in await agent.error("proxy_start", port=0)
        for number in range(3):
            await asyncio.to_thread(fetch, started["url"], http_origin.url(f"/text/50?{number}"))
        traffic = await agent("proxy_list_traffic", limit=2)
        assert traffic["session"] == "visit"
        assert (traffic["matched"], traffic["returned"]) == (3, 2)
        rest = await agent("proxy_list_traffic", limit=2, cursor=traffic["nextCursor"])
        assert [row[0] for row in [*traffic["rows"], *rest["rows"]]] == [3, 2, 1]
        (item,) = (await agent("proxy_list_traffic", limit=1, format="objects"))["items"]
        one = await agent("proxy_get_exchange", exchange_id=item["exchangeId"])
        assert one["response"]["bodySize"] == 50
        found = await agent("proxy_search_traffic", query=one["response"]["body"][:20])
        assert found["matched"] >= 1
        cleared = await agent("proxy_clear_traffic")
        assert (cleared["throughSeq"], cleared["hidden"]) == (3, 3)
        assert (await agent("proxy_list_traffic"))["matched"] == 0
        await asyncio.to_thread(fetch, started["url"], http_origin.url("/text/50?later"))
        assert [row[0] for row in (await agent("proxy_list_traffic"))["rows"]] == [4]
        assert (await agent("proxy_query_session", session_id="visit"))["matched"] == 4
        stopped = await agent("proxy_stop")
        assert stopped == {
            "status": "success",
            "wasRunning": True,
            "sessionId": started["sessionId"],
            "dropped": False,
        }
        assert not (await agent("proxy_stop"))["wasRunning"]

    talk(daemon.mcp, conversation, mode)
    with Catalogue(daemon.root).open("visit") as session:
        assert session.verify().state == "clean"


def test_over_stdio_sessions_change_while_traffic_flows_and_are_recovered_and_deleted(
    root: Path, http_origin: Origin
) -> None:
    async def conversation(agent: Agent) -> None:
        started = await agent("proxy_start", port=0, session_name="first")
        await asyncio.to_thread(fetch, started["url"], http_origin.url("/bytes/10?1"))
        hold = http_origin.hold("/slow/10", at="head")
        slow = asyncio.create_task(asyncio.to_thread(fetch, started["url"], http_origin.url("/slow/10")))
        await asyncio.to_thread(hold.wait_reached)
        second = await agent("proxy_session_start", session_name="second")
        assert second["previousSessionId"] == started["sessionId"]
        assert second["session"]["name"] == "second"
        await asyncio.to_thread(fetch, started["url"], http_origin.url("/bytes/10?2"))
        hold.release()
        assert len(await slow) == 10
        assert [row[4] for row in (await agent("proxy_query_session", session_id="second"))["rows"]] == [200]
        await agent("proxy_session_stop")
        await asyncio.to_thread(fetch, started["url"], http_origin.url("/bytes/10?3"))
        assert not (await agent("proxy_session_status"))["recording"]
        await agent("proxy_stop")
        first = await agent("proxy_query_session", session_id="first", sort="asc", format="objects")
        assert [(item["seq"], item["state"]) for item in first["items"]] == [(1, "complete"), (2, "complete")]
        listed = await agent("proxy_list_sessions")
        assert [session["name"] for session in listed["sessions"]] == ["second", "first"]
        page = await agent("proxy_list_sessions", limit=1)
        older = await agent("proxy_list_sessions", cursor=page["nextCursor"])
        assert [session["name"] for session in older["sessions"]] == ["first"]
        recovered = await agent("proxy_session_recover")
        assert {session["recoveryState"] for session in recovered["recovered"]} <= {"clean", "recovered"}
        exchange = await agent("proxy_get_session_exchange", session_id="first", seq=1)
        same = await agent(
            "proxy_get_session_exchange", session_id="first", exchange_id=exchange["exchangeId"], include_body=False
        )
        assert not {"body", "bodyBase64"} & same["response"].keys()
        plan = await agent("proxy_delete_session", session_id=started["sessionId"])
        gone = await agent("proxy_delete_session", session_id=started["sessionId"], confirm=plan["confirm"])
        assert gone["sessionId"] == started["sessionId"]
        assert "no session" in await agent.error("proxy_get_session", session_id="first")
        assert (await agent("proxy_get_session", session_id="second"))["coverage"]["throughSeq"] == 1

    try:
        talk(
            StdioServerParameters(
                command=sys.executable, args=["-m", "wiretape", "mcp", "--root", str(root), *EVERYTHING]
            ),
            conversation,
        )
    finally:
        request(root, {"cmd": "stop"})


def test_a_proxy_that_cannot_start_says_why_and_leaves_no_session(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "roots.pem").write_text("no certificate")

    async def conversation(agent: Agent) -> None:
        assert "no file" in await agent.error("proxy_start", upstream_ca=str(tmp_path / "missing.pem"))
        assert "roots.pem" in await agent.error("proxy_start", upstream_ca=str(tmp_path / "roots.pem"))
        assert (await agent("proxy_list_sessions"))["sessions"] == []
        assert not (await agent("proxy_status"))["running"]
        assert (await agent("proxy_start"))["port"] > 0

    talk(daemon.mcp, conversation)


def test_what_was_not_to_be_kept_is_dropped_when_the_proxy_stops(daemon: Daemon, http_origin: Origin) -> None:
    async def conversation(agent: Agent) -> None:
        started = await agent("proxy_start", persistence_enabled=False)
        await asyncio.to_thread(fetch, started["url"], http_origin.url("/bytes/10"))
        assert (await agent("proxy_list_traffic"))["matched"] == 1
        assert (await agent("proxy_stop"))["dropped"]
        assert (await agent("proxy_list_sessions"))["sessions"] == []

    talk(daemon.mcp, conversation)


def test_a_session_begun_before_the_proxy_is_the_one_it_records_to(daemon: Daemon, http_origin: Origin) -> None:
    async def conversation(agent: Agent) -> None:
        prepared = await agent("proxy_session_start", session_name="early")
        assert not prepared["recording"]
        started = await agent("proxy_start")
        assert started["sessionId"] == prepared["session"]["sessionId"]
        await asyncio.to_thread(fetch, started["url"], http_origin.url("/bytes/10"))
        assert (await agent("proxy_session_status"))["session"]["exchanges"] == 1

    talk(daemon.mcp, conversation)


def test_p11_an_answer_never_grows_past_its_budget_and_says_what_it_leaves_out(root: Path, http_origin: Origin) -> None:
    with Daemon(root, *EVERYTHING) as daemon:
        for number in range(60):
            fetch(daemon.proxy, http_origin.url(f"/bytes/1?{number}=" + "x" * 1500))
        fetch(daemon.proxy, http_origin.url("/text/3000000"))

        async def conversation(agent: Agent) -> None:
            seen: list[int] = []
            cursor = None
            while True:
                page = await agent("proxy_list_traffic", limit=50, cursor=cursor)
                seen += [row[0] for row in page["rows"]]
                cursor = page.get("nextCursor")
                if cursor is None:
                    break
            assert seen == list(range(61, 0, -1))
            big = await agent("proxy_get_session_exchange", session_id="last", seq=61)
            assert big["response"]["bodySize"] == 3000000
            assert big["response"]["bodyLeft"] == 3000000 - len(big["response"]["body"])
            assert big["next"].startswith("proxy_read_body {")

        talk(daemon.mcp, conversation)


def test_a_recovery_over_mcp_accounts_for_a_killed_daemon(root: Path, http_origin: Origin) -> None:
    with Daemon(root, *EVERYTHING) as daemon:
        fetch(daemon.proxy, http_origin.url("/bytes/100"))
        for pid in [*daemon.ready["recorderPids"], daemon.process.pid]:
            os.kill(pid, signal.SIGKILL)
        daemon.process.wait(DEADLINE)

    async def conversation(agent: Agent) -> None:
        report = await agent("proxy_session_recover", session_id=daemon.session_id)
        (session,) = report["recovered"]
        assert (session["exchanges"], session["lostExchanges"], session["recoveryState"]) == (1, 0, "recovered")
        reported = await agent.progress("proxy_session_recover", session_id=daemon.session_id)
        assert reported
        assert all(total is not None and 0 <= done <= total for done, total in reported)

    try:
        talk(
            StdioServerParameters(
                command=sys.executable, args=["-m", "wiretape", "mcp", "--root", str(root), *EVERYTHING]
            ),
            conversation,
        )
    finally:
        request(root, {"cmd": "stop"})
