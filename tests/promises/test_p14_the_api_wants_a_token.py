"""P14: the API is for who can read the root's token; it is in no log and no recording."""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import os
import socket
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import ProxyHandler, build_opener

import pytest
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client

from harness.origin import Origin
from tests.cli.support import wiretape_json
from tests.support.stranger import as_a_stranger
from wiretape.cli.demo.stage import Daemon
from wiretape.cli.demo.waiting import DEADLINE
from wiretape.cli.main import run
from wiretape.daemon.announce import http_configuration


@pytest.mark.skipif(os.getuid() != 0, reason="only the superuser can be somebody else")
def test_p14_another_user_can_neither_use_the_api_nor_read_its_token(root: Path) -> None:
    stop = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "proxy_stop", "arguments": {}}}

    with Daemon(root) as daemon:
        mcp = daemon.ready["mcp"]
        fields = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
        guess = "0" * 64

        def tries() -> list[int]:
            return [
                request(mcp, "POST", "/mcp", json.dumps(stop), **fields)[0],
                request(mcp, "POST", "/mcp", json.dumps(stop), **fields, Authorization=f"Bearer {guess}")[0],
                request(mcp, "POST", f"/mcp?token={guess}", json.dumps(stop), **fields)[0],
                request(mcp, "GET", "/")[0],
                request(mcp, "GET", f"/?token={guess}")[0],
            ]

        assert as_a_stranger(tries) == [401] * 5
        assert as_a_stranger((root / "token").read_text) == "PermissionError"
        assert wiretape_json("status", "--root", root)["recording"]


def request(
    url: str, method: str, path: str, body: str | None = None, **headers: str
) -> tuple[int, dict[str, str], str]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=DEADLINE)
    try:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read().decode()
    finally:
        connection.close()


def get(url: str, path: str, **headers: str) -> tuple[int, dict[str, str], str]:
    return request(url, "GET", path, **headers)


def test_p14_the_printed_address_opens_the_page_as_often_as_it_is_opened(root: Path) -> None:
    with Daemon(root) as daemon:
        ui = daemon.ready["ui"]
        assert ui == wiretape_json("status", "--root", root)["ui"]
        parts = urlsplit(ui)
        for _ in range(2):
            status, fields, body = get(ui, f"{parts.path}?{parts.query}")
            assert (status, fields["location"], daemon.token in body) == (303, "/", False)
            assert {"HttpOnly", "SameSite=Strict"} <= set(fields["set-cookie"].split("; "))
            cookie = fields["set-cookie"].partition(";")[0]
            status, _, page = get(ui, "/", Cookie=cookie)
            assert status == 200
            assert "mcpServers" in page
            assert daemon.token not in page


def test_the_printed_configuration_for_http_is_all_that_a_client_needs(root: Path) -> None:
    async def list_tools(url: str, headers: dict[str, str]) -> int:
        async with (
            create_mcp_http_client(headers) as http_client,  # it waits as long as clients of MCP do
            Client(streamable_http_client(url, http_client=http_client)) as client,
        ):
            return len((await client.list_tools()).tools)

    with Daemon(root, "--no-record", "--proxy", "none") as daemon:
        server = http_configuration(daemon.ready["mcp"], daemon.token)["mcpServers"]["wiretape"]  # type: ignore[index]
        assert asyncio.run(list_tools(server["url"], server["headers"])) > 10


def test_p14_the_token_is_in_no_log_and_no_recording_and_no_answer(
    root: Path, http_origin: Origin, capfd: pytest.CaptureFixture[str]
) -> None:
    async def over_http(url: str) -> str:
        async with Client(url) as client:
            return str([await client.call_tool(name, {}) for name in ("proxy_status", "proxy_session_status")])

    with Daemon(root) as daemon:
        token, api = daemon.token, urlsplit(daemon.ready["mcp"])
        opener = build_opener(ProxyHandler({"http": daemon.proxy}))
        opener.open(http_origin.url("/bytes/10"), timeout=DEADLINE).close()
        said = asyncio.run(over_http(daemon.mcp))
        # Through the proxy itself, as a client does whose http_proxy covers loopback too.
        for host in ("127.0.0.1", "localhost", "0.0.0.0", "[::ffff:127.0.0.1]", "a.localhost"):
            for way in (f"http://{host}:{api.port}/mcp?token={token}", f"http://{host}:{api.port}/mcp"):
                said += through(daemon.proxy, "GET", way, {"Authorization": f"Bearer {token}"})
            said += through(daemon.proxy, "CONNECT", f"{host}:{api.port}", {"X-Token": token})
        # To the wrong port, malformed, and to the right one with rubbish behind.
        said += get(daemon.ready["mcp"], f"/mcp?token={token}%0d%0a")[2]
        said += get(daemon.ready["mcp"], f"/nothing?token={token}&token={token}")[2]
        daemon.stop()
    for command in (["sessions"], ["cat", "last"], ["query", "last"], ["verify", "last"], ["doctor"], ["status"]):
        run([*command, "--root", str(root)])
    printed = capfd.readouterr()
    said += printed.out + printed.err + daemon.messages.read_text()
    assert token not in said
    assert base64.b64encode(token.encode()).decode() not in said
    holding = [path for path in root.rglob("*") if path.is_file() and token.encode() in path.read_bytes()]
    assert holding == [root / "token"]


def through(proxy: str, method: str, target: str, headers: dict[str, str]) -> str:
    """Send a request to the proxy; it has to refuse to pass it on."""
    parts = urlsplit(proxy)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=DEADLINE)
    try:
        connection.request(method, target, headers={"Host": "127.0.0.1", **headers})
        response = connection.getresponse()
        body = response.read().decode()
        assert response.status == 508, (method, target, body)
        return body
    finally:
        connection.close()


def test_p14_what_leads_to_the_api_by_a_name_that_only_a_look_up_knows_is_refused(root: Path) -> None:
    own = socket.gethostname()
    with Daemon(root, "--api", "0.0.0.0:0") as daemon:
        port = urlsplit(daemon.ready["mcp"]).port
        opener = build_opener(ProxyHandler({"http": daemon.proxy}))
        with pytest.raises(OSError, match="502"):
            opener.open(f"http://{own}:{port}/", timeout=DEADLINE)
        seen = wiretape_json("exchange", "last", "1", "--root", root)
    assert (seen["state"], seen["error"]["code"]) == ("failed", "loop")
