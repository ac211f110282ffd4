"""Every sequence of events ends in exactly one DONE, and nothing goes out before it is in the log (P1, P2).

The fakes of both ports hold the exchange to the second half on the spot; the first is looked at in the end.
"""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.support.exchange_ports import (
    TIMES,
    FakeDecider,
    FakeSearch,
    FakeUpstream,
    Setting,
    request_head,
    response_head,
)
from wiretape.errors import NetworkError, ProtocolError
from wiretape.log.format import EndState
from wiretape.recorder.exchange_log import Act
from wiretape.recorder.ports import BytesFromServer, Change, FromServer, Timeouts
from wiretape.recorder.states import ASKED, ENDED, ENDING, JUDGED, SWITCHED

PIECES = st.lists(st.binary(min_size=1, max_size=3), max_size=2)
TRAILERS = st.sampled_from([b"", b"A: 1\r\n"])
RARELY = st.sampled_from([False] * 7 + [True])
"""Whether an end comes to pass when its turn has come; else nearly all sequences would be short."""
ACTS = (Act("rule_1", "answer"),)
ERRORS = st.sampled_from([None, ConnectionResetError("reset"), NetworkError("tls", code="upstream-closed")])


class ExchangeMachine(RuleBasedStateMachine):
    """A client, a server, a disk and a rule that do what they like, when they like."""

    setting: Setting

    @initialize(
        method=st.sampled_from(["GET", "POST", "PUT"]),
        pieces=PIECES,
        whole=st.sampled_from([True, True, False]),
        pooled=st.sampled_from([True, True, False]),
        reused=st.booleans(),
        holds=st.one_of(st.none(), st.tuples(st.booleans(), st.booleans())),
        written=st.booleans(),
    )
    def begin(
        self,
        method: str,
        pieces: list[bytes],
        whole: bool,
        pooled: bool,
        reused: bool,
        holds: tuple[bool, bool] | None,
        written: bool,
    ) -> None:
        decider = None if holds is None else FakeDecider(request=holds[0], response=holds[1])
        self.setting = Setting(request_head(method, "Transfer-Encoding: chunked"), decider)
        self.upstream: FakeUpstream | None = self.setting.server(reused=reused) if pooled else None
        self.client_sends = not whole
        self.client_there = True
        self.answered = False
        self.silent = False
        self.setting.exchange.start(pieces, whole, b"")
        if written:
            self.setting.stream.flush()

    # -- the disk ----------------------------------------------------------------------------------------------------

    @rule(synced=st.booleans())
    def write(self, synced: bool) -> None:
        self.setting.stream.flush(synced=synced)

    # -- the client --------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.client_sends and self.client_there)
    @rule(pieces=PIECES, end=st.booleans(), trailers=TRAILERS)
    def send(self, pieces: list[bytes], end: bool, trailers: bytes) -> None:
        self.client_sends = not end
        self.setting.exchange.request_data(pieces, end, trailers if end else b"")

    @precondition(lambda self: self.client_sends and self.client_there)
    @rule(really=RARELY)
    def send_nonsense(self, really: bool) -> None:
        if not really:
            return
        self.client_sends = False
        self.setting.exchange.request_broken(ProtocolError("nonsense"))

    @precondition(lambda self: self.client_there)
    @rule(error=ERRORS, really=RARELY)
    def leave(self, error: Exception | None, really: bool) -> None:
        if not really:
            return
        self.client_there = False
        listener = self.setting.client.listener or self.setting.exchange
        listener.client_left(error)

    @precondition(lambda self: self.client_there)
    @rule(full=st.booleans())
    def stop_reading(self, full: bool) -> None:
        self.setting.client.full = full
        listener = self.setting.client.listener or self.setting.exchange
        listener.client_full(full)

    @precondition(lambda self: self.setting.client.listener is not None and self.client_there)
    @rule(pieces=PIECES, end=st.booleans())
    def speak_raw(self, pieces: list[bytes], end: bool) -> None:
        assert self.setting.client.listener is not None
        self.setting.client.listener.request_data(pieces, end, b"")

    # -- the way to the server ---------------------------------------------------------------------------------------

    def search(self) -> FakeSearch | None:
        """Return the search that goes on."""
        searches = self.setting.upstreams.searches
        return searches[-1] if searches and not searches[-1].cancelled and not searches[-1].over else None

    @precondition(lambda self: self.search() is not None)
    @rule(unreachable=RARELY)
    def find(self, unreachable: bool) -> None:
        search = self.search()
        assert search is not None
        search.over = True
        if not unreachable:
            self.upstream = FakeUpstream(self.setting.stream)
            self.answered = False
            search.seeker.connected(self.upstream, TIMES)
        else:
            search.seeker.unreachable(NetworkError("no", code="connect-refused"))

    # -- the server --------------------------------------------------------------------------------------------------

    @property
    def server(self) -> FromServer | None:
        """Whom the server talks to, while the lease lasts and no other protocol is spoken."""
        if self.upstream is None or self.upstream.ended or self.upstream.raw is not None:
            return None
        return self.upstream.listener  # type: ignore[return-value]

    @precondition(lambda self: self.server is not None and not self.answered)
    @rule(status=st.sampled_from([100, 103]), really=RARELY)
    def hint(self, status: int, really: bool) -> None:
        if not really:
            return
        assert self.server is not None
        self.server.response_interim(response_head(status))

    @precondition(lambda self: self.server is not None and not self.answered)
    @rule(pieces=PIECES, end=st.booleans(), trailers=TRAILERS)
    def answer(self, pieces: list[bytes], end: bool, trailers: bytes) -> None:
        assert self.server is not None
        self.answered = True
        head = response_head(200, "Transfer-Encoding: chunked")
        self.server.response(head, pieces, end, trailers if end else b"")
        self.silent = end

    @precondition(lambda self: self.server is not None and self.answered and not self.silent)
    @rule(pieces=PIECES, end=st.booleans(), trailers=TRAILERS)
    def go_on(self, pieces: list[bytes], end: bool, trailers: bytes) -> None:
        assert self.server is not None
        self.server.response_data(pieces, end, trailers if end else b"")
        self.silent = end

    @precondition(lambda self: self.server is not None and not (self.answered and self.silent))
    @rule(unparsed=st.sampled_from([b"", b"HTTP/1"]), really=RARELY)
    def answer_nonsense(self, unparsed: bytes, really: bool) -> None:
        if not really:
            return
        assert self.server is not None
        self.server.response_broken(ProtocolError("nonsense"), None, b"" if self.answered else unparsed)

    @precondition(lambda self: self.server is not None and not self.answered)
    @rule(really=RARELY)
    def switch(self, really: bool) -> None:
        if not really:
            return
        assert self.server is not None
        assert self.upstream is not None
        self.upstream.raw = self.server.switched(response_head(101))

    @precondition(lambda self: self.upstream is not None and self.upstream.raw is not None and not self.upstream.ended)
    @rule(pieces=PIECES, end=st.booleans())
    def answer_raw(self, pieces: list[bytes], end: bool) -> None:
        self.raw.response_data(pieces, end, b"")

    @property
    def raw(self) -> BytesFromServer:
        """Whom the server talks to after a switch."""
        assert self.upstream is not None
        assert self.upstream.raw is not None
        return self.upstream.raw

    @precondition(lambda self: self.upstream is not None and self.upstream.listener is not None)
    @rule(error=ERRORS, really=RARELY)
    def hang_up(self, error: Exception | None, really: bool) -> None:
        upstream = self.upstream
        assert upstream is not None
        listener = upstream.raw or upstream.listener
        if not really or upstream.ended or listener is None:
            return
        upstream.ended = True
        listener.server_left(error, upstream.reused and not self.answered, b"")

    @precondition(lambda self: self.upstream is not None and self.upstream.listener is not None)
    @rule(full=st.booleans(), sent=st.booleans())
    def stop_taking(self, full: bool, sent: bool) -> None:
        upstream = self.upstream
        assert upstream is not None
        upstream.full, upstream.sent = full, sent
        listener = upstream.raw or upstream.listener
        if not upstream.ended and listener is not None:
            listener.server_full(full)

    @precondition(lambda self: self.upstream is not None and self.upstream.listener is not None)
    @rule(late=RARELY)
    def tick(self, late: bool) -> None:
        upstream = self.upstream
        assert upstream is not None
        listener = upstream.raw or upstream.listener
        if not upstream.ended and listener is not None:
            listener.tick(1 << 62 if late else 0, Timeouts())

    # -- the rule ----------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.setting.exchange.state in (ASKED, JUDGED))
    @rule(what=st.sampled_from(["proceed", "answer", "drop", "change", "more"]))
    def decide(self, what: str) -> None:
        exchange = self.setting.exchange
        if what == "proceed":
            exchange.proceed()
        elif what == "answer":
            exchange.answer(response_head(200, "Content-Length: 2"), [b"ok"], ACTS, EndState.MOCKED)
        elif what == "change" and exchange.state == ASKED:
            pieces = [b"changed"] if exchange.body[1] else None
            exchange.proceed(Change(ACTS, request=exchange.request, pieces=pieces))
        elif what == "change":
            pieces = [b"changed"] if exchange.body[1] else None
            exchange.proceed(Change(ACTS, head=response_head(200, "Transfer-Encoding: chunked"), pieces=pieces))
        elif what == "more":
            exchange.more()
        else:
            exchange.drop(ACTS)

    # -- what holds --------------------------------------------------------------------------------------------------

    @invariant()
    def there_is_an_end_when_the_state_says_so_and_never_two(self) -> None:
        stream, state = self.setting.stream, self.setting.exchange.state
        assert len(stream.dones) <= 1
        if state != SWITCHED:
            assert len(stream.dones) == (state in (ENDING, ENDED))

    @invariant()
    def no_lease_outlives_its_exchange_but_for_the_rest_of_a_request(self) -> None:
        if self.setting.exchange.state == ENDED and self.upstream is not None and self.upstream.listener is not None:
            assert self.upstream.ended or self.setting.stream.waiting

    def teardown(self) -> None:
        if not hasattr(self, "setting"):
            return
        self.setting.stream.flush()
        if self.client_there:
            self.leave(ConnectionResetError("reset"), True)
        if self.upstream is not None and self.upstream.raw is not None and not self.upstream.ended:
            self.upstream.ended = True
            self.raw.server_left(None, False, b"")
        self.setting.stream.flush()
        assert len(self.setting.stream.dones) == 1
        assert self.setting.stream.begun == self.setting.stream.ended == 1
        assert self.setting.exchange.state in (ENDED, SWITCHED)
        assert self.upstream is None or self.upstream.listener is None or self.upstream.ended


TestExchangeMachine = ExchangeMachine.TestCase
TestExchangeMachine.settings = settings(max_examples=200, stateful_step_count=25, deadline=None)
