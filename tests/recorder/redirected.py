"""Runs inside a network namespace of its own: clients that a firewall redirects to a recorder's transparent port.

    unshare -Urn python -m tests.recorder.redirected ROOT

Prints what the clients got and what was recorded, as one JSON object.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from harness.clients import TIMEOUT
from harness.origin import Origin
from harness.recorder import RecorderProcess, done_count, refusals
from wiretape.cli.demo.certificates import OriginCA
from wiretape.cli.demo.waiting import wait_until

SERVER, PROXY, CLIENT = "192.0.2.10", "192.0.2.1", "192.0.2.99"
NAME = "shop.test"
RULES = """
table ip redirected {{
  chain out {{
    type nat hook output priority -100;
    ip saddr {client} tcp dport {{ 80, 443, 2525 }} dnat to {proxy}:{port}
    ip saddr {client} udp dport 443 dnat to {proxy}:{port}
    {more}
  }}
}}
"""


def run(*words: str, given: str | None = None) -> str:
    done = subprocess.run(words, input=given, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, f"{words}: {done.stderr}"
    return done.stdout


def redirect(port: int, more: str = "") -> None:
    run("nft", "flush", "ruleset")
    run("nft", "-f", "-", given=RULES.format(client=CLIENT, proxy=PROXY, port=port, more=more))


def curl(root: Path, url: str) -> str:
    words = ["curl", "-sS", "--noproxy", "*", "--interface", CLIENT, "--cacert", str(root / "ca" / "ca.pem")]
    return run(*words, "--resolve", f"{NAME}:80:{SERVER}", "--resolve", f"{NAME}:443:{SERVER}", url)


def from_client(port: int) -> socket.socket:
    return socket.create_connection((SERVER, port), TIMEOUT, source_address=(CLIENT, 0))


def main(root: Path) -> dict[str, Any]:
    run("ip", "link", "set", "lo", "up")
    for address in (SERVER, PROXY, CLIENT):
        run("ip", "address", "add", f"{address}/32", "dev", "lo")
    root.mkdir()
    folder = root.parent / "origin-ca"
    folder.mkdir()
    ca = OriginCA(folder)
    told: dict[str, Any] = {}
    with (
        Origin(host=SERVER, port=80) as plain,
        Origin(host=SERVER, port=443, tls=ca.issue((NAME, SERVER)).server_context()),
        socket.create_server((SERVER, 2525)) as mail,
        socket.create_server((PROXY, 0)) as listener,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        RecorderProcess(root, upstream_ca=ca.pem) as recorder,
    ):
        port = listener.getsockname()[1]
        udp.bind((PROXY, port))
        recorder.hand_over("transparent", listener)
        recorder.hand_over("udp", udp)
        recorder.record()
        redirect(port)
        told["bodies"] = [len(curl(root, f"{scheme}://{NAME}/text/100")) for scheme in ("http", "https")]
        told["nameless"] = len(curl(root, f"https://{SERVER}/text/50"))
        with from_client(2525) as client:
            server, _ = mail.accept()
            with server:
                server.sendall(b"220 mail\r\n")
                told["greeting"] = client.recv(100).decode()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as quic:
            quic.bind((CLIENT, 0))
            for _ in range(2):
                quic.sendto(b"\xc0" * 1200, (SERVER, 443))
        wait_until(lambda: refusals(recorder) == ["quic"], what="one client of HTTP/3 counted")
        told["exchanges"] = [
            (one.opened.source, one.opened.scheme, one.opened.host, one.opened.port, one.done.server)
            for one in done_count(recorder, 4)
            if one.opened is not None and one.done is not None
        ]
        told["host"] = bytes(plain.requests[0].head).split(b"\r\n")[1].decode()
        # A rule that redirects wiretape's own connections, too, would go round for ever.
        redirect(port, f"tcp dport 80 dnat to {PROXY}:{port}")
        words = ["curl", "-sS", "-m", "20", "-o", "/dev/null", "-w", "%{http_code}", "--noproxy", "*"]
        told["loop"] = run(*words, "--interface", CLIENT, f"http://{SERVER}/text/5")
        wait_until(lambda: "loop" in refusals(recorder), what="the loop in the log")
        told["refused"] = sorted(set(refusals(recorder)))
    return told


if __name__ == "__main__":
    json.dump(main(Path(sys.argv[1])), sys.stdout)
