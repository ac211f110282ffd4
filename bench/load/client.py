"""A lean HTTP/1.1 load client that can CONNECT, in a process of its own: ``python -m bench.load.client SPEC``.

Why not hey: it shares its core with the origin, and there it spends about twice the CPU per HTTPS request that this
client does, so that a fast proxy would be measured by the client's limit (``loadLimits`` in the results says where
that is). Why not wrk: it cannot CONNECT. One epoll loop, one generator per connection, one request in flight on each.

Every answer is counted only when its status line says 200 and its last byte, by Content-Length, has arrived. When the
time is up, requests in flight are finished, so that what was answered can be compared exactly with what was recorded.
"""

from __future__ import annotations

import json
import select
import socket
import ssl
import sys
import time
from collections.abc import Generator
from typing import Any

from bench.load import cores
from bench.load.spec import LoadResult, LoadSpec, percentile

# What a generator waits for before it goes on.
Wait = Generator[int, None, None]

_BUFFER = 1 << 18
_DRAIN_SECONDS = 5.0


class LoadError(Exception):
    """The other side did something that makes a measurement meaningless."""


class Client:
    """Keeps ``spec.connections`` requests in flight until the time is up."""

    def __init__(self, spec: LoadSpec) -> None:
        self._spec = spec
        self._epoll = select.epoll()
        self._tasks: dict[int, tuple[socket.socket, Wait]] = {}
        self._interest: dict[int, int] = {}
        self._buffer = bytearray(_BUFFER)
        self._view = memoryview(self._buffer)
        self._lengths: dict[bytes, int] = {}
        self._tls = _context() if spec.tls else None
        path = spec.path if spec.connect or not spec.absolute else f"http://{spec.host}{spec.path}"
        self._request = f"GET {path} HTTP/1.1\r\nHost: {spec.host}\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n".encode()
        self._stop_at = 0.0
        self.answers = 0
        self.errors: dict[str, int] = {}
        self.received = 0
        self.latencies: list[float] = []

    def run(self) -> LoadResult:
        """Load for ``warmup`` + ``duration`` seconds and count what was answered in the latter."""
        started = time.perf_counter()
        self._stop_at = started + self._spec.warmup + self._spec.duration
        for _ in range(self._spec.connections):
            self._open()
        self._turn_until(started + self._spec.warmup)
        answers, received = self.answers, self.received
        self.latencies.clear()
        ticks = cores.times()
        began = time.perf_counter()
        self._turn_until(self._stop_at)
        seconds = time.perf_counter() - began
        busy = cores.busy(ticks, cores.times())
        measured, size = self.answers - answers, self.received - received
        latencies = sorted(self.latencies)
        self._turn_until(time.perf_counter() + _DRAIN_SECONDS)
        return LoadResult(
            answered=self.answers,
            measured=measured,
            seconds=seconds,
            bytes=size,
            errors=self.errors,
            unfinished=len(self._tasks),
            p50_ms=percentile(latencies, 50) * 1e3,
            p99_ms=percentile(latencies, 99) * 1e3,
            busy=busy,
        )

    # ------------------------------------------------------------------------------------------------- the loop

    def _turn_until(self, deadline: float) -> None:
        while self._tasks and (left := deadline - time.perf_counter()) > 0:
            for fd, _ in self._epoll.poll(left):
                self._resume(fd)

    def _open(self) -> None:
        sock = socket.socket()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        fd = sock.fileno()
        try:
            sock.connect(("127.0.0.1", self._spec.port))
        except BlockingIOError:
            pass
        self._tasks[fd] = (sock, self._connection(sock))
        self._interest[fd] = select.EPOLLOUT
        self._epoll.register(fd, select.EPOLLOUT)

    def _resume(self, fd: int) -> None:
        _, task = self._tasks[fd]
        try:
            wanted = next(task)
        except StopIteration:
            self._close(fd)
        except (OSError, LoadError) as error:
            self._count(error)
            self._close(fd)
        else:
            if wanted != self._interest[fd]:
                self._interest[fd] = wanted
                self._epoll.modify(fd, wanted)

    def _close(self, fd: int) -> None:
        self._epoll.unregister(fd)
        sock, _ = self._tasks.pop(fd)
        del self._interest[fd]
        sock.close()
        if self._spec.reconnect and time.perf_counter() < self._stop_at:
            self._open()

    def _count(self, error: Exception) -> None:
        name = f"{type(error).__name__}: {error}"[:120]
        self.errors[name] = self.errors.get(name, 0) + 1

    # ----------------------------------------------------------------------------------------------- connections

    def _connection(self, plain: socket.socket) -> Wait:
        """One connection's life: connect, CONNECT, handshake, then requests until they or the time are used up."""
        started = time.perf_counter()
        error = plain.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise OSError(error, "connect")
        sock = plain
        if self._spec.connect:
            yield from self._tunnel(plain)
        if self._tls is not None:
            sock = yield from self._handshake(plain)
        asked = 0
        while (began := time.perf_counter()) < self._stop_at:
            yield from self._exchange(sock)
            self.latencies.append(time.perf_counter() - (began if asked else started))
            asked += 1
            if asked == self._spec.requests:
                return
            if self._spec.rate:
                time.sleep(max(0.0, began + 1 / self._spec.rate - time.perf_counter()))

    def _tunnel(self, sock: socket.socket) -> Wait:
        sock.send(f"CONNECT {self._spec.host} HTTP/1.1\r\nHost: {self._spec.host}\r\n\r\n".encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            yield select.EPOLLIN
            piece = sock.recv(4096)
            if not piece:
                raise LoadError("closed during CONNECT")
            head += piece
        if head[9:12] != b"200":
            raise LoadError(f"CONNECT was answered with {head[:40]!r}")

    def _handshake(self, plain: socket.socket) -> Generator[int, None, ssl.SSLSocket]:
        assert self._tls is not None
        name = self._spec.host.rpartition(":")[0]
        fd = plain.fileno()
        sock = self._tls.wrap_socket(plain, server_hostname=name, do_handshake_on_connect=False)
        self._tasks[fd] = (sock, self._tasks[fd][1])
        while True:
            try:
                sock.do_handshake()
            except ssl.SSLWantReadError:
                yield select.EPOLLIN
            except ssl.SSLWantWriteError:
                yield select.EPOLLOUT
            else:
                return sock

    def _exchange(self, sock: socket.socket) -> Wait:
        sock.send(self._request)
        total = 0
        have = 0
        while True:
            yield select.EPOLLIN
            try:
                while True:
                    size = sock.recv_into(self._view)
                    if not size:
                        raise LoadError("closed before the answer was whole")
                    if not have:
                        total = self._length(size)
                    have += size
                    if have >= total:
                        break
            except (ssl.SSLWantReadError, BlockingIOError):
                continue
            if have > total:
                raise LoadError(f"{have - total} bytes more than the answer")
            self.received += have
            self.answers += 1
            return

    def _length(self, size: int) -> int:
        """Bytes of the whole answer whose beginning is in the buffer."""
        end = self._buffer.find(b"\r\n\r\n", 0, size)
        if end < 0:
            raise LoadError("an answer's head came in pieces")
        head = bytes(self._view[:end])
        total = self._lengths.get(head)
        if total is None:
            total = self._lengths[head] = end + 4 + _content_length(head)
        return total


def _content_length(head: bytes) -> int:
    if head[9:12] != b"200":
        raise LoadError(f"answered with {head.partition(b'.')[2][2:40]!r}")
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    raise LoadError("an answer without Content-Length")


def _context() -> ssl.SSLContext:
    # That the certificate is the proxy's own is checked once, before the load; here it would only cost the load's core.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def main(argv: list[str]) -> int:
    """Run the load that ``argv[0]``, a LoadSpec as JSON, describes, and print a LoadResult as JSON."""
    fields: dict[str, Any] = json.loads(argv[0])
    spec = LoadSpec(**fields)
    result = Client(spec).run()
    print(json.dumps(result.as_dict()))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
