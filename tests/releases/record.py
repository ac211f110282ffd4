"""Run as a program by whoever makes a release: records the sessions that later releases must read for ever.

    python -m tests.releases.record tests/releases/sessions/VERSION

Each session is recorded by a real daemon from real traffic, and copied whole: log, manifest, index, parity. Beside it
lies what this release said of it: ``NAME.cat.ndjson`` and ``NAME.verify.json``.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import ssl
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from harness.clients import RawClient, chunked_bytes
from harness.origin import Origin
from tests.cli.support import wiretape
from wiretape.cli.demo.certificates import OriginCA
from wiretape.cli.demo.stage import Daemon
from wiretape.cli.demo.waiting import wait_until
from wiretape.log.items import Frame
from wiretape.log.scan import scan_segment

PIECES = 270_000
"""Bytes of a body that takes several frames."""


class Recording:
    """A daemon that records one session, and its traffic."""

    def __init__(self, root: Path, ca: OriginCA, name: str, *options: str) -> None:
        self.root = root
        self.name = name
        self.daemon = Daemon(root, "--session", name, "--upstream-ca", str(ca.pem), *options)
        host, _, port = self.daemon.proxy.removeprefix("http://").rstrip("/").rpartition(":")
        self.address = (host, int(port))

    @property
    def folder(self) -> Path:
        """The session's folder."""
        return self.root / "sessions" / self.daemon.session_id

    @contextlib.contextmanager
    def plain(self) -> Iterator[RawClient]:
        """A client that speaks HTTP to the proxy."""
        with RawClient.plain(self.address) as client:
            yield client

    @contextlib.contextmanager
    def tunnel(self, origin: Origin) -> Iterator[RawClient]:
        """A client that speaks HTTPS through the proxy."""
        context = ssl.create_default_context(cafile=str(self.daemon.ready["caCert"]))
        context.set_alpn_protocols(["http/1.1"])
        with RawClient.tunnel(self.address, "localhost", origin.port, tls=context) as client:
            yield client

    def stop(self) -> None:
        """End it in order."""
        self.daemon.stop()

    def kill(self) -> None:
        """SIGKILL to daemon and recorders, at once."""
        for pid in [*self.daemon.ready["recorderPids"], self.daemon.process.pid]:
            os.kill(int(pid), signal.SIGKILL)
        self.daemon.process.wait()
        if self.daemon.process.stdout is not None:
            self.daemon.process.stdout.close()
        wait_until(lambda: b'"live"' not in run("verify", self.daemon.session_id, self.root), what="the recorders' end")


def run(command: str, session: str, root: Path, *options: str) -> bytes:
    """Run a command on a session; give what it printed."""
    done = wiretape(command, session, "--root", root, *(["--json"] if command == "verify" else []), *options)
    assert done.returncode in (0, 1), done.stderr
    return done.stdout


def complete(recording: Recording, http: Origin, https: Origin) -> None:
    """Record every kind of exchange that ends, over HTTP and HTTPS."""
    with recording.plain() as client:
        client.get(http.url("/text/200"), host=http.authority)
        client.get(http.url("/duplicate-headers"), host=http.authority)
        client.get(http.url(f"/text/{PIECES}"), host=http.authority)
        client.get(http.url("/gzip/3000"), host=http.authority)
        client.get(http.url("/status/204"), host=http.authority)
        client.get(http.url("/bytes/100?type=image/png"), host=http.authority)
        client.request("HEAD", http.url("/text/500"), host=http.authority)
        body = b"key=" + b"value " * 20
        client.request("POST", http.url("/echo"), host=http.authority, headers=[("X-Twice", "1")], body=body)
        client.request("PUT", http.url("/digest"), host=http.authority, body=b"0123456789" * 7_000)
        client.get(http.url("/chunked/40000?size=4000"), host=http.authority)
    with recording.tunnel(https) as client:
        client.get("/text/300")
        client.request("POST", "/echo", body=bytes(range(256)))
        client.get("/missing")
    with recording.plain() as client:
        client.get(http.url("/http10"), host=http.authority)
    with recording.plain() as client, contextlib.suppress(Exception):
        client.get(http.url("/short/400"), host=http.authority)
    with recording.plain() as client:
        client.get(f"http://127.0.0.1:{closed_port()}/nobody", host="127.0.0.1")
    with recording.plain() as client:
        client.send(b"GET " + http.url("/upgrade").encode() + b" HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n")
        client.send(b"Upgrade: echo\r\n\r\n")
        client.read_response()
        client.send(b"hello")
        assert client.read_exactly(5) == b"hello"


def interim(recording: Recording, http: Origin, https: Origin) -> None:
    """Record answers before the answer, and trailers on both sides."""
    with recording.plain() as client:
        client.get(http.url("/early-hints"), host=http.authority)
        client.get(http.url("/chunked/600?size=200&trailers=1"), host=http.authority)
        head = f"POST {http.url('/echo')} HTTP/1.1\r\nHost: {http.authority}\r\nTransfer-Encoding: chunked\r\n"
        client.send(head.encode() + b"Trailer: X-Sum\r\n\r\n" + chunked_bytes([b"one", b"two"], [("X-Sum", "6")]))
        client.read_response("POST")
    with recording.tunnel(https) as client:
        client.get("/early-hints")
        client.get("/chunked/40000?size=9000&trailers=1")


def refused(recording: Recording, http: Origin, https: Origin) -> None:
    """Record what never became an exchange: events, and handshakes that failed."""
    del http
    with recording.plain() as client:
        client.send(b"GET / HTTP/1.1\r\nno colon here\r\n\r\n")
        client.read_to_end()
    with socket.create_connection(recording.address) as sock, contextlib.suppress(ConnectionError):
        sock.sendall(b"\x05\x01\x00")
        sock.recv(100)
    stranger = ssl.create_default_context()
    with contextlib.suppress(ssl.SSLError, ConnectionError):
        RawClient.tunnel(recording.address, "localhost", https.port, tls=stranger)


def closed_port() -> int:
    """Give a port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def damage(folder: Path) -> None:
    """Change one byte each of an OPENED, a DONE, a piece of a body and a header, as a bad disk does."""
    (segment,) = (folder / "log").glob("*.wlog")
    frames = [item for item in scan_segment(segment) if isinstance(item, Frame)]
    content = bytearray(segment.read_bytes())
    chosen = [
        next(f for f in frames if (f.kind, f.seq) == (2, 4)).end - 3,
        next(f for f in frames if (f.kind, f.seq) == (7, 2)).end - 3,
        [f for f in frames if (f.kind, f.seq) == (5, 3)][1].end - 100,
        next(f for f in frames if (f.kind, f.seq) == (7, 8)).offset + 9,
    ]
    for at in chosen:
        content[at] ^= 0x40
    segment.write_bytes(bytes(content))


def main(target: Path) -> None:
    """Record all of them."""
    work = Path(tempfile.mkdtemp(prefix="releases."))
    ca = OriginCA(work / "ca")
    try:
        with Origin() as http, Origin(tls=ca.issue().server_context()) as https:
            record_all(work, target, ca, http, https)
    finally:
        shutil.rmtree(work)


def record_all(work: Path, target: Path, ca: OriginCA, http: Origin, https: Origin) -> None:
    """Record each in a root of its own."""
    for name in ("complete", "interim", "refused"):
        made = Recording(work / name, ca, name)
        {"complete": complete, "interim": interim, "refused": refused}[name](made, http, https)
        made.stop()
        keep(made, target)

    made = Recording(work / "interrupted", ca, "interrupted")
    with made.plain() as ended, made.plain() as first, made.plain() as second, http.hold(f"/bytes/{PIECES}") as held:
        ended.get(http.url("/text/200"), host=http.authority)
        for client, path in ((first, f"/bytes/{PIECES}"), (second, "/no-answer")):
            client.send(f"GET {http.url(path)} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        held.wait_reached()
        first.read_exactly(30_000)
        wait_until(lambda: any(r.target == "/no-answer" for r in http.requests), what="the second request")
        made.kill()
    keep(made, target)

    made = Recording(work / "damaged", ca, "damaged")
    complete(made, http, https)
    made.stop()
    damage(made.folder)
    done = wiretape("recover", made.daemon.session_id, "--root", made.root)
    assert done.returncode in (0, 1), done.stderr
    keep(made, target)

    made = Recording(work / "dropped", ca, "dropped", "--max-disk", "400KB", "--profile", "preview")
    with made.plain() as client:
        for number in range(60):
            client.get(http.url(f"/bytes/6000?n={number}"), host=http.authority)
    made.stop()
    keep(made, target)

    made = Recording(work / "kept", ca, "kept", "--parity")
    with made.plain() as client:
        for number in range(3):
            client.get(http.url(f"/text/900?n={number}"), host=http.authority)
    made.stop()
    for command in ("parity", "pin"):
        assert wiretape(command, made.daemon.session_id, "--root", made.root).returncode == 0
    keep(made, target)


def keep(made: Recording, target: Path) -> None:
    """Copy a session with what is said of it."""
    target.mkdir(parents=True, exist_ok=True)
    shutil.copytree(made.folder, target / made.name / made.daemon.session_id)
    cat, verify = (run(command, made.daemon.session_id, made.root) for command in ("cat", "verify"))
    (target / f"{made.name}.cat.ndjson").write_bytes(cat)
    (target / f"{made.name}.verify.json").write_bytes(verify)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
