"""Marks, moments and waiting, over MCP and on the command line, with a real recorder."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from mcp.client import Client

from harness.clients import RawClient
from harness.logs import Recording, new_session
from harness.origin import Origin
from tests.cli.support import wiretape, wiretape_json
from tests.mcpserver.conftest import InProcess
from wiretape.cli.demo.stage import Daemon
from wiretape.daemon.service import Service
from wiretape.mcpserver.server import make_server
from wiretape.session.catalogue import Catalogue
from wiretape.settings import Address, McpSettings, SessionSettings, UpstreamSettings


async def ask(client: Client, name: str, **arguments: Any) -> Any:
    result = await client.call_tool(name, arguments)
    assert result.structured_content is not None, result.content
    return result.structured_content


async def refused(client: Client, name: str, **arguments: Any) -> dict[str, str]:
    result = await client.call_tool(name, arguments)
    assert result.is_error
    return dict(json.loads(result.content[0].text))  # type: ignore[union-attr]


def test_a_mark_tells_what_followed_and_a_wait_ends_when_it_has_come(root: Path, http_origin: Origin) -> None:
    def get(address: tuple[str, int], path: str) -> None:
        with RawClient.plain(address) as client:
            client.get(http_origin.url(path), host=http_origin.authority)

    async def main() -> None:
        service = Service(root, UpstreamSettings())
        try:
            async with Client(make_server(service, McpSettings(toolsets=("all",)))) as client:
                assert (await refused(client, "proxy_mark", label="early"))["code"] == "not-recording"
                started = await service.proxy_start(Address(host="127.0.0.1", port=0), SessionSettings(name="live"))
                address = ("127.0.0.1", started.port)
                await asyncio.to_thread(get, address, "/text/1")
                mark = await ask(client, "proxy_mark", label="click")
                assert (mark["mark"], mark["session"], mark["afterSeq"]) == ("click", "live", 1)
                assert mark["at"].endswith("Z")
                for label in ("31", "-5m", "10:44"):
                    assert (await refused(client, "proxy_mark", label=label))["code"] == "usage"
                waiting = asyncio.create_task(
                    ask(
                        client, "proxy_wait_for", since="click", filter="~c 200", count=2, idle_ms=50, timeout_ms=60_000
                    )
                )
                await asyncio.to_thread(get, address, "/text/2")
                await asyncio.to_thread(get, address, "/text/3")
                waited = await waiting
                assert waited["found"] is True
                columns, rows = waited["exchanges"]["columns"], waited["exchanges"]["rows"]
                assert [row[columns.index("seq")] for row in rows] == [2, 3]
                late = await ask(client, "proxy_wait_for", since="click", filter="~c 404", idle_ms=0, timeout_ms=0)
                assert "found" not in late or late["found"] is False
                listed = await ask(client, "proxy_list_traffic", since="click")
                assert [row[0] for row in listed["rows"]] == [2, 3]
                before = await ask(client, "proxy_query_session", session_id="live", until="click")
                assert [row[0] for row in before["rows"]] == [1]
                await service.proxy_stop()
                error = await refused(client, "proxy_mark", label="later", session_id="live")
                assert error["code"] == "not-recording"
        finally:
            await service.close()

    asyncio.run(main())


def test_filters_sorts_groups_and_errors_over_mcp(in_process: InProcess, root: Path) -> None:
    recording = Recording(new_session(root))
    for number in range(6):
        recording.exchange(
            f"http://{'ab'[number % 2]}.example.com/{number}", b"x" * number, status=(200, 503)[number % 2]
        )
    recording.close()

    async def conversation(client: Client) -> None:
        found = await ask(client, "proxy_query_session", session_id="last", filter="~c 5xx & ~d b", since="3")
        assert [row[0] for row in found["rows"]] == [4, 6]
        assert found["matched"] == 2
        largest = await ask(client, "proxy_query_session", session_id="last", sort="down", limit=2)
        assert [row[0] for row in largest["rows"]] == [6, 5]
        groups = await ask(client, "proxy_query_session", session_id="last", group_by="host")
        assert [row[:3] for row in groups["groups"]["rows"]] == [["a.example.com", 3, 0], ["b.example.com", 3, 3]]
        searched = await ask(client, "proxy_search_traffic", query="xxx", filter="~c 200", session_id="last")
        assert [row[0] for row in searched["rows"]] == [5]
        error = await refused(client, "proxy_query_session", session_id="last", filter="~m POST & ~cc 5xx")
        assert error["code"] == "filter"
        assert "did you mean ~c" in error["message"]
        assert error["message"].endswith("            ^")
        assert error["hint"].count("~") >= 3

    in_process.run(conversation)


def test_the_command_line_marks_filters_sorts_and_groups(root: Path, http_origin: Origin) -> None:
    with Daemon(root, "--session", "mine") as daemon:
        host, _, port = daemon.address.rpartition(":")
        with RawClient.plain((host, int(port))) as client:
            client.get(http_origin.url("/text/1"), host=http_origin.authority)
            mark = wiretape_json("mark", "click", "--root", root)
            assert mark == {"mark": "click", "session": "mine", "afterSeq": 1, "at": mark["at"]}
            client.get(http_origin.url("/text/2"), host=http_origin.authority)
        words = wiretape("mark", "10:44", "--root", root)
        assert words.returncode == 2
        assert b"reads as a number or a time" in words.stderr
        page = wiretape_json("query", "last", "~c 2xx", "--since", "click", "--root", root)
        assert [item["seq"] for item in page["items"]] == [2]
    groups = wiretape_json("query", "last", "--group-by", "status", "--root", root)
    assert groups["groups"]["rows"][0][:2] == ["200", 2]
    followed = wiretape("query", "last", "--follow", "--json", "--root", root)
    assert [json.loads(line)["seq"] for line in followed.stdout.splitlines()] == [1, 2]
    error = wiretape("query", "last", "~c 200 & (~m GET", "--root", root)
    assert error.returncode == 2
    assert b"\n           ^\n" in error.stderr
    assert wiretape("mark", "late", "--root", root).returncode != 0
    assert b"~json POINTER" in wiretape("query", "--filters").stdout


def test_marks_set_themselves_at_a_command_and_at_a_call_that_is_part_of_a_trace(in_process: InProcess) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    traced: Any = {"traceparent": trace}
    untraced: Any = {"traceparent": "no trace"}

    async def ask(client: Client) -> None:
        await client.call_tool("proxy_status", {}, meta=traced)  # nothing is recorded yet
        started = (await client.call_tool("proxy_start", {"session_name": "live"})).structured_content
        assert started is not None
        await client.call_tool("proxy_status", {}, meta=traced)
        await client.call_tool("proxy_status", {}, meta=untraced)
        await client.call_tool("proxy_run", {"command": [sys.executable, "-c", ""]})
        await client.call_tool("proxy_stop", {})

    in_process.run(ask)
    with Catalogue(in_process.root).open("live") as session:
        session.follow()
        assert [mark.label for mark in session.marks()] == [
            f"proxy_status {trace}",
            f"proxy_run {Path(sys.executable).name}",
        ]
