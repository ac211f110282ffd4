"""``python -m bench.web_sockets``: echoes of 1 KB messages through wiretape and mitmproxy; a stream's first event.

The load, the origin and the proxy share the machine, so what counts is the CPU time of the proxy for each echo; run it
while nothing else runs. mitmproxy writes its flows to a file.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple, cast

from bench import install
from bench.errors import BenchError
from harness.clients import request_bytes
from harness.ports import free_port
from harness.recorder import RecorderProcess
from wiretape.cli.demo.waiting import wait_until
from wiretape.recorder.worker import new_loop
from wiretape.wire.websocket import unmask

_PAYLOAD: Final = (b'{"price":1234,"symbol":"BTC"},' * 40)[:1024]
_HEAD: Final = len(_PAYLOAD).to_bytes(2, "big")
ASKED: Final = b"\x81\xfe" + _HEAD + b"abcd" + unmask(_PAYLOAD, b"abcd")
ECHOED: Final = b"\x81\x7e" + _HEAD + _PAYLOAD
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_EVENTS: Final = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 9\r\n\r\ndata: x\n\n"
_SHAPES: Final = ((1, 1), (16, 1), (16, 8))
"""Connections, and messages that each has on its way."""
_STREAMS: Final = 200


class Proxy(NamedTuple):
    """A proxy that runs."""

    name: str
    address: tuple[str, int]
    pid: int

    @property
    def seconds(self) -> float:
        """CPU seconds that it has taken."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class _Side(asyncio.Protocol):
    """One end of a connection whose first message is a head."""

    def __init__(self) -> None:
        self._head = b""
        self._open = False
        self._pending = 0
        self.transport = cast(asyncio.Transport, None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Take the head, then frames of one size."""
        if self._open:
            self.frames(data)
            return
        self._head += data
        if self._head.endswith(b"\r\n\r\n"):
            head, self._head = self._head, b""
            self._open = self.begin(head)

    def whole(self, size: int, arrived: int) -> int:
        """Return how many frames of ``size`` are whole with what has arrived."""
        self._pending += arrived
        count, self._pending = divmod(self._pending, size)
        return count

    def begin(self, head: bytes) -> bool:
        """Take the head; return whether frames follow."""
        raise NotImplementedError

    def frames(self, data: bytes) -> None:
        """Take bytes of frames."""
        raise NotImplementedError


class Origin(_Side):
    """Echoes what is known to come; a request for anything but ``/ws`` gets one event."""

    def begin(self, head: bytes) -> bool:
        """Answer."""
        if b"/ws " not in head:
            self.transport.write(_EVENTS)
            return False
        key = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key:"))
        digest = hashlib.sha1(key.partition(b":")[2].strip() + _GUID).digest()
        answer = b"HTTP/1.1 101 x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: "
        self.transport.write(answer + base64.b64encode(digest) + b"\r\n\r\n")
        return True

    def frames(self, data: bytes) -> None:
        """Echo."""
        self.transport.write(ECHOED * self.whole(len(ASKED), len(data)))


class Client(_Side):
    """Keeps ``ahead`` messages on their way; ``echoes`` counts what came back."""

    def __init__(self, authority: str, ahead: int) -> None:
        super().__init__()
        self.echoes = 0
        self._authority = authority
        self._ahead = ahead

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the upgrade."""
        super().connection_made(transport)
        fields = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")]
        fields.append(("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="))
        url = f"http://{self._authority}/ws"
        self.transport.write(request_bytes("GET", url, host=self._authority, headers=fields))

    def begin(self, head: bytes) -> bool:
        """Send the first messages."""
        assert b" 101 " in head, head
        self.transport.write(ASKED * self._ahead)
        return True

    def frames(self, data: bytes) -> None:
        """Send one for each that came."""
        count = self.whole(len(ECHOED), len(data))
        self.echoes += count
        self.transport.write(ASKED * count)


async def echoes(proxy: Proxy, port: int, connections: int, ahead: int, seconds: float) -> tuple[float, float]:
    """Return echoes a second, and microseconds of the proxy's CPU for each."""
    loop = asyncio.get_running_loop()
    authority = f"127.0.0.1:{port}"
    clients: list[Client] = []
    for _ in range(connections):
        _, client = await loop.create_connection(lambda: Client(authority, ahead), *proxy.address)
        clients.append(client)
    await asyncio.sleep(seconds / 4)
    before, busy, began = sum(one.echoes for one in clients), proxy.seconds, time.perf_counter()
    await asyncio.sleep(seconds)
    count = sum(one.echoes for one in clients) - before
    rate, cost = count / (time.perf_counter() - began), (proxy.seconds - busy) / max(1, count) * 1e6
    for client in clients:
        client.transport.abort()
    return rate, cost


async def first_bytes(address: tuple[str, int], port: int, count: int) -> float:
    """Return the median of the milliseconds until an event stream's first event is there."""
    took: list[float] = []
    last = 0.0
    for _ in range(count):
        reader, writer = await asyncio.open_connection(*address)
        for _ in range(2):  # the second on connections that stand
            began = time.perf_counter()
            writer.write(request_bytes("GET", f"http://127.0.0.1:{port}/events", host=f"127.0.0.1:{port}"))
            await reader.readuntil(b"data: x\n\n")
            last = (time.perf_counter() - began) * 1e3
        took.append(last)
        writer.close()
    return median(took)


async def measure(proxy: Proxy, seconds: float) -> None:
    """Measure a proxy and print a line for each figure."""
    server = await asyncio.get_running_loop().create_server(Origin, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    for connections, ahead in _SHAPES:
        rate, cost = await echoes(proxy, port, connections, ahead, seconds)
        print(f"{proxy.name}: {connections} connections, {ahead} ahead: {rate:,.0f} echoes/s, {cost:.1f} us CPU each")
    straight = await first_bytes(("127.0.0.1", port), port, _STREAMS)
    through = await first_bytes(proxy.address, port, _STREAMS)
    print(f"{proxy.name}: first event, median of {_STREAMS}: {straight:.2f} ms straight, {through:.2f} ms through")


@contextmanager
def wiretape(folder: Path) -> Iterator[Proxy]:
    """Run a recorder that records."""
    with RecorderProcess(folder / "wiretape") as recorder:
        recorder.record()
        yield Proxy("wiretape", recorder.address, recorder.process.pid)


@contextmanager
def mitmproxy(folder: Path) -> Iterator[Proxy]:
    """Run mitmdump."""
    port = free_port()
    command = [str(install.mitmdump()), "-q", "--listen-port", str(port), "-w", str(folder / "flows")]
    with subprocess.Popen([*command, "--set", f"confdir={folder / 'conf'}"], stdout=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: _accepts(port), what="mitmproxy", timeout=60.0)
            yield Proxy("mitmproxy", ("127.0.0.1", port), process.pid)
        finally:
            process.kill()


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def main() -> int:
    """Run it; 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each load")
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory(prefix="wiretape-bench-") as folder:
        for peer in (wiretape, mitmproxy):
            try:
                with peer(Path(folder)) as proxy, asyncio.Runner(loop_factory=new_loop) as runner:
                    runner.run(measure(proxy, seconds))
            except BenchError as error:
                print(f"left out: {error}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
