"""The server behind every proxy: nginx, one process, with answers of 100 bytes, 100 KB and 1 GB."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from bench.errors import BenchError
from bench.procs import Child
from harness.ports import free_port
from wiretape.cli.demo.certificates import IssuedCert, OriginCA

# An address, not a name: mockttp looks for a server on ::1 before each request to "localhost", and that would be
# charged to it. No proxy has to resolve anything.
NAME = "127.0.0.1"
# Its certificate has a name as well: nginx compares names only.
DNS_NAME = "localhost"
SMALL = '{"ok":true,"items":[1,2,3,4,5,6,7,8,9,10],"note":"a small answer, about one hundred bytes of JSON"}'

_HTTP = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr error;
worker_rlimit_nofile 8192;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    server_tokens off;
    # Every request on a connection that is kept alive, however many: reconnecting is measured on its own.
    keepalive_requests 1000000000;
    keepalive_timeout 600s;
    sendfile on;
    tcp_nopush on;
    open_file_cache max=16;
    client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
    uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
    ssl_certificate {certificate.cert};
    ssl_certificate_key {certificate.key};
{servers}
}}
"""

_ORIGIN = """
    server {{
        {listen}
        root {folder}/www;
        location = /small {{ default_type application/json; return 200 '{small}'; }}
    }}
"""


@dataclass(frozen=True, slots=True)
class Origin:
    """A running origin: two ports on loopback."""

    child: Child
    http_port: int
    https_port: int
    ca: Path

    def host(self, *, tls: bool) -> str:
        """``name:port`` as a client writes it."""
        return f"{NAME}:{self.https_port if tls else self.http_port}"


def nginx_program() -> str:
    """Where nginx is; Debian keeps it in a folder that is not on everyone's PATH."""
    found = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if found is None:
        raise BenchError("nginx is not installed; on Debian: apt-get install nginx-light")
    return found


def nginx_config(folder: Path, certificate: IssuedCert, servers: str) -> Path:
    """Write a configuration with ``servers`` into ``folder``."""
    path = folder / "nginx.conf"
    path.write_text(_HTTP.format(folder=folder, certificate=certificate, servers=servers))
    return path


def start_nginx(config: Path, *, cpu: int, name: str, port: int) -> Child:
    """Start nginx with ``config`` and wait until ``port`` accepts connections."""
    command: list[str | Path] = [nginx_program(), "-p", config.parent, "-e", "stderr", "-c", config]
    child = Child(command, cpu=cpu, folder=config.parent, name=name)
    try:
        child.wait_for_port(port)
    except BenchError:
        child.stop()
        raise
    return child


def start_origin(folder: Path, *, cpu: int, big: int) -> Origin:
    """Start the origin.

    Args:
        folder: an empty folder of its own.
        cpu: its core.
        big: size of ``/big`` in bytes.
    """
    authority = OriginCA(folder)
    www = folder / "www"
    www.mkdir()
    (www / "100k").write_bytes(os.urandom(100 * 1024))
    with (www / "big").open("wb") as file:
        file.truncate(big)  # sparse: it costs no disk, and reads as zeros at the speed of memory
    http, https = free_port(), free_port()
    listen = f"listen {NAME}:{http}; listen {NAME}:{https} ssl;"
    servers = _ORIGIN.format(listen=listen, folder=folder, small=SMALL)
    config = nginx_config(folder, authority.issue((NAME, DNS_NAME)), servers)
    child = start_nginx(config, cpu=cpu, name="origin", port=https)
    return Origin(child, http, https, authority.pem)
