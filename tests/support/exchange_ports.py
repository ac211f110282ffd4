"""Both ports of an exchange and the stream it is recorded in, as lists of what happened; no sockets, no loop.

Each fake holds the exchange to its promises on the spot: nothing is sent that is not in the log yet, and nothing is
called after its end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from wiretape.log.format import Done, Flag, FrameType, Opened, Record, SentOn
from wiretape.recorder.exchange import Exchange
from wiretape.recorder.exchange_log import ConnectTimes, ExchangeLog, Server, Stream
from wiretape.recorder.ports import (
    AnyResponseHead,
    BytesFromClient,
    BytesFromServer,
    Client,
    Decider,
    FromServer,
    Held,
    Pieces,
    Refusal,
    Request,
    Seeker,
)
from wiretape.recorder.route import Route
from wiretape.recorder.states import MOVES
from wiretape.wire.http1 import RequestHead, ResponseHead, parse_request_head, parse_response_head

TIMES = ConnectTimes(1, 2, -1)
_SIDES = {FrameType.REQUEST_BODY: "request", FrameType.RESPONSE_BODY: "response"}


def request_head(method: str = "GET", *fields: str) -> RequestHead:
    """Return the head of a request to ``example.com``."""
    lines = [f"{method} http://example.com/ HTTP/1.1", "Host: example.com", *fields, "", ""]
    head = parse_request_head("\r\n".join(lines).encode())
    assert head is not None
    return head


def response_head(status: int = 200, *fields: str, method: str = "GET") -> ResponseHead:
    """Return the head of a response."""
    head = parse_response_head("\r\n".join([f"HTTP/1.1 {status} x", *fields, "", ""]).encode(), method)
    assert head is not None
    return head


OK = response_head(200, "Content-Length: 5")
POST = request_head("POST", "Content-Length: 6")


class FakeStream:
    """A session's stream: frames are gathered, and written by ``flush``, which then releases."""

    def __init__(self) -> None:
        self.keep = 1 << 62
        self.epoch = 0
        self.accepting = True
        self.full = False
        self.written: list[tuple[int, Record, bytes]] = []
        self.begun = self.ended = 0
        self._gathered: list[tuple[int, Record, bytes]] = []
        self._flags: list[int] = []
        self._released: list[tuple[Callable[[Any], None], Any]] = []
        self._last: list[tuple[Callable[[Any], None], Any]] = []

    def take_seq(self) -> int:
        """Return the number of the one exchange there is."""
        return 1

    def begin(self) -> None:
        """Count."""
        self.begun += 1

    def end(self, *, dropped: bool = False, seq: int = 0) -> None:
        """Count."""
        self.ended += 1

    def count_unrecorded(self, count: int = 1) -> None:
        """No test gets here."""
        raise AssertionError

    def append(self, kind: int, seq: int, record: Record, data: bytes = b"", flags: int = 0) -> None:
        """Gather a frame; nothing may follow the end."""
        assert FrameType.DONE not in self.kinds(self._gathered + self.written), f"{FrameType(kind).name} after DONE"
        self._gathered.append((kind, record, data))
        self._flags.append(flags)

    def release(self, action: Callable[[Any], None], argument: Any) -> None:
        """Gather an action."""
        self._released.append((action, argument))

    def release_last(self, action: Callable[[Any], None], argument: Any) -> None:
        """Gather an action that waits for the disk, too."""
        self._last.append((action, argument))

    def flush(self, *, synced: bool = True) -> None:
        """Write what is gathered and release; without ``synced`` what waits for the disk goes on waiting."""
        self.written += self._gathered
        self._gathered = []
        released, self._released = self._released, []
        for action, argument in released:
            action(argument)
        if synced:
            last, self._last = self._last, []
            for action, argument in last:
                action(argument)

    @property
    def flagged(self) -> list[tuple[int, Record, bytes, int]]:
        """The frames that are written, with their flags."""
        return [(*frame, flags) for frame, flags in zip(self.written, self._flags, strict=False)]

    @property
    def waiting(self) -> bool:
        """Whether something is to be released yet."""
        return bool(self._released or self._last)

    @staticmethod
    def kinds(frames: list[tuple[int, Record, bytes]]) -> list[int]:
        """Return the kinds of frames."""
        return [kind for kind, _, _ in frames]

    @property
    def opened(self) -> bool:
        """Whether OPENED is written."""
        return FrameType.OPENED in self.kinds(self.written)

    @property
    def dones(self) -> list[Done]:
        """All ends that are written or gathered."""
        return [record for _, record, _ in self.written + self._gathered if isinstance(record, Done)]

    def body(self, side: str) -> bytes:
        """Return what is written of a body, in whatever frames it is."""
        out = b""
        replaced: bytes | None = None
        for kind, record, data, flags in self.flagged:
            if isinstance(record, SentOn):
                mine = bool(flags & Flag.RESPONSE) == (side == "response")
                if mine and (record.head_size or record.position) and not flags & Flag.SAME_BODY:
                    replaced = (replaced or b"") + data[record.head_size :]
            elif _SIDES.get(FrameType(kind)) == side:
                out += data
            elif (isinstance(record, Opened) and side == "request") or (
                isinstance(record, Done) and side == "response"
            ):
                out += data[record.head_size :]
        return out if replaced is None else replaced


class FakeDownstream:
    """A client's side. ``events`` has what it was told to send."""

    protocol = ""
    number = 0

    def __init__(self, stream: FakeStream) -> None:
        self.client = Client(7, "127.0.0.1:1", "explicit")
        self.full = False
        self.events: list[tuple[Any, ...]] = []
        self.body = b""
        self.paused = False
        self.ended = False
        self.listener: BytesFromClient | None = None
        self._stream = stream

    def _add(self, pieces: Pieces, end: bool) -> None:
        assert not self.ended, "something was sent after the end"
        self.body += b"".join(pieces)
        if self.listener is None:
            assert self._stream.body("response").startswith(self.body), "a byte went out before it was in the log"
            if end:
                assert FrameType.DONE in self._stream.kinds(self._stream.written), "the last byte went before DONE"
        self.ended = end

    def interim(self, head: AnyResponseHead) -> None:
        """Note a 1xx response."""
        assert not self.ended
        self.events.append(("interim", head.status))

    def respond(self, head: AnyResponseHead, pieces: Pieces, end: bool, trailers: bytes) -> None:
        """Note a head."""
        assert not any(event[0] == "respond" for event in self.events)
        self.events.append(("respond", head.status))
        self._add(pieces, end)
        if end:
            self.events.append(("end", trailers))

    def send_data(self, pieces: Pieces, end: bool, trailers: bytes) -> None:
        """Note pieces."""
        self._add(pieces, end)
        if end:
            self.events.append(("end", trailers))

    def refuse(self, refusal: Refusal) -> None:
        """Note an answer of our own."""
        assert not any(event[0] == "respond" for event in self.events)
        self._add([], True)
        self.events.append(("refuse", refusal.status, refusal.code))

    def reset(self) -> None:
        """Note a break."""
        self._add([], True)
        self.events.append(("reset",))

    def pause(self) -> None:
        """Note it."""
        self.paused = True

    def resume(self) -> None:
        """Note it."""
        self.paused = False

    def switch(self, listener: BytesFromClient) -> None:
        """Take who listens from now on."""
        self.listener = listener

    def respond_switched(self, head: AnyResponseHead) -> None:
        """Note the head of a switch."""
        self.events.append(("switched", head.status))

    def close(self) -> None:
        """Note an orderly end."""
        assert FrameType.DONE in self._stream.kinds(self._stream.written)
        self.ended = True
        self.events.append(("close",))


class FakeUpstream:
    """A server's side. ``events`` has what it was told to send."""

    def __init__(self, stream: FakeStream, *, reused: bool = False) -> None:
        self.server = Server(9, "192.0.2.1:80", "192.0.2.9:5000")
        self.reused = reused
        self.full = False
        self.noted: Stream | None = None
        self.events: list[tuple[Any, ...]] = []
        self.body = b""
        self.paused = False
        self.sent = True
        self.ended = False
        self.listener: FromServer | BytesFromServer | None = None
        self.raw: BytesFromServer | None = None
        self._stream = stream

    @property
    def server_side(self) -> FromServer:
        """Return who listens, to be told of a response."""
        assert self.listener is not None
        return self.listener  # type: ignore[return-value]

    def note(self, stream: Stream) -> None:
        """Take note."""
        self.noted = stream

    def _add(self, pieces: Pieces) -> None:
        assert not self.ended, "something was sent after the lease"
        self.body += b"".join(pieces)
        assert self._stream.body("request").startswith(self.body), "a byte went out before it was in the log"

    def send_request(self, request: Request, pieces: Pieces, end: bool, trailers: bytes, listener: FromServer) -> None:
        """Note a request."""
        assert self._stream.opened, "the request went before OPENED"
        self.listener = listener
        self._add(pieces)
        self.events.append(("request", request.head.method, end))

    def send_data(self, pieces: Pieces, end: bool, trailers: bytes) -> None:
        """Note pieces."""
        if self.raw is not None:
            assert not self.ended
            self.body += b"".join(pieces)
        else:
            self._add(pieces)
        if end:
            self.events.append(("end", trailers))

    def pause(self) -> None:
        """Note it."""
        self.paused = True

    def resume(self) -> None:
        """Note it."""
        self.paused = False

    def _end(self, how: str) -> None:
        assert not self.ended, "a lease ends once"
        self.ended = True
        self.events.append((how,))

    def give_back(self) -> None:
        """Note the end of the lease."""
        self._end("give back")

    def finish(self) -> None:
        """Note the end of the lease."""
        self._end("finish")

    def reset(self) -> None:
        """Note the end of the lease."""
        self._end("reset")

    def switch(self, listener: BytesFromServer) -> None:
        """Take who listens from now on."""
        self.raw = listener

    def close(self) -> None:
        """Note an orderly end."""
        self.events.append(("close",))


class FakeSearch:
    """A connection that is being made."""

    def __init__(self, seeker: Seeker) -> None:
        self.seeker = seeker
        self.cancelled = False
        self.over = False

    def cancel(self) -> None:
        """Note it."""
        self.cancelled = True


class FakeUpstreams:
    """Gives what lies in ``idle``, and keeps who seeks in ``searches``."""

    def __init__(self) -> None:
        self.idle: list[FakeUpstream] = []
        self.searches: list[FakeSearch] = []

    def take(self, route: Route, owner: int) -> FakeUpstream | None:
        """Return an idle one."""
        return self.idle.pop() if self.idle else None

    def seek(self, route: Route, owner: int, seeker: Seeker) -> FakeSearch:
        """Note who seeks."""
        search = FakeSearch(seeker)
        self.searches.append(search)
        return search


class FakeDecider:
    """Holds what it is told to hold. It is its own one case."""

    watches_response = True

    def __init__(self, *, request: bool = False, response: bool = False, more: bool = False) -> None:
        self.request = request
        self.response = response
        self.more = more
        self.asked: list[str] = []
        self._exchange: Held | None = None

    @property
    def exchange(self) -> Held:
        """The exchange."""
        assert self._exchange is not None
        return self._exchange

    def request_seen(self, exchange: Held) -> FakeDecider:
        """Return what decides."""
        self._exchange = exchange
        return self

    def begin(self) -> None:
        """Let a request go that is not to be held."""
        self.asked.append("request")
        if not self.request:
            self.exchange.proceed()

    def request_more(self) -> None:
        """Note it."""
        self.asked.append("more of the request")

    def response_seen(self, head: AnyResponseHead) -> bool:
        """Let a response go that is not to be held."""
        self.asked.append("response")
        if not self.response:
            self.exchange.proceed()
        return self.more

    def response_more(self) -> None:
        """Note it."""
        self.asked.append("more of the response")

    def ended(self) -> None:
        """Note it."""
        self.asked.append("ended")


class CheckedExchange(Exchange):
    """An exchange whose every move is held against the table."""

    _state = 0

    @property
    def state(self) -> int:
        """Return where it stands."""
        return self._state

    @state.setter
    def state(self, after: int) -> None:
        before = self._state
        assert not before or after in MOVES[before].values(), f"no move leads from {before} to {after}"
        self._state = after


class Setting:
    """An exchange between fakes."""

    def __init__(self, head: RequestHead | None = None, decider: Decider | None = None) -> None:
        self.stream = FakeStream()
        self.client = FakeDownstream(self.stream)
        self.upstreams = FakeUpstreams()
        route = Route("http", "example.com", 80)
        self.exchange = CheckedExchange(
            self.client,
            Request(head or request_head(), route, b"/", None),
            self.upstreams,
            ExchangeLog(self.stream),
            decider,
        )

    def server(self, *, reused: bool = False) -> FakeUpstream:
        """Return an idle connection, which the exchange will take."""
        upstream = FakeUpstream(self.stream, reused=reused)
        self.upstreams.idle.append(upstream)
        return upstream

    @property
    def done(self) -> Done:
        """The one end of the exchange."""
        (done,) = self.stream.dones
        return done


def asked(setting: Setting, *, reused: bool = False) -> FakeUpstream:
    """Begin an exchange whose request has no body, and return the server that has it."""
    upstream = setting.server(reused=reused)
    setting.exchange.start([], True, b"")
    setting.stream.flush()
    return upstream


def uploading(setting: Setting) -> FakeUpstream:
    """Begin an exchange whose request's body is to come, and return the server that has its head."""
    upstream = setting.server()
    setting.exchange.start([], False, b"")
    setting.stream.flush()
    return upstream
