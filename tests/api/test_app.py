"""MCP over HTTP is for programs on this machine, not for pages from elsewhere (P14)."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tests.support.serving import Daemon
from tests.support.wait import DEADLINE

HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
}


@pytest.fixture(scope="module")
def mcp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The MCP address of a daemon without a proxy, with its token."""
    with Daemon(tmp_path_factory.mktemp("http") / "root", "--no-record", "--proxy", "none") as daemon:
        yield daemon.mcp


def post(url: str, **headers: str) -> tuple[int, str]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=DEADLINE)
    try:
        fields = {"content-type": "application/json", "accept": "application/json, text/event-stream", **headers}
        connection.request("POST", f"{parts.path}?{parts.query}", json.dumps(HELLO), fields)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def test_a_local_program_is_answered(mcp: str) -> None:
    status, body = post(mcp)
    assert status == 200
    assert '"protocolVersion":"2025-11-25"' in body


@pytest.mark.parametrize("host", ["localhost:1", "127.0.0.1", "[::1]:8081"])
def test_every_local_name_will_do(mcp: str, host: str) -> None:
    assert post(mcp, Host=host)[0] == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost.evil.example:8081",
        "evil.com@localhost",
        "localhost/x",
        "",
        "[::1",
    ],
)
def test_p14_a_foreign_host_name_is_refused(mcp: str, host: str) -> None:
    status, body = post(mcp, Host=host)
    assert status in {400, 403}
    assert "protocolVersion" not in body


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1.evil.example", "file://"])
def test_p14_a_foreign_page_is_refused(mcp: str, origin: str) -> None:
    status, body = post(mcp, Origin=origin)
    assert status == 403
    assert "protocolVersion" not in body


def test_a_local_page_is_answered(mcp: str) -> None:
    assert post(mcp, Origin="http://localhost:3000")[0] == 200


def test_the_page_at_the_root_says_how_to_begin_and_is_for_local_readers_too(mcp: str) -> None:
    parts = urlsplit(mcp)
    token = {"Authorization": f"Bearer {parts.query.removeprefix('token=')}"}
    for headers, status in ((token, 200), ({}, 401), ({**token, "Host": "evil.example"}, 403)):
        connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=DEADLINE)
        try:
            connection.request("GET", "/", headers=headers)
            response = connection.getresponse()
            body = response.read().decode()
        finally:
            connection.close()
        assert response.status == status
        assert ("mcpServers" in body) == (status == 200)
