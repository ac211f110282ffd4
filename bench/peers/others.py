"""The peers: mitmproxy, mockttp, nginx as a reverse proxy, and no proxy at all."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

from bench import install
from bench.errors import BenchError
from bench.origin import DNS_NAME, NAME, nginx_config, nginx_program, start_nginx
from bench.peers.base import HOST, Peer, Place, Running
from bench.procs import Child
from harness.ports import free_port
from wiretape.cli.demo.certificates import OriginCA

_REVERSE = """
    upstream plain {{ server {host}:{http}; keepalive 128; keepalive_requests 1000000000; }}
    upstream secure {{ server {host}:{https}; keepalive 128; keepalive_requests 1000000000; }}
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header Host $http_host;
    proxy_ssl_name {name};
    proxy_ssl_verify on;
    proxy_ssl_trusted_certificate {ca};
    server {{ listen {host}:{own_http}; location / {{ proxy_pass http://plain; }} }}
    server {{ listen {host}:{own_https} ssl; location / {{ proxy_pass https://secure; }} }}
"""


def _first_line(command: Sequence[str | Path]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return (done.stdout or done.stderr).partition("\n")[0].strip()


def _nginx_version() -> str:
    return _first_line([nginx_program(), "-v"]).rpartition("/")[2]


def _start_mitmproxy(place: Place) -> Running:
    port = free_port()
    confdir = place.folder / "conf"
    options = {"confdir": confdir, "ssl_verify_upstream_trusted_ca": place.origin.ca}
    command: list[str | Path] = [
        install.mitmdump(),
        "-q",
        "--listen-host",
        HOST,
        "--listen-port",
        str(port),
        "-w",
        place.folder / "flows",
    ]
    for name, value in options.items():
        command += ["--set", f"{name}={value}"]
    child = Child(command, cpu=place.cpu, folder=place.folder, name="mitmdump")
    return _accepting(child, port, confdir / "mitmproxy-ca-cert.pem")


def _start_mockttp(place: Place) -> Running:
    port = free_port()
    ca = place.folder / "mockttp-ca.pem"
    command: list[str | Path] = [
        "env",
        f"NODE_EXTRA_CA_CERTS={place.origin.ca}",
        "node",
        install.mockttp(),
        str(port),
        ca,
    ]
    child = Child(command, cpu=place.cpu, folder=place.folder, name="mockttp")
    return _accepting(child, port, ca)


def _accepting(child: Child, port: int, ca: Path) -> Running:
    try:
        child.wait_for_port(port)
        child.wait_until(lambda: True if ca.is_file() and ca.stat().st_size else None, "its CA certificate")
    except BenchError:
        child.stop()
        raise
    return Running(child, port, port, is_proxy=True, ca=ca)


def _start_reverse(place: Place) -> Running:
    authority = OriginCA(place.folder)
    http, https = free_port(), free_port()
    servers = _REVERSE.format(
        host=HOST, http=place.origin.http_port, https=place.origin.https_port, own_http=http, own_https=https,
        name=DNS_NAME, ca=place.origin.ca,
    )  # fmt: skip
    config = nginx_config(place.folder, authority.issue((NAME,)), servers)
    child = start_nginx(config, cpu=place.cpu, name="reverse", port=https)
    return Running(child, http, https, is_proxy=False, ca=authority.pem)


def _start_direct(place: Place) -> Running:
    # Nothing to start: the load goes to the origin itself. A process that only waits stands for the absent proxy.
    child = Child(["sleep", "infinity"], cpu=place.cpu, folder=place.folder, name="nothing")
    origin = place.origin
    return Running(child, origin.http_port, origin.https_port, is_proxy=False, ca=origin.ca)


def _mockttp_version() -> str:
    package = install.mockttp().parent / "node_modules" / "mockttp" / "package.json"
    version: str = json.loads(package.read_text())["version"]
    return f"{version} on Node {_first_line(['node', '--version']).lstrip('v')}"


MITMPROXY = Peer(
    key="mitmproxy",
    title="mitmproxy",
    start=_start_mitmproxy,
    version=lambda: _first_line([install.mitmdump(), "--version"]).rpartition(" ")[2],
    note="mitmdump -w FILE, upstream certificates verified",
)
MOCKTTP = Peer(
    key="mockttp",
    title="mockttp",
    start=_start_mockttp,
    version=_mockttp_version,
    note="everything passed through and nothing recorded, upstream certificates verified",
)
NGINX = Peer(
    key="nginx",
    title="nginx, reverse proxy",
    start=_start_reverse,
    version=_nginx_version,
    note="one process, kept-alive upstreams, no log: the practical limit, not a peer",
)
DIRECT = Peer(
    key="direct",
    title="no proxy",
    start=_start_direct,
    version=_nginx_version,
    note="load straight to the origin, both on one core: what the load side can do at most",
)
