"""What the recorder expects of an HTTP/2 engine, held against each there is, and each against each (RFC 9113)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import h2.connection
import pytest

from harness.h2_peers import h2_connection
from tests.wire.h2_hyper import HyperEngine
from wiretape.wire.h2 import Engine, ErrorCode, Fields, Limits, MakeEngine, code_name
from wiretape.wire.h2_ngh2 import Ngh2Engine

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
GET: Fields = ((b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"a.example"), (b":path", b"/"))
POST: Fields = ((b":method", b"POST"), *GET[1:])
OK: Fields = ((b":status", b"200"),)

ENGINES: dict[str, MakeEngine] = {"ngh2": Ngh2Engine, "h2": HyperEngine}
PAIRS = [(client, server) for client in ENGINES for server in ENGINES]


@dataclass
class Ear:
    """A listener that writes down what it hears."""

    heard: list[tuple[Any, ...]] = field(default_factory=list)

    def head_came(self, stream: int, fields: Fields, end: bool) -> None:
        self.heard.append(("head", stream, tuple(fields), end))

    def interim_came(self, stream: int, fields: Fields) -> None:
        self.heard.append(("interim", stream, tuple(fields)))

    def data_came(self, stream: int, data: bytes, end: bool) -> None:
        self.heard.append(("data", stream, data, end))

    def trailers_came(self, stream: int, fields: Fields) -> None:
        self.heard.append(("trailers", stream, tuple(fields)))

    def reset_came(self, stream: int, code: int) -> None:
        self.heard.append(("reset", stream, code))

    def stream_closed(self, stream: int, code: int) -> None:
        self.heard.append(("closed", stream, code))

    def settings_came(self, streams: int) -> None:
        self.heard.append(("settings", streams))

    def going_away(self, last: int, code: int, debug: bytes) -> None:
        self.heard.append(("away", last, code, debug))

    def broken(self, code: int, reason: str) -> None:
        self.heard.append(("broken", code, reason))

    def take(self, *kinds: str) -> list[tuple[Any, ...]]:
        """Return what was heard of these kinds, all where none is named, and forget everything."""
        heard, self.heard = self.heard, []
        return [event for event in heard if not kinds or event[0] in kinds]

    def body(self, stream: int) -> bytes:
        return b"".join(event[2] for event in self.heard if event[:2] == ("data", stream))


class Pair:
    """A client and a server with nothing between them."""

    def __init__(self, client: MakeEngine, server: MakeEngine, limits: Limits | None = None, step: int = 0) -> None:
        limits = limits or Limits()
        self.client_ear, self.server_ear = Ear(), Ear()
        self.client: Engine = client(True, limits, self.client_ear)
        self.server: Engine = server(False, limits, self.server_ear)
        self.step = step
        self.client.start()
        self.server.start()
        self.pump()
        self.settings = self.client_ear.take(), self.server_ear.take()

    def pump(self) -> None:
        """Carry bytes both ways until there are none, ``step`` at a time."""
        moved = True
        while moved:
            moved = False
            for source, sink in ((self.client, self.server), (self.server, self.client)):
                data = source.output(1 << 20)
                moved = moved or bool(data)
                step = self.step or len(data)
                for at in range(0, len(data), step or 1):
                    sink.receive(data[at : at + step])


@pytest.fixture(params=PAIRS, ids=lambda pair: f"{pair[0]} to {pair[1]}")
def pair(request: pytest.FixtureRequest) -> Pair:
    client, server = request.param
    return Pair(ENGINES[client], ENGINES[server])


def test_settings_say_how_many_streams_run_at_a_time(pair: Pair) -> None:
    assert ("settings", Limits().streams) in pair.settings[0]


@pytest.mark.parametrize("step", [0, 1])
@pytest.mark.parametrize("engines", PAIRS, ids=str)
def test_a_request_and_its_response_arrive_however_they_are_cut(engines: tuple[str, str], step: int) -> None:
    pair = Pair(ENGINES[engines[0]], ENGINES[engines[1]], step=step)
    fields = (*POST, (b"a", b"1"), (b"a", b"2"), (b"cookie", b"x=1"), (b"cookie", b"y=2"))
    stream = pair.client.request(fields, False)
    pair.client.send_data(stream, b"question", True)
    pair.pump()
    assert pair.server_ear.take("head", "data") == [
        ("head", stream, fields, False),
        ("data", stream, b"question", True),
    ]
    pair.server.send_interim(stream, ((b":status", b"103"), (b"link", b"x")))
    pair.server.send_head(stream, OK, False)
    pair.server.send_data(stream, b"answer", False)
    pair.server.send_trailers(stream, ((b"t", b"1"),))
    pair.pump()
    assert pair.client_ear.take() == [
        ("interim", stream, ((b":status", b"103"), (b"link", b"x"))),
        ("head", stream, OK, False),
        ("data", stream, b"answer", False),
        ("trailers", stream, ((b"t", b"1"),)),
        ("closed", stream, 0),
    ]
    assert ("closed", stream, 0) in pair.server_ear.take()


def test_an_engine_knows_whether_it_has_something_to_send(pair: Pair) -> None:
    wanted = [pair.client.wants_output]
    pair.client.request(GET, True)
    wanted.append(pair.client.wants_output)
    pair.pump()
    wanted.append(pair.client.wants_output)
    assert wanted == [False, True, False]


def test_an_end_may_come_with_the_head_or_alone(pair: Pair) -> None:
    first, second = pair.client.request(GET, True), pair.client.request(POST, False)
    pair.client.send_data(second, b"", True)
    pair.pump()
    assert pair.server_ear.take("head", "data") == [
        ("head", first, GET, True),
        ("head", second, POST, False),
        ("data", second, b"", True),
    ]
    pair.server.send_head(first, OK, True)
    pair.pump()
    assert pair.client_ear.take() == [("head", first, OK, True), ("closed", first, 0)]


def test_a_body_stops_at_the_window_and_goes_on_when_it_is_acknowledged() -> None:
    for names in PAIRS:
        window = 70_000
        pair = Pair(ENGINES[names[0]], ENGINES[names[1]], Limits(stream_window=window))
        stream = pair.client.request(POST, False)
        pair.client.send_data(stream, b"x" * 200_000, True)
        pair.pump()
        assert len(pair.server_ear.body(stream)) == window
        assert pair.client.queued(stream) == pair.client.queued() == 200_000 - window
        other = pair.client.request(GET, True)
        pair.pump()
        assert ("head", other, GET, True) in pair.server_ear.heard  # nobody else waits
        while pair.client.queued(stream):
            before = len(pair.server_ear.body(stream))
            pair.server.acknowledge(stream, min(window, before))
            pair.pump()
            assert len(pair.server_ear.body(stream)) > before
        assert pair.server_ear.body(stream) == b"x" * 200_000


def test_a_stream_can_be_reset_by_either_side_and_what_waits_of_it_is_dropped(pair: Pair) -> None:
    for mine, mine_ear, theirs_ear in (
        (pair.client, pair.client_ear, pair.server_ear),
        (pair.server, pair.server_ear, pair.client_ear),
    ):
        stream = pair.client.request(POST, False)
        pair.client.send_data(stream, b"x" * 5_000_000, True)
        pair.pump()
        mine_ear.take()
        theirs_ear.take()
        mine.reset(stream, ErrorCode.CANCEL)
        pair.pump()
        assert theirs_ear.take("reset", "closed") == [("reset", stream, 8), ("closed", stream, 8)]
        assert mine_ear.take("reset", "closed") == [("closed", stream, 8)]
        assert pair.client.queued() == 0


def test_calls_for_a_stream_that_is_gone_do_nothing(pair: Pair) -> None:
    stream = pair.client.request(POST, False)
    pair.pump()
    pair.client.reset(stream, ErrorCode.CANCEL)
    pair.pump()
    for _ in range(2):
        pair.server.send_head(stream, OK, False)
        pair.server.send_data(stream, b"late", False)
        pair.server.send_trailers(stream, ((b"t", b"1"),))
        pair.server.reset(stream, ErrorCode.CANCEL)
        pair.server.acknowledge(stream, 0)
        pair.pump()
    after = pair.client.request(GET, True)
    pair.pump()
    assert ("head", after, GET, True) in pair.server_ear.heard


def test_going_away_says_what_was_not_looked_at(pair: Pair) -> None:
    stream = pair.client.request(GET, True)
    pair.pump()
    pair.server.go_away(ErrorCode.NO_ERROR, b"bye")
    pair.pump()
    away = pair.client_ear.take("away")
    assert [(event[1], event[2]) for event in away][:1] == [(stream, 0)]


@pytest.mark.parametrize(
    ("make", "client", "data"),
    [
        (Ngh2Engine, False, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        (Ngh2Engine, True, b"HTTP/1.1 400 Bad Request\r\n\r\n<html>"),
        (HyperEngine, False, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ],
)
def test_what_is_no_http2_breaks_the_connection(make: MakeEngine, client: bool, data: bytes) -> None:
    ear = Ear()
    engine = make(client, Limits(), ear)
    engine.start()
    engine.output(1 << 20)
    engine.receive(data)
    engine.output(1 << 20)
    assert len(ear.take("broken")) == 1
    engine.output(1 << 20)
    engine.receive(data)
    assert engine.output(1 << 20) == b""
    assert ear.take() == []


def feed(make: MakeEngine, frames: bytes, limits: Limits | None = None) -> Ear:
    """Return what a server hears of frames behind the preface."""
    ear = Ear()
    engine = make(False, limits or Limits(), ear)
    engine.start()
    engine.receive(PREFACE + frame(4, 0, 0, b""))
    engine.output(1 << 20)
    ear.take()
    for at in range(0, len(frames), 50_000):
        engine.receive(frames[at : at + 50_000])
        while engine.output(1 << 20):
            pass
    return ear


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """Return a frame (RFC 9113 section 4.1)."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def literal(name: bytes, value: bytes) -> bytes:
    """Return a field as HPACK has it without any table (RFC 7541 section 6.2.2)."""
    return b"\x00" + _length(name) + name + _length(value) + value


def _length(data: bytes) -> bytes:
    if len(data) < 127:
        return bytes([len(data)])
    rest, out = len(data) - 127, b"\x7f"
    while rest >= 128:
        out += bytes([rest % 128 + 128])
        rest //= 128
    return out + bytes([rest])


def block(*fields: tuple[bytes, bytes]) -> bytes:
    return b"".join(literal(name, value) for name, value in fields)


REQUEST = block(*GET)
PING = frame(6, 0, 0, b"12345678")

# What one stream may not do: the stream is reset, another on the same connection goes on (section 5.4.2).
STREAM_FAULTS = {
    "an upper-case name": frame(1, 5, 1, block(*GET, (b"Upper", b"1"))),
    "a colon in a name": frame(1, 5, 1, block(*GET, (b"a:b", b"1"))),
    "a space in a name": frame(1, 5, 1, block(*GET, (b"a b", b"1"))),
    "an empty name": frame(1, 5, 1, block(*GET, (b"", b"1"))),
    "CR LF in a value": frame(1, 5, 1, block(*GET, (b"a", b"1\r\nb: 2"))),
    "LF in a value": frame(1, 5, 1, block(*GET, (b"a", b"1\nb: 2"))),
    "NUL in a value": frame(1, 5, 1, block(*GET, (b"a", b"1\x002"))),
    "a Connection field": frame(1, 5, 1, block(*GET, (b"connection", b"close"))),
    "a Transfer-Encoding field": frame(1, 5, 1, block(*GET, (b"transfer-encoding", b"chunked"))),
    "TE other than trailers": frame(1, 5, 1, block(*GET, (b"te", b"gzip"))),
    "an unknown pseudo-header field": frame(1, 5, 1, block(*GET, (b":odd", b"1"))),
    "a response's pseudo-header field": frame(1, 5, 1, block(*GET, (b":status", b"200"))),
    "a pseudo-header field after others": frame(1, 5, 1, block(*GET[:3], (b"a", b"1"), GET[3])),
    "a repeated pseudo-header field": frame(1, 5, 1, block(*GET, (b":path", b"/b"))),
    "no :method": frame(1, 5, 1, block(*GET[1:])),
    "no :path": frame(1, 5, 1, block(*GET[:3])),
    "an empty :path": frame(1, 5, 1, block(*GET[:3], (b":path", b""))),
    "more data than content-length": frame(1, 4, 1, block(*POST, (b"content-length", b"1"))) + frame(0, 1, 1, b"22"),
    "less data than content-length": frame(1, 4, 1, block(*POST, (b"content-length", b"3"))) + frame(0, 1, 1, b"22"),
    "two content-lengths": frame(1, 5, 1, block(*POST, (b"content-length", b"1"), (b"content-length", b"2"))),
}

# For these the RFC would have the stream end alone; both engines end the connection, as curl and nginx do.
STRICTER = {
    "a window update of nothing": frame(1, 4, 1, block(*POST)) + frame(8, 0, 1, bytes(4)),
    "a window beyond its bound": frame(1, 4, 1, block(*POST)) + frame(8, 0, 1, b"\x7f\xff\xff\xff"),
}

# What one connection may not do: it ends with GOAWAY (section 5.4.1).
CONNECTION_FAULTS = {
    "DATA on no stream": frame(0, 1, 0, b"x"),
    "DATA on a stream that was never opened": frame(0, 1, 1, b"x"),
    "HEADERS on no stream": frame(1, 5, 0, REQUEST),
    "HEADERS on a stream of ours": frame(1, 5, 2, REQUEST),
    "a frame above the size we allow": frame(0, 0, 1, bytes(16_385)),
    "a PING of seven bytes": frame(6, 0, 0, b"1234567"),
    "a PING on a stream": frame(6, 0, 1, b"12345678"),
    "SETTINGS on a stream": frame(4, 0, 1, b""),
    "SETTINGS of five bytes": frame(4, 0, 0, bytes(5)),
    "an acknowledgement with settings": frame(4, 1, 0, bytes(6)),
    "a window setting beyond its bound": frame(4, 0, 0, b"\x00\x04\x80\x00\x00\x00"),
    "a frame size setting below its bound": frame(4, 0, 0, b"\x00\x05\x00\x00\x00\x01"),
    "RST_STREAM on a stream that was never opened": frame(3, 0, 1, bytes(4)),
    "RST_STREAM of three bytes": frame(1, 4, 1, REQUEST) + frame(3, 0, 1, bytes(3)),
    "a window update of three bytes": frame(8, 0, 0, bytes(3)),
    "a connection's window beyond its bound": frame(8, 0, 0, b"\x7f\xff\xff\xff"),
    "CONTINUATION without HEADERS": frame(9, 4, 1, REQUEST),
    "another frame between HEADERS and CONTINUATION": frame(1, 1, 1, REQUEST[:5]) + PING + frame(9, 4, 1, REQUEST[5:]),
    "an HPACK index that is not there": frame(1, 5, 1, b"\xff\xff\x7f"),
    "a PUSH_PROMISE from a client": frame(5, 4, 1, bytes(4) + REQUEST),
    "a padding longer than the frame": frame(0, 8, 1, b"\x09x"),
}


@pytest.mark.parametrize("fault", STREAM_FAULTS)
def test_what_a_stream_may_not_do_ends_that_stream_and_no_other(fault: str) -> None:
    ear = feed(Ngh2Engine, STREAM_FAULTS[fault] + frame(1, 5, 9, REQUEST))
    closed = [event for event in ear.heard if event[0] == "closed"]
    assert closed, fault
    assert closed[0][1] == 1
    assert code_name(closed[0][2]) in ("PROTOCOL_ERROR", "FLOW_CONTROL_ERROR")
    assert ("head", 9, GET, True) in ear.heard
    assert not [event for event in ear.heard if event[0] == "broken"]


@pytest.mark.parametrize("fault", STREAM_FAULTS)
def test_the_second_engine_finds_the_same_faults_of_streams(fault: str) -> None:
    ear = feed(HyperEngine, STREAM_FAULTS[fault] + frame(1, 5, 9, REQUEST))
    assert [event for event in ear.heard if event[0] in ("closed", "broken")], fault


@pytest.mark.parametrize("make", ENGINES.values(), ids=ENGINES)
@pytest.mark.parametrize("fault", CONNECTION_FAULTS)
def test_what_a_connection_may_not_do_ends_it(fault: str, make: MakeEngine) -> None:
    ear = feed(make, CONNECTION_FAULTS[fault])
    assert [event[0] for event in ear.heard if event[0] == "broken"] == ["broken"], ear.heard


@pytest.mark.parametrize("make", ENGINES.values(), ids=ENGINES)
def test_unknown_frames_and_settings_are_skipped(make: MakeEngine) -> None:
    unknown = frame(0x7F, 0xFF, 0, b"whatever") + frame(4, 0, 0, b"\x7f\x7f\x00\x00\x00\x01") + frame(0x42, 0, 1, b"")
    ear = feed(make, unknown + PING + frame(1, 5, 1, REQUEST))
    assert ear.take("head", "broken") == [("head", 1, GET, True)]


@pytest.mark.parametrize("fault", STRICTER)
def test_a_fault_of_windows_ends_the_connection(fault: str) -> None:
    broken(feed(Ngh2Engine, STRICTER[fault]))


def test_a_stream_number_that_goes_back_is_not_taken() -> None:
    ear = feed(Ngh2Engine, frame(1, 5, 5, REQUEST) + frame(1, 5, 3, REQUEST) + frame(1, 5, 7, REQUEST))
    assert [event[1] for event in ear.heard if event[0] == "head"] == [5, 7]


def test_a_head_longer_than_the_limit_ends_the_connection_and_says_why() -> None:
    pieces = [REQUEST + literal(b"a", b"x" * 2000), *(literal(b"b%d" % at, b"x" * 2000) for at in range(9))]
    frames = frame(1, 1, 1, pieces[0]) + b"".join(frame(9, 0, 1, piece) for piece in pieces[1:-1])
    ear = feed(Ngh2Engine, frames + frame(9, 4, 1, pieces[-1]), Limits(head=8000))
    assert broken(ear)[1:] == (ErrorCode.ENHANCE_YOUR_CALM, "received header list exceeds configured size")
    ear = feed(Ngh2Engine, frames + frame(9, 4, 1, pieces[-1]), Limits(head=30_000))
    assert [event[0] for event in ear.heard] == ["head"]


def broken(ear: Ear) -> tuple[Any, ...]:
    found = [event for event in ear.heard if event[0] == "broken"]
    assert found, "the flood was taken"
    return found[0]


def test_a_flood_of_continuation_frames_ends_the_connection() -> None:
    flood = frame(1, 1, 1, REQUEST) + frame(9, 0, 1, literal(b"a", b"b")) * 10_000
    ear = feed(Ngh2Engine, flood)
    broken(ear)
    assert [event for event in ear.heard if event[0] == "head"] == []


def test_streams_that_are_opened_and_reset_at_once_end_the_connection() -> None:
    flood = b"".join(frame(1, 5, at, REQUEST) + frame(3, 0, at, b"\x00\x00\x00\x08") for at in range(1, 8001, 2))
    ear = feed(Ngh2Engine, flood)
    broken(ear)
    assert sum(event[0] == "head" for event in ear.heard) < 2000


@pytest.mark.parametrize(
    ("what", "flood"),
    [("PING", PING), ("SETTINGS", frame(4, 0, 0, b"\x00\x01\x00\x00\x10\x00"))],
)
def test_answers_that_nobody_reads_are_bounded(what: str, flood: bytes) -> None:
    ear = Ear()
    engine = Ngh2Engine(False, Limits(), ear)
    engine.start()
    engine.receive(PREFACE + frame(4, 0, 0, b""))
    for _ in range(100):
        engine.receive(flood * 100)  # the socket is full: nothing is taken out
    broken(ear)


def test_settings_of_too_many_entries_end_the_connection() -> None:
    broken(feed(Ngh2Engine, frame(4, 0, 0, b"\x00\x01\x00\x00\x10\x00" * 100)))


def test_frames_that_mean_nothing_are_bounded() -> None:
    broken(feed(Ngh2Engine, frame(1, 4, 1, REQUEST) + frame(0, 0, 1, b"") * 40_000 + frame(8, 0, 1, bytes(4)) * 40_000))


def test_a_small_frame_that_unpacks_to_a_large_head_is_refused() -> None:
    """The HPACK bomb: one long field in the table, asked for ten thousand times (CVE-2016-6581)."""
    first = REQUEST + b"\x40" + _length(b"bomb") + b"bomb" + _length(b"x" * 4000) + b"x" * 4000
    bomb = frame(1, 5, 1, first) + frame(1, 5, 3, REQUEST + b"\xbe" * 10_000) + frame(1, 5, 5, REQUEST)
    ear = feed(Ngh2Engine, bomb)
    heads = [event for event in ear.heard if event[0] == "head"]
    assert [event[1] for event in heads if event[1] == 3] == []
    assert sum(len(value) for event in heads for _, value in event[2]) < 10_000


def test_windows_are_given_back_for_streams_that_were_reset() -> None:
    for make in ENGINES.values():
        pair = Pair(make, make, limits=Limits(connection_window=200_000))
        for _ in range(50):
            stream = pair.client.request(POST, False)
            pair.client.send_data(stream, b"x" * 20_000, False)
            pair.pump()
            assert len(pair.server_ear.body(stream)) == 20_000
            pair.server.acknowledge(stream, 20_000)
            pair.server.reset(stream, ErrorCode.CANCEL)
            pair.pump()


def test_the_peers_in_the_tests_are_of_another_making() -> None:
    assert isinstance(h2_connection(client=True), h2.connection.H2Connection)
