"""A real HTTP/1.1 origin for tests, plain or TLS, that does what its paths say and keeps what it received.

    with Origin() as origin:                       # http://127.0.0.1:PORT
        ...; origin.requests[0].head               # the exact bytes
    with Origin(tls=ca.issue().server_context()) as origin: ...   # https://localhost:PORT

The paths are listed in :mod:`harness.routes`. Two ways to do more:

    held = origin.hold("/bytes/1000", at="part")   # answers of that path stop there ...
    held.wait_reached(); ...; held.release()       # ... until released
    origin.script("/evil", b"HTTP/1.1 200 OK\\r\\n", b"Content-Length: +5\\r\\n\\r\\nhello", then="close")
"""

from __future__ import annotations

import contextlib
import functools
import socket
import ssl
import threading
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal, Self

from harness import routes
from harness.origin_http import BadRequestError, PeerGoneError, ReceivedRequest, Wire, read_body, read_head
from wiretape.cli.demo.waiting import DEADLINE, wait_until

Stage = Literal["request", "head", "part"]
Then = Literal["keep", "close", "reset"]


class Hold:
    """Answers of one path, stopped at one point until released.

    ``at`` is "request" (the head of the request is here, nothing is sent), "head" (the head of the answer is sent) or
    "part" (the first half of the body, or the first chunk, is sent). Use it as a context manager to release for sure.
    """

    def __init__(self, path: str, at: Stage) -> None:
        self.path = path
        self.at = at
        self.arrived = 0
        """How many answers have come to this point."""
        self._lock = threading.Lock()
        self._released = threading.Event()

    def wait_reached(self, times: int = 1, timeout: float = DEADLINE) -> None:
        """Wait until ``times`` answers have come to the point."""
        wait_until(lambda: self.arrived >= times, what=f"{times} answers at {self.path} ({self.at})", timeout=timeout)

    def release(self) -> None:
        """Let all go on, also those that come later."""
        self._released.set()

    def stop_here(self) -> None:
        """Called by the origin's threads."""
        with self._lock:
            self.arrived += 1
        if not self._released.wait(120):
            raise PeerGoneError(f"nobody released the hold on {self.path}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


@dataclass(frozen=True, slots=True)
class Script:
    """Bytes to answer with, whatever they are, and what happens to the connection then."""

    pieces: tuple[bytes, ...]
    then: Then


@dataclass(slots=True)
class _Open:
    wires: set[Wire] = field(default_factory=set)
    threads: list[threading.Thread] = field(default_factory=list)


class Origin:
    """The server; it listens from its construction until :meth:`close`.

    Args:
        tls: a server context to speak HTTPS.
        host: the address to listen on.
        port: the port, 0 for a free one.
    """

    def __init__(self, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1", port: int = 0) -> None:
        self.tls = tls
        self.host = host
        self.requests: list[ReceivedRequest] = []
        """Every request whose head arrived, in order of arrival."""
        self.connections = 0
        """How many connections were accepted."""
        self.resumed = 0
        """How many TLS handshakes resumed an earlier session."""
        self.tls_failures: list[str] = []
        self.bad_requests: list[str] = []
        self.swallowed = 0
        """Requests begun on a connection that ``/dead-keepalive?when=next`` closed under them."""
        self.errors: list[BaseException] = []
        self._holds: list[Hold] = []
        self._scripts: dict[str, Script] = {}
        self._open = _Open()
        self._lock = threading.Lock()
        self._closing = False
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, port), family=family, backlog=512)
        self.port: int = self._listener.getsockname()[1]
        self._acceptor = threading.Thread(target=self._accept_all, name=f"origin:{self.port}", daemon=True)
        self._acceptor.start()

    @property
    def authority(self) -> str:
        """``host:port`` as it stands in a URL; an HTTPS origin is called ``localhost``."""
        name = "localhost" if self.tls else self.host
        return f"[{name}]:{self.port}" if ":" in name else f"{name}:{self.port}"

    def url(self, path: str = "/") -> str:
        """Return the absolute URL of ``path``."""
        return f"{'https' if self.tls else 'http'}://{self.authority}{path}"

    def hold(self, path: str, *, at: Stage = "part") -> Hold:
        """Stop answers to ``path`` (without query) at a point until released."""
        hold = Hold(path, at)
        with self._lock:
            self._holds.append(hold)
        return hold

    def script(self, path: str, *pieces: bytes, then: Then = "close") -> None:
        """Answer ``path`` with exactly these bytes, each piece one write, and then keep, close or reset."""
        with self._lock:
            self._scripts[path] = Script(pieces, then)

    def script_for(self, path: str) -> Script | None:
        """Return the script for ``path``."""
        with self._lock:
            return self._scripts.get(path)

    def holds_at(self, path: str, at: Stage) -> list[Hold]:
        """Return the holds that stop an answer to ``path`` at this point."""
        with self._lock:
            return [hold for hold in self._holds if hold.path == path and hold.at == at]

    def requests_for(self, path: str) -> list[ReceivedRequest]:
        """Return the requests whose target, without query, is ``path``."""
        return [request for request in list(self.requests) if request.path == path]

    def wait_for_requests(self, count: int, path: str | None = None, timeout: float = DEADLINE) -> None:
        """Wait until the heads of ``count`` requests (of ``path``) have arrived."""
        what = f"{count} requests at the origin ({path or 'any'})"
        wait_until(
            lambda: len(self.requests if path is None else self.requests_for(path)) >= count, what=what, timeout=timeout
        )

    def close_idle_and_busy(self) -> None:
        """Cut every connection that is open now (FIN), as a server that restarts does; the listener stays."""
        with self._lock:
            wires = list(self._open.wires)
        for wire in wires:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(wire.sock, socket.SHUT_RDWR)

    def close(self) -> None:
        """Stop listening and end all connections; raises what went wrong inside a route."""
        self._closing = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
        self._listener.close()
        self._acceptor.join(DEADLINE)
        for hold in self._holds:
            hold.release()
        self.close_idle_and_busy()
        for thread in self._open.threads:
            thread.join(DEADLINE)
        if self.errors:
            raise AssertionError(f"the test origin failed: {self.errors!r}") from self.errors[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def _accept_all(self) -> None:
        while not self._closing:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            wire = Wire(sock)
            with self._lock:
                self._open.wires.add(wire)
            thread = threading.Thread(target=self._serve, args=(wire, self.connections), daemon=True)
            self._open.threads.append(thread)
            thread.start()

    def _serve(self, wire: Wire, number: int) -> None:
        try:
            wire.no_delay()
            if self.tls is not None:
                self._handshake(wire, self.tls)
            self._serve_requests(wire, number)
        except PeerGoneError:
            pass
        except Exception as exc:  # noqa: BLE001 - kept for close(), a thread's exception would be lost
            self.errors.append(exc)
        finally:
            wire.sock.close()
            with self._lock:
                self._open.wires.discard(wire)

    def _handshake(self, wire: Wire, context: ssl.SSLContext) -> None:
        try:
            secured = context.wrap_socket(wire.sock, server_side=True, do_handshake_on_connect=False)
            wire.sock = secured  # known to close() before the handshake blocks
            secured.do_handshake()
        except OSError as exc:
            self.tls_failures.append(str(exc))
            raise PeerGoneError("handshake") from exc
        self.resumed += bool(secured.session_reused)

    def _serve_requests(self, wire: Wire, number: int) -> None:
        while not self._closing:
            try:
                request = read_head(wire, number)
                with self._lock:
                    self.requests.append(request)
                after = routes.Call(self, wire, request).run(functools.partial(read_body, wire, request))
            except BadRequestError as exc:
                self.bad_requests.append(str(exc))
                wire.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                after = "close"
            if after == "reset":
                wire.reset()
                return
            if after != "keep":
                wire.close(drain=after == "close", notify=after != "rude")
                return
