"""MCP over HTTP is for programs on this machine, not for pages from elsewhere (P14)."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from wiretape.cli.demo.stage import Daemon
from wiretape.cli.demo.waiting import DEADLINE

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


def test_p8_nothing_of_mcp_is_in_memory_before_its_first_client(tmp_path: Path) -> None:
    with Daemon(tmp_path / "root", "--no-record", "--proxy", "none") as daemon:

        def loaded() -> set[str]:
            maps = Path(f"/proc/{daemon.process.pid}/maps").read_text()
            return {name for name in ("pydantic_core", "_rust.abi3", "httptools") if name in maps}

        assert loaded() == set()
        assert page(daemon)[0] == 200
        assert "pydantic_core" not in loaded()
        assert post(daemon.mcp)[0] == 200
        assert "pydantic_core" in loaded()


def page(daemon: Daemon) -> tuple[int, str]:
    parts = urlsplit(daemon.ready["mcp"])
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=DEADLINE)
    try:
        connection.request("GET", "/", headers={"Authorization": f"Bearer {daemon.token}"})
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nothing", 404), ("POST", "/", 405), ("HEAD", "/", 200), ("GET", "/mcp/", 404)],
)
def test_other_paths_and_methods_have_their_answers(mcp: str, method: str, path: str, status: int) -> None:
    parts = urlsplit(mcp)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=DEADLINE)
    try:
        token = parts.query.removeprefix("token=")
        connection.request(method, path, headers={"Authorization": f"Bearer {token}"})
        assert connection.getresponse().status == status
    finally:
        connection.close()
