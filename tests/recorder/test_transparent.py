"""Clients that do not know of the proxy: redirected by a real firewall, or come to the port by a changed name."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from harness.bodies import body_for
from harness.clients import RawClient
from harness.origin import Origin
from harness.recorder import RecorderProcess
from wiretape.recorder.original import AsAsked, Redirected, named_route
from wiretape.recorder.route import Route


def namespaces() -> bool:
    words = ["unshare", "-Urn", "sh", "-c", "ip link set lo up && nft list ruleset"]
    return (
        shutil.which("unshare") is not None and not subprocess.run(words, capture_output=True, check=False).returncode
    )


@pytest.mark.skipif(not namespaces(), reason="needs unprivileged network namespaces, ip and nft")
def test_a_firewall_leads_clients_to_their_own_servers_through_the_recorder(tmp_path: Path) -> None:
    words = ["unshare", "-Urn", sys.executable, "-m", "tests.recorder.redirected", str(tmp_path / "root")]
    folder = Path(__file__).parents[2]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120, cwd=folder)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["bodies"] == [100, 100]
    assert told["nameless"] == 50
    assert told["greeting"] == "220 mail\r\n"
    assert told["exchanges"] == [
        ["transparent", "http", "shop.test", 80, "192.0.2.10:80"],
        ["transparent", "https", "shop.test", 443, "192.0.2.10:443"],
        ["transparent", "https", "192.0.2.10", 443, "192.0.2.10:443"],
        ["transparent", "", "192.0.2.10", 2525, "192.0.2.10:2525"],
    ]
    assert told["host"] == "Host: shop.test"
    assert told["loop"] == "502"
    assert told["refused"] == ["loop", "quic"]


def test_a_name_is_taken_where_it_is_a_good_one_and_the_address_stays_where_it_leads() -> None:
    assert named_route("http", "10.0.0.1", 80, "Shop.test:80") == Route("http", "shop.test", 80, address="10.0.0.1")
    assert named_route("https", "10.0.0.1", 443, "10.0.0.1") == Route("https", "10.0.0.1", 443)
    assert named_route("http", "::1", 80, "[::1]") == Route("http", "::1", 80)
    for hostile in ("a b", "a\r\nb", "u@h", "", "%00", "a/b"):
        assert named_route("http", "10.0.0.1", 80, hostile) == Route("http", "10.0.0.1", 80)
    assert Redirected("10.0.0.1", 80).pick(b"other.test").authority is None
    assert AsAsked().pick(b"shop.test:8080").route == Route("http", "shop.test", 8080)
    assert AsAsked().pick(b"[::1]").route == Route("http", "::1", 80)


def test_who_comes_straight_to_the_transparent_port_is_served_by_host_and_name(
    recorder: RecorderProcess, http_origin: Origin
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        recorder.hand_over("transparent", listener)
        address = listener.getsockname()
        with RawClient.plain(address) as client:
            assert client.get("/bytes/5", host=http_origin.authority).body == body_for("/bytes/5", 5)
        with RawClient.plain(address) as client:
            assert client.get("/bytes/5", host="a b").status == 400
        with RawClient.plain(address) as client:
            looped = client.get("/", host=f"127.0.0.1:{address[1]}")
            assert looped.header("Wiretape-Error") == "loop"
        for opening in (b"\x05\x01\x00", b"CONNECT a:1 HTTP/1.1\r\n\r\n", b"SSH-2.0-x\r\n"):
            with RawClient.plain(address) as client:
                client.send(opening)
                with contextlib.suppress(ConnectionResetError):
                    assert client.sock.recv(1) == b""
        with RawClient.plain(address) as client, pytest.raises((ssl.SSLError, ConnectionError)):
            ssl.create_default_context().wrap_socket(client.sock, server_hostname="127.0.0.1")
        recorder.ask("unlisten", kind="transparent")
    first = next(one for one in recorder.exchanges() if one.done is not None and not one.done.error_code)
    assert first.opened is not None
    assert (first.opened.source, first.opened.port) == ("transparent", http_origin.port)
