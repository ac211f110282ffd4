"""Peers that speak HTTP/2 with python-hyper's h2, which is not what the product uses: a client and an origin.

    with H2Origin(issued.server_context(alpn=("h2",))) as origin: ...
    with H2Client.tunnel(proxy, "localhost", origin.port, tls=context) as client:
        answer = client.get("/bytes/1000")

Both check nothing of what they send, so that a test can send what is forbidden; ``connection`` is h2's own object.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings

from harness.bodies import body_for
from harness.clients import Address, RawClient
from wiretape.cli.demo.waiting import DEADLINE

Fields = list[tuple[bytes, bytes]]
WINDOW = 16 * 1024 * 1024


def h2_connection(*, client: bool) -> h2.connection.H2Connection:
    """Return a connection that checks nothing of what goes out and little of what comes in."""
    config = h2.config.H2Configuration(
        client_side=client,
        header_encoding=False,
        validate_inbound_headers=False,
        validate_outbound_headers=False,
        normalize_inbound_headers=False,
        normalize_outbound_headers=False,
    )
    return h2.connection.H2Connection(config)


@dataclass
class Message:
    """What came on a stream, one direction."""

    fields: Fields = field(default_factory=list)
    interim: list[Fields] = field(default_factory=list)
    body: bytearray = field(default_factory=bytearray)
    trailers: Fields = field(default_factory=list)
    ended: bool = False
    reset: int | None = None

    @property
    def headers(self) -> dict[str, str]:
        """The fields as text; of repeated ones the last."""
        return {name.decode("latin-1"): value.decode("latin-1") for name, value in self.fields}

    @property
    def status(self) -> int:
        """The status code."""
        return int(self.headers[":status"])


class H2Wire:
    """A socket that speaks HTTP/2, either side; used by one thread at a time."""

    def __init__(self, sock: socket.socket, *, client: bool, window: int = WINDOW) -> None:
        self.sock = sock
        self.connection = h2_connection(client=client)
        first = {
            h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window,
            h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: 1000,
        }
        self.connection.local_settings = h2.settings.Settings(client=client, initial_values=first)
        self.messages: dict[int, Message] = {}
        self.goaway: int | None = None
        self.reading = True
        """Whether the peer is given window for what came."""
        self.held = 0
        self.sent = 0
        self._unsent: dict[int, tuple[bytearray, bool, Fields]] = {}
        self.connection.initiate_connection()
        self.connection.decoder.max_header_list_size = 1 << 20
        if window > 65_535:
            self.connection.increment_flow_control_window(window - 65_535)
        self.flush()

    def flush(self) -> None:
        """Send what is queued."""
        data = self.connection.data_to_send()
        if data:
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                self.sock.sendall(data)

    def send_body(self, stream: int, data: bytes, *, end: bool = True, trailers: Fields | None = None) -> None:
        """Send a body as the windows allow."""
        waiting, _, _ = self._unsent.setdefault(stream, (bytearray(), False, []))
        waiting += data
        self._unsent[stream] = (waiting, end, trailers or [])
        self._push(stream)
        self.flush()

    def unsent(self, stream: int) -> int:
        """Return how many bytes of a body still wait for the peer's window."""
        return len(self._unsent[stream][0]) if stream in self._unsent else 0

    def _push(self, stream: int) -> None:
        waiting, end, trailers = self._unsent[stream]
        connection = self.connection
        while waiting:
            room = min(connection.local_flow_control_window(stream), connection.max_outbound_frame_size)
            if room <= 0:
                return
            piece = bytes(waiting[:room])
            del waiting[:room]
            self.sent += len(piece)
            connection.send_data(stream, piece, end_stream=end and not waiting and not trailers)
            if not waiting and (end and not trailers):
                del self._unsent[stream]
                return
        del self._unsent[stream]
        if end and trailers:
            connection.send_headers(stream, trailers, end_stream=True)
        elif end:
            connection.end_stream(stream)

    def read(self, timeout: float = DEADLINE) -> bool:
        """Read once and take note of what came; False at the end of the stream."""
        pending = isinstance(self.sock, ssl.SSLSocket) and self.sock.pending()
        if not pending and not select.select([self.sock], [], [], timeout)[0]:
            raise TimeoutError("nothing came")
        try:
            data = self.sock.recv(65536)
        except (ConnectionError, ssl.SSLError):
            data = b""
        if not data:
            return False
        for event in self.connection.receive_data(data):
            self._take(event)
        self.flush()
        return True

    def _take(self, event: h2.events.Event) -> None:
        stream = getattr(event, "stream_id", 0) or 0
        message = self.messages.setdefault(stream, Message()) if stream else Message()
        if isinstance(event, h2.events.RequestReceived | h2.events.ResponseReceived):
            message.fields = list(event.headers)
        elif isinstance(event, h2.events.InformationalResponseReceived):
            message.interim.append(list(event.headers))
        elif isinstance(event, h2.events.TrailersReceived):
            message.trailers = list(event.headers)
        elif isinstance(event, h2.events.DataReceived):
            message.body += event.data
            if self.reading:
                self.connection.acknowledge_received_data(event.flow_controlled_length, stream)
            else:
                self.held += event.flow_controlled_length
        elif isinstance(event, h2.events.StreamEnded):
            message.ended = True
            self.on_message(stream, message)
        elif isinstance(event, h2.events.StreamReset):
            message.reset = int(event.error_code or 0)
            self._unsent.pop(stream, None)
        elif isinstance(event, h2.events.ConnectionTerminated):
            self.goaway = int(event.error_code or 0)
        elif isinstance(event, h2.events.WindowUpdated | h2.events.RemoteSettingsChanged):
            for waiting in list(self._unsent):
                if not stream or waiting == stream:
                    self._push(waiting)

    def on_message(self, stream: int, message: Message) -> None:
        """Take note that a message is whole."""

    def close(self) -> None:
        """Close the socket."""
        self.sock.close()


class H2Client(H2Wire):
    """A client; ``authority`` is what its requests are for."""

    def __init__(self, sock: socket.socket, authority: str, *, window: int = WINDOW) -> None:
        super().__init__(sock, client=True, window=window)
        self.authority = authority

    @classmethod
    def tunnel(
        cls, proxy: Address, host: str, port: int, *, tls: ssl.SSLContext, window: int = WINDOW, alpn: str = "h2"
    ) -> Self:
        """CONNECT through ``proxy`` and shake hands, offering HTTP/2; the proxy must take it."""
        tls.set_alpn_protocols([alpn])
        raw = RawClient.tunnel(proxy, host, port, tls=tls)
        assert isinstance(raw.sock, ssl.SSLSocket)
        assert raw.sock.selected_alpn_protocol() == alpn
        return cls(raw.sock, f"{host}:{port}", window=window)

    def head(self, method: str, path: str, headers: Fields | None = None) -> Fields:
        """Return the fields of a request."""
        return [
            (b":method", method.encode()),
            (b":scheme", b"https"),
            (b":authority", self.authority.encode()),
            (b":path", path.encode()),
            *(headers or []),
        ]

    def send(
        self,
        method: str,
        path: str,
        headers: Fields | None = None,
        body: bytes | None = None,
        trailers: Fields | None = None,
    ) -> int:
        """Send a request; return its stream."""
        stream: int = self.connection.get_next_available_stream_id()
        whole = body is None and not trailers
        self.connection.send_headers(stream, self.head(method, path, headers), end_stream=whole)
        self.messages[stream] = Message()
        if not whole:
            self.send_body(stream, body or b"", trailers=trailers)
        self.flush()
        return stream

    def answer(self, stream: int) -> Message:
        """Read until the answer to a request is whole, or was broken off."""
        message = self.messages[stream]
        while not message.ended and message.reset is None:
            if not self.read():
                raise EOFError(f"the connection ended; GOAWAY {self.goaway}")
        return message

    def get(self, path: str, headers: Fields | None = None) -> Message:
        """GET ``path``."""
        return self.answer(self.send("GET", path, headers))

    def read_to_end(self) -> None:
        """Read until the peer ends the connection."""
        while self.read():
            pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass
class ReceivedRequest:
    """A request as it came: of which connection and stream."""

    connection: int
    stream: int
    message: Message

    @property
    def path(self) -> str:
        """Its path."""
        return self.message.headers[":path"]


class OriginWire(H2Wire):
    """One connection of an origin."""

    def __init__(self, origin: H2Origin, sock: socket.socket, number: int) -> None:
        self.origin = origin
        self.number = number
        super().__init__(sock, client=False)

    def on_message(self, stream: int, message: Message) -> None:
        """Answer a request."""
        request = ReceivedRequest(self.number, stream, message)
        self.origin.requests.append(request)
        with contextlib.suppress(h2.exceptions.StreamClosedError):
            self.origin.route(request.path)(self, request)
        self.flush()

    def respond(
        self, stream: int, status: int, headers: Fields | None = None, body: bytes = b"", trailers: Fields | None = None
    ) -> None:
        """Send a whole response."""
        fields = [(b":status", str(status).encode()), *(headers or [])]
        whole = not body and not trailers
        self.connection.send_headers(stream, fields, end_stream=whole)
        if not whole:
            self.send_body(stream, body, trailers=trailers)


Route = Callable[[OriginWire, ReceivedRequest], None]


class H2Origin:
    """A server on loopback; its paths are ``_ROUTES`` and what ``on`` adds."""

    def __init__(self, tls: ssl.SSLContext, *, port: int = 0) -> None:
        self.requests: list[ReceivedRequest] = []
        self.wires: list[OriginWire] = []
        self.errors: list[BaseException] = []
        self._tls = tls
        self._routes: dict[str, Route] = {}
        self._closing = False
        self._listener = socket.create_server(("127.0.0.1", port), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def on(self, path: str, route: Route) -> None:
        """Answer ``path`` with ``route``."""
        self._routes[path] = route

    def url(self, path: str = "/") -> str:
        """Return the URL of a path."""
        return f"https://localhost:{self.port}{path}"

    def route(self, path: str) -> Route:
        """Return what answers a path."""
        own = self._routes.get(path.partition("?")[0])
        if own is not None:
            return own
        for prefix, route in _ROUTES.items():
            if path.startswith(prefix):
                return route
        return _nothing

    def _accept(self) -> None:
        while not self._closing:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            wire = OriginWire(self, self._tls.wrap_socket(sock, server_side=True), len(self.wires) + 1)
            self.wires.append(wire)
            with contextlib.closing(wire):
                while wire.read(60):
                    pass
        except (OSError, TimeoutError, h2.exceptions.ProtocolError):
            sock.close()
        except Exception as error:  # noqa: BLE001 -- a thread's exception would be lost
            self.errors.append(error)

    def close(self) -> None:
        """Stop; raises what went wrong in a route."""
        self._closing = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for wire in self.wires:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(wire.sock, socket.SHUT_RDWR)
        if self.errors:
            raise AssertionError(f"the test origin failed: {self.errors!r}") from self.errors[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _bytes(wire: OriginWire, request: ReceivedRequest) -> None:
    size = int(request.path.partition("?")[0].rpartition("/")[2])
    body = body_for(request.path, size)
    length = [(b"content-length", str(len(body)).encode())]
    if request.message.headers[":method"] == "HEAD":
        wire.respond(request.stream, 200, length)
    else:
        wire.respond(request.stream, 200, [(b"content-type", b"application/octet-stream"), *length], body)


def _echo(wire: OriginWire, request: ReceivedRequest) -> None:
    message = request.message
    wire.respond(request.stream, 200, [(b"x-method", message.headers[":method"].encode())], bytes(message.body))


def _trailers(wire: OriginWire, request: ReceivedRequest) -> None:
    wire.respond(request.stream, 200, [(b"trailer", b"x-sum")], b"body", [(b"x-sum", b"42"), (b"x-more", b"a")])


def _hints(wire: OriginWire, request: ReceivedRequest) -> None:
    wire.connection.send_headers(request.stream, [(b":status", b"103"), (b"link", b"</a.css>; rel=preload")])
    wire.respond(request.stream, 200, [], b"after hints")


def _reset(wire: OriginWire, request: ReceivedRequest) -> None:
    wire.connection.reset_stream(request.stream, int(request.path.rpartition("/")[2]))


def _nothing(wire: OriginWire, request: ReceivedRequest) -> None:
    wire.respond(request.stream, 404, [(b"content-type", b"text/plain")], b"no such path")


_ROUTES: dict[str, Route] = {
    "/bytes/": _bytes,
    "/echo": _echo,
    "/trailers": _trailers,
    "/hints": _hints,
    "/reset/": _reset,
}
