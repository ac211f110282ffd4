"""One exchange: a request on its way to a server, the response on its way back, both in the log first.

The order of writes is the promise: OPENED is in the log before the server gets the first byte (P2), DONE before the
client gets the last (P1). What goes out goes through ``stream.release``, which acts after the write; nothing here hands
a byte to a port before that.

The exchange knows no protocol. It hears of heads and pieces through ``ports.py`` and passes them on. Where it stands is
``state``, and ``states.MOVES`` has every move there is. The hot path just stores the next state; the tests run every
exchange with a check of each store against the table.
"""

from __future__ import annotations

import time
from typing import Final

from wiretape.errors import NetworkError, ProtocolError
from wiretape.log.format import DoneFlag, EndState, Opened
from wiretape.recorder.exchange_log import Act, ConnectTimes, ExchangeLog
from wiretape.recorder.pages import CONTINUE
from wiretape.recorder.pieces import join, with_more
from wiretape.recorder.ports import (
    AnyResponseHead,
    BytesFromServer,
    Case,
    Change,
    Client,
    Decider,
    Downstream,
    NotLookedAtError,
    Pieces,
    Refusal,
    Request,
    Search,
    Timeouts,
    Upstream,
    Upstreams,
)
from wiretape.recorder.states import (
    ANSWERING,
    ASKED,
    ENDED,
    ENDING,
    JUDGED,
    OPENING,
    SEEKING,
    SETTLED,
    SWITCHED,
    WAITING,
)
from wiretape.recorder.tunnel import Tunnel
from wiretape.recorder.websocket import passing_after

# RFC 9110 section 9.2.2: only these may be sent again when nobody knows whether they were acted upon.
_IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
_NOTHING: Final[Pieces] = []
_REUSED: Final = DoneFlag.REUSED
_RETRIED: Final = DoneFlag.RETRIED
_REQUEST_WHOLE: Final = DoneFlag.REQUEST_WHOLE
_clock = time.perf_counter_ns

# How far the request has come.
_COMING: Final = 1
_WHOLE: Final = 2  # its end is gathered for the log
_RELEASED: Final = 3  # its end is in the log; there is no server to send it to yet
_SENT: Final = 4  # the upstream has all of it, body and all
_DISPATCHED: Final = 5  # the same, of a request without a body: one small write, which nobody need ask about

_EARLY: Final = "{} answered before it had been given the whole request: the end of the body may not have reached it"


class Exchange:
    """A request and its response, from the parsed head to the last byte. Implements both listeners of ``ports``.

    Attributes:
        state: where it stands.
        request: what goes to the server.
    """

    __slots__ = (
        "_again",
        "_begun",
        "_case",
        "_client_full",
        "_decider",
        "_downstream",
        "_head",
        "_log",
        "_pieces",
        "_progress",
        "_refusal",
        "_search",
        "_trailers",
        "_unsent",
        "_unsent_trailers",
        "_upstream",
        "_upstreams",
        "request",
        "state",
    )

    def __init__(
        self, downstream: Downstream, request: Request, upstreams: Upstreams, log: ExchangeLog, decider: Decider | None
    ) -> None:
        self.request = request
        self.state = OPENING
        self._downstream = downstream
        self._upstreams = upstreams
        self._log = log
        self._decider = decider
        self._case: Case | None = None
        self._upstream: Upstream | None = None
        self._search: Search | None = None
        self._progress = _COMING
        self._unsent: Pieces = _NOTHING
        self._unsent_trailers = b""
        self._again = True
        self._head: AnyResponseHead | None = None
        self._pieces: Pieces = _NOTHING
        self._trailers: bytes | None = None  # until the response's end has come
        self._begun = False
        self._refusal: Refusal | None = None

    # -- the request -------------------------------------------------------------------------------------------------

    def start(self, pieces: Pieces, end: bool, trailers: bytes) -> None:
        """Begin with the head, and what came of the body with it."""
        log, request, downstream = self._log, self.request, self._downstream
        client = downstream.client
        raw, route = request.head.raw, request.route
        record = Opened(
            time.time_ns(),
            client.connection,
            route.scheme,
            route.host,
            route.port,
            client.name,
            len(raw),
            client.source,
            downstream.protocol,
            downstream.number,
            "",
            client.accepted_at,
        )
        log.opened(record, raw, join(pieces) if pieces else b"", end)
        self._unsent = pieces
        if end:
            self._progress = _RELEASED
            log.flags = _REQUEST_WHOLE
            if trailers:
                log.trailers(trailers, response=False)
                self._unsent_trailers = trailers
        else:
            downstream.pause()  # until there is a server to send it to
        log.stream.release(Exchange._written, self)

    def request_data(self, pieces: Pieces, end: bool, trailers: bytes) -> None:
        """Take more of the body; what comes after the end of the exchange is nobody's (RFC 9112 section 9.6)."""
        if self.state >= ENDING:
            return
        log = self._log
        for piece in pieces:
            log.request_body(piece)
        if end:
            self._progress = _WHOLE
            log.flags |= _REQUEST_WHOLE
            if trailers:
                log.trailers(trailers, response=False)
        log.stream.release(self._forward, (pieces, end, trailers))

    def request_broken(self, error: ProtocolError) -> None:
        """End an exchange whose request cannot be read to its end."""
        if self.state >= ENDING:
            return
        for piece in error.pieces:
            self._log.request_body(piece)
        self._fail(Refusal(error.status, error.code, error.message, error.hint))

    def _written(self) -> None:
        """Go on once OPENED was written (P2), or could not be: then it is counted as dropped (P10)."""
        if self.state != OPENING:
            return
        decider = self._decider
        if decider is not None:
            case = decider.request_seen(self)
            if case is not None:
                self.state = ASKED
                self._case = case
                case.begin()
                return
        self._find()

    def _find(self) -> None:
        self.state = SEEKING
        owner = self._downstream.client.connection
        upstream = self._upstreams.take(self.request.route, owner)
        if upstream is not None:
            self._attach(upstream)
        else:
            self._search = self._upstreams.seek(self.request.route, owner, self)

    def connected(self, upstream: Upstream, times: ConnectTimes) -> None:
        """Take a lease on a connection that was made for this exchange."""
        self._search = None
        self._log.times = times
        self._attach(upstream)

    def unreachable(self, error: NetworkError) -> None:
        """End an exchange for which there is no server."""
        self._search = None
        status = 504 if error.code.endswith("timeout") else 502
        self._fail(Refusal(status, error.code, error.message, error.hint))

    def _attach(self, upstream: Upstream) -> None:
        self.state = WAITING
        self._upstream = upstream
        downstream, log = self._downstream, self._log
        log.server = upstream.server
        if upstream.reused:
            log.flags |= _REUSED
        if upstream.noted is not log.stream:
            upstream.note(log.stream)
        pieces, end = self._unsent, self._progress == _RELEASED
        if end:
            self._progress = _SENT if pieces else _DISPATCHED
        else:
            self._again = False  # what is passed on as it comes is not kept, so it cannot be sent again
            self._unsent = _NOTHING
            downstream.resume()
        if downstream.full:
            upstream.pause()
        log.sent = _clock()
        upstream.send_request(self.request, pieces, end, self._unsent_trailers, self)

    def _forward(self, data: tuple[Pieces, bool, bytes]) -> None:
        """Pass on what is in the log by now."""
        pieces, end, trailers = data
        upstream = self._upstream
        if upstream is not None:
            if end:
                self._progress = _SENT
            upstream.send_data(pieces, end, trailers)
            self._log.sent = _clock()
            if end and self.state >= ENDING:
                self._end_lease()
        elif self.state < ENDING:
            self._unsent = with_more(self._unsent, pieces)
            if end:
                self._unsent_trailers = trailers
                self._progress = _RELEASED
            if self.state == ASKED and self._case is not None:
                self._case.request_more()

    # -- the response ------------------------------------------------------------------------------------------------

    def response_interim(self, head: AnyResponseHead) -> None:
        """Record a 1xx response and pass it on."""
        log = self._log
        log.response_head(head.raw, head.status, interim=True)
        log.stream.release(self._downstream.interim, head)

    def response(self, head: AnyResponseHead, pieces: Pieces, end: bool, trailers: bytes) -> None:
        """Take the final response's head, and what of its body came with it."""
        log = self._log
        log.first = _clock()
        self._head = head
        if self._case is not None:
            self._judge(self._case, head, pieces, end, trailers)
        elif end and not trailers and (self._progress == _DISPATCHED or not self._early):
            self.state = ENDING
            self._pieces = pieces
            log.whole_response(head.raw, pieces[0] if len(pieces) == 1 else b"".join(pieces), head.status)
            upstream, self._upstream = self._upstream, None
            if upstream is not None:
                upstream.give_back()
            log.stream.release_last(Exchange._release_last, self)
        else:
            self.state = ANSWERING
            log.response_head(head.raw, head.status)
            self._record(pieces)
            if end:
                self._finish(pieces, trailers)
            else:
                log.stream.release(self._release_head, pieces)

    def response_data(self, pieces: Pieces, end: bool, trailers: bytes) -> None:
        """Record more of the body and pass it on."""
        self._record(pieces)
        if self.state == JUDGED:
            self._keep(pieces, end, trailers)
            if self._case is not None:
                self._case.response_more()
        elif end:
            self._finish(pieces, trailers)
        else:
            self._log.stream.release(self._release_data, pieces)

    def _record(self, pieces: Pieces) -> None:
        log = self._log
        for piece in pieces:
            log.response_body(piece)

    def _finish(self, pieces: Pieces, trailers: bytes) -> None:
        """Record the end of a response whose last pieces these are, and release them after it (P1)."""
        self.state = ENDING
        self._pieces, self._trailers = pieces, trailers
        log = self._log
        if trailers:
            log.trailers(trailers, response=True)
        if self._early:
            log.done(EndState.COMPLETE, code="answered-early", error=_EARLY.format(self.request.route.where))
        else:
            log.done(EndState.COMPLETE)
        self._end_lease()
        log.stream.release_last(Exchange._release_last, self)

    @property
    def _early(self) -> bool:
        """Whether the server has not been given the whole request, as far as can be seen from here."""
        upstream = self._upstream
        return self._progress < _SENT or (self._progress == _SENT and upstream is not None and not upstream.sent)

    def _end_lease(self) -> None:
        """Let go of the server, whose response is whole.

        Where the request's last pieces are not yet in the log, the lease ends when they have been sent: a connection on
        which half a request was sent would take the next client's for the other half (P14).
        """
        upstream = self._upstream
        if upstream is None or self._progress == _WHOLE:
            return
        if self._progress == _COMING:
            self._log.stream.release(Exchange._finish_lease, self)
        elif self._early:
            self._finish_lease()
        else:
            self._upstream = None
            upstream.give_back()

    def _finish_lease(self) -> None:
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            upstream.finish()

    def _release_head(self, pieces: Pieces) -> None:
        if self._refusal is None and self._head is not None:
            self._begun = True
            self._downstream.respond(self._head, pieces, False, b"")

    def _release_data(self, pieces: Pieces) -> None:
        self._downstream.send_data(pieces, False, b"")

    def _release_last(self) -> None:
        self.state = ENDED
        if self._begun:
            self._downstream.send_data(self._pieces, True, self._trailers or b"")
        elif self._head is not None:
            self._downstream.respond(self._head, self._pieces, True, self._trailers or b"")

    def switched(self, head: AnyResponseHead) -> BytesFromServer:
        """Follow a response after which another protocol is spoken: a tunnel takes both ports over."""
        upstream = self._upstream
        assert upstream is not None
        self._upstream = None
        self.state = SWITCHED
        log = self._log
        log.response_head(head.raw, head.status)
        log.stream.release(self._downstream.respond_switched, head)
        tunnel = Tunnel(self._downstream, upstream, log, passing_after(head, log))
        self._downstream.switch(tunnel)
        return tunnel

    # -- decisions ---------------------------------------------------------------------------------------------------

    @property
    def client(self) -> Client:
        """Whose exchange it is."""
        return self._downstream.client

    @property
    def body(self) -> tuple[Pieces, bool]:
        """What has come of the body of the message that is held, and whether it is whole."""
        if self.state == JUDGED:
            return self._pieces, self._trailers is not None
        return self._unsent, self._progress == _RELEASED

    def more(self) -> None:
        """Let more of the request come while it is held; a client that waits to be told so is told."""
        if self.state == ASKED:
            if not self._log.request_size and self.request.head.expect_continue:
                self._downstream.interim(CONTINUE)
            self._downstream.resume()

    def no_more(self) -> None:
        """Let the client wait."""
        if self.state == ASKED and self._progress != _RELEASED:
            self._downstream.pause()

    def forget_body(self) -> None:
        """Let go of what has come of the request's body."""
        self._unsent = _NOTHING

    def _judge(self, case: Case, head: AnyResponseHead, pieces: Pieces, end: bool, trailers: bytes) -> None:
        """Record what came, keep it, and ask what is to become of it."""
        self.state = JUDGED
        self._log.response_head(head.raw, head.status)
        self._record(pieces)
        self._keep(pieces, end, trailers)
        more = case.response_seen(head)
        if self.state == JUDGED and not more and self._upstream is not None:
            self._upstream.pause()

    def _keep(self, pieces: Pieces, end: bool, trailers: bytes) -> None:
        self._pieces = with_more(self._pieces, pieces)
        if end:
            self._trailers = trailers
            self._end_lease()

    def proceed(self, change: Change | None = None) -> None:
        """Go on with an exchange that was held, changed or as it came."""
        if self.state == ASKED:
            self.no_more()  # until there is a server to send the rest to
            if self._case is not None and not self._case.watches_response:
                self._case = None
            if change is None:
                self._find()
            else:
                self._settle(change)
        elif self.state == JUDGED:
            if change is not None:
                self._replace_response(change)
            pieces = self._pieces
            if self._trailers is not None:
                self._finish(pieces, self._trailers)
                return
            self.state = ANSWERING
            self._pieces = _NOTHING
            self._log.stream.release(self._release_head, pieces)
            if self._upstream is not None and not self._downstream.full:
                self._upstream.resume()

    def _settle(self, change: Change) -> None:
        """Record what goes on in the request's place, and go on once that is written (P15)."""
        self.state = SETTLED
        request, pieces = change.request, change.pieces
        if request is not None:
            self.request = request
            if pieces is not None:
                self._unsent = pieces
        raw = b"" if request is None else request.head.raw
        self._log.acts(change.acts, raw, None if pieces is None else join(pieces))
        self._log.stream.release(Exchange._settled, self)

    def _settled(self) -> None:
        if self.state == SETTLED:
            self._find()

    def _replace_response(self, change: Change) -> None:
        """Record what goes on in the response's place."""
        log, head, pieces = self._log, change.head, change.pieces
        if head is not None:
            self._head = head
            log.status = head.status
            if pieces is not None:
                self._pieces = pieces
        raw = b"" if head is None else head.raw
        log.acts(change.acts, raw, None if pieces is None else join(pieces), response=True)

    def answer(self, head: AnyResponseHead, pieces: Pieces, acts: tuple[Act, ...], state: EndState) -> None:
        """Answer the client with this response without asking a server."""
        if self.state == ASKED:
            self.state = ENDING
            self._head, self._pieces = head, pieces
            self._log.acts(acts)
            self._log.whole_response(head.raw, join(pieces), head.status, state)
            self._log.stream.release_last(Exchange._release_last, self)

    def drop(self, acts: tuple[Act, ...]) -> None:
        """Break the client's connection off without an answer."""
        if self.state in (ASKED, JUDGED):
            self._log.acts(acts, response=self.state == JUDGED)
            self._end(EndState.DROPPED, "dropped-by-rule", "a rule broke the connection off", ENDING)
            self._log.stream.release_last(Exchange._release_failure, self)

    # -- other ends --------------------------------------------------------------------------------------------------

    def response_broken(self, error: ProtocolError, head: AnyResponseHead | None, unparsed: bytes) -> None:
        """End an exchange whose response cannot be read."""
        if self.state >= ENDING:
            return
        log = self._log
        if head is not None:
            log.response_head(head.raw, head.status)
        if unparsed:
            log.unparsed(unparsed)
        self._record(error.pieces)
        host = self.request.route.host
        self._fail(Refusal(502, error.code, f"{host} sent what is not HTTP: {error.message}", error.hint))

    def server_left(self, error: Exception | None, untouched: bool, unparsed: bytes) -> None:
        """Send again what a dead connection has swallowed, or end."""
        self._upstream = None
        if self.state >= ENDING:
            return
        again = isinstance(error, NotLookedAtError) or (untouched and self.request.head.method in _IDEMPOTENT)
        if again and self._again:
            self._again = False
            self._progress = _RELEASED
            self._log.flags = self._log.flags & ~_REUSED | _RETRIED
            self.state = SEEKING
            self._search = self._upstreams.seek(self.request.route, self._downstream.client.connection, self)
            return
        if unparsed:
            self._log.unparsed(unparsed)
        where = "in the middle of the response" if self._head is not None or unparsed else "before the response"
        cause = f": {error}" if error is not None else ""
        code = "server-reset" if isinstance(error, ConnectionResetError) else "server-closed"
        if isinstance(error, NetworkError):
            self._fail(Refusal(502, error.code, error.message, error.hint))
        else:
            self._fail(Refusal(502, code, f"{self.request.route.where} closed the connection {where}{cause}"))

    def client_left(self, error: Exception | None) -> None:  # noqa: ARG002 -- however it left
        """End an exchange whose client left before the end."""
        if self.state < ENDING:
            message = "the client closed the connection before the response was whole"
            self._end(EndState.ABORTED, "client-left", message, ENDED)

    def tick(self, now: int, timeouts: Timeouts) -> None:
        """End what nobody can wait for any longer."""
        upstream, log = self._upstream, self._log
        if upstream is None or self.state not in (WAITING, ANSWERING):
            return
        waited = (now - max(log.sent, log.last, log.first)) / 1e9
        if self.state == ANSWERING:
            if waited > timeouts.idle and not self._downstream.full:
                self._late("server-timeout", f"{self.request.route.where} sent nothing more", waited)
        elif self._progress >= _SENT:
            if waited > timeouts.first_byte:
                self._late("server-timeout", f"{self.request.route.where} did not answer", waited)
        elif waited > timeouts.idle:
            if upstream.full:
                self._late("server-timeout", f"{self.request.route.where} took no more of the request", waited)
            else:
                self._late("client-timeout", "the client sent nothing more of its request", waited)

    def _late(self, code: str, what: str, waited: float) -> None:
        self._fail(Refusal(408 if code == "client-timeout" else 504, code, f"{what} for {waited:.0f} s"))

    def client_full(self, full: bool) -> None:
        """Let the server wait for a client that does not read, or go on (P8)."""
        upstream = self._upstream
        if upstream is not None:
            if full:
                upstream.pause()
            elif self.state != JUDGED:
                upstream.resume()

    def server_full(self, full: bool) -> None:
        """Let the client wait for a server that does not read, or go on (P8)."""
        if self.state < ENDING:
            if full:
                self._downstream.pause()
            else:
                self._downstream.resume()

    def _fail(self, refusal: Refusal) -> None:
        """Record why there will be no whole response, and tell the client after that."""
        if self.state < ENDING:
            self._refusal = refusal
            self._end(EndState.FAILED, refusal.code, refusal.message, ENDING)
            self._log.stream.release_last(Exchange._release_failure, self)

    def _release_failure(self) -> None:
        self.state = ENDED
        if self._begun or self._refusal is None:
            self._downstream.reset()
        else:
            self._downstream.refuse(self._refusal)

    def _end(self, state: EndState, code: str, message: str, then: int) -> None:
        self.state = then
        case, self._case = self._case, None
        if case is not None:
            case.ended()
        self._leave_server()
        self._log.done(state, code=code, error=message)

    def _leave_server(self) -> None:
        search, self._search = self._search, None
        if search is not None:
            search.cancel()
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            upstream.reset()
